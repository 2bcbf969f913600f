"""Upgrading: runs the Alembic revisions that a database lacks."""

from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from eventbus.errors import NotMigrated
from eventbus.storage.engines import make_engine
from eventbus.storage.failures import translate
from eventbus.storage.revision import HEAD, find_revision, require_server
from eventbus.urls import without_password

_LOCK_KEY = 0x6576656E74627573  # "eventbus"


def upgrade(url: str, schema: str = "eventbus") -> str | None:
    """Bring the tables in *schema* of the database at *url* to the newest revision.

    Idempotent; safe while old code runs and from several hosts at once.

    Returns:
        The revision that was there before; None if there was none.

    Raises:
        InvalidSetting, DatabaseUnreachable, WrongDatabase: Nothing was changed.
        NotMigrated: The tables are newer than this code; nothing was changed.
    """
    where = without_password(url)
    engine = make_engine(url, poolclass=sqlalchemy.NullPool, connect_args={"connect_timeout": 5})
    try:
        with engine.begin() as connection:
            require_server(connection, where=where)
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%(key)s)", {"key": _LOCK_KEY})
            found = find_revision(connection, schema=schema)
            if found is not None and found > HEAD:
                raise NotMigrated(found, HEAD, f"schema {schema!r} at {where}")
            if found != HEAD:
                connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
                _run_revisions(connection, schema)
            return found
    except DBAPIError as error:
        raise translate(error, where=where) from error
    finally:
        engine.dispose()


def _run_revisions(connection: sqlalchemy.Connection, schema: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, schema=schema)
    command.upgrade(config, "head")
