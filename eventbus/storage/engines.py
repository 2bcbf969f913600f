"""Engines: SQLAlchemy's, made from the URL of the settings; what is wrong with it is said before PostgreSQL is asked."""

from typing import Any

import psycopg2
import sqlalchemy
from psycopg2.extensions import make_dsn
from sqlalchemy.exc import ArgumentError

from eventbus.errors import InvalidSetting
from eventbus.urls import without_password


def make_engine(url: str, **options: Any) -> sqlalchemy.Engine:
    """An engine for *url*, with SQLAlchemy's *options*; it opens no connection yet.

    Raises:
        InvalidSetting: Something in *url* is known neither to SQLAlchemy nor to libpq.
    """
    reason = "its parts cannot be told apart, so percent-encode what is neither letter nor digit in the password"
    try:
        engine = sqlalchemy.create_engine(url, **options)
        make_dsn(**engine.dialect.create_connect_args(engine.url)[1])
        if "@" not in (engine.url.host or ""):  # else a part of the password
            return engine
    except (ArgumentError, psycopg2.ProgrammingError) as error:
        reason = str(error).splitlines()[0].removeprefix("invalid dsn: ")
    except ValueError:  # which names what SQLAlchemy took for the port
        pass
    expected = f"a PostgreSQL URL with options that SQLAlchemy and libpq know: {reason}"
    raise InvalidSetting("EVENTBUS_DATABASE_URL", without_password(url), expected)
