"""Upgrading: runs the Alembic revisions that a database lacks."""

import time
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from eventbus.errors import NotMigrated
from eventbus.storage.engines import make_engine
from eventbus.storage.failures import sqlstate, translate
from eventbus.storage.revision import HEAD, find_revision, require_server
from eventbus.urls import without_password

_LOCK_KEY = 0x6576656E74627573  # "eventbus"
#: Whoever wants to read a table waits behind who waits to change it, so nobody waits for long: all of it is tried again.
_LOCK_SECONDS, _PAUSE_SECONDS = 2.0, 3.0
#: So often, which makes five minutes.
_TRIES = 60
_LOCKED = "55P03"


def upgrade(url: str, schema: str = "eventbus") -> str | None:
    """Bring the tables in *schema* of the database at *url* to the newest revision.

    Idempotent; safe while old code runs and from several hosts at once. It waits for transactions that use the tables, for five
    minutes at most, and holds up nobody for longer than two seconds at a time.

    Returns:
        The revision that was there before; None if there was none.

    Raises:
        InvalidSetting, DatabaseUnreachable, DatabaseBusy, WrongDatabase: Nothing was changed.
        NotMigrated: The tables are newer than this code; nothing was changed.
    """
    where = without_password(url)
    engine = make_engine(url, poolclass=sqlalchemy.NullPool, connect_args={"connect_timeout": 5})
    try:
        left = _TRIES
        while True:
            try:
                return _upgrade(engine, schema, where=where)
            except DBAPIError as error:
                left -= 1
                if sqlstate(error) != _LOCKED or not left:
                    raise translate(error, where=where) from error
            time.sleep(_PAUSE_SECONDS)
    finally:
        engine.dispose()


def _upgrade(engine: sqlalchemy.Engine, schema: str, *, where: str) -> str | None:
    with engine.begin() as connection:
        require_server(connection, where=where)
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%(key)s)", {"key": _LOCK_KEY})
        found = find_revision(connection, schema=schema)
        if found is not None and found > HEAD:
            raise NotMigrated(found, HEAD, f"schema {schema!r} at {where}")
        if found != HEAD:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS} s'")
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            _run_revisions(connection, schema)
        return found


def _run_revisions(connection: sqlalchemy.Connection, schema: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, schema=schema)
    command.upgrade(config, "head")
