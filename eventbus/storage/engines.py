"""Engines: SQLAlchemy's, made from the URL of the settings; what is wrong with it is said before PostgreSQL is asked."""

from typing import Any

import psycopg2
import sqlalchemy
from psycopg2.extensions import make_dsn
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from eventbus.errors import InvalidSetting
from eventbus.urls import encoding_hint, without_password


def read_url(url: str) -> sqlalchemy.URL:
    """The parts of *url*.

    Raises:
        InvalidSetting: They cannot be told apart.
    """
    try:
        found = make_url(url)
    except ValueError:  # which names what was taken for the port
        found = None
    if found is None or "@" in (found.host or ""):  # a part of the password
        expected = f"a PostgreSQL URL such as postgresql://user@host:5432/name{encoding_hint(url)}"
        raise InvalidSetting("EVENTBUS_DATABASE_URL", without_password(url), expected)
    return found


def make_engine(url: str, **options: Any) -> sqlalchemy.Engine:
    """An engine for *url*, with SQLAlchemy's *options*; it opens no connection yet.

    Raises:
        InvalidSetting: Something in *url* is known neither to SQLAlchemy nor to libpq.
    """
    given = read_url(url)
    try:
        engine = sqlalchemy.create_engine(given, **options)
        make_dsn(**engine.dialect.create_connect_args(engine.url)[1])
    except (ArgumentError, psycopg2.ProgrammingError) as error:
        reason = str(error).splitlines()[0].removeprefix("invalid dsn: ")
        expected = f"a PostgreSQL URL with options that SQLAlchemy and libpq know: {reason}"
        raise InvalidSetting("EVENTBUS_DATABASE_URL", without_password(url), expected) from None
    return engine
