"""The revision of the tables: which one this code needs, and which one a database has."""

import sqlalchemy
from sqlalchemy import text

from eventbus.errors import NotMigrated, WrongDatabase

#: The newest revision under ``migrations/versions/``; revisions compare as text.
HEAD = "0012"
OLDEST_SERVER = 150000
_SERVER = "SELECT current_setting('server_version_num') || ' ' || current_setting('server_encoding')"
#: Whether nothing can be written, as on a standby; fails without our tables.
READ_ONLY = "SELECT current_setting('transaction_read_only') = 'on' FROM eventbus.alembic_version"


def find_revision(connection: sqlalchemy.Connection, *, schema: str) -> str | None:
    """The revision of the tables in *schema*; None when there are none."""
    exists = text("SELECT to_regclass(:name) IS NOT NULL")
    if not connection.execute(exists, {"name": f"{schema}.alembic_version"}).scalar():
        return None
    return connection.execute(text(f"SELECT version_num FROM {schema}.alembic_version")).scalar()


def require_current_revision(connection: sqlalchemy.Connection, *, schema: str, where: str) -> None:
    """Make sure that the tables have the revision that this code needs.

    Raises:
        WrongDatabase: The server is older than PostgreSQL 15, or the database cannot hold every text.
        NotMigrated: The tables are missing, older or newer.
    """
    require_server(connection, where=where)
    found = find_revision(connection, schema=schema)
    if found != HEAD:
        raise NotMigrated(found, HEAD, f"schema {schema!r} at {where}")


def require_server(connection: sqlalchemy.Connection, *, where: str) -> None:
    """Make sure that the server is a PostgreSQL that eventbus runs on, and that the database can hold every text.

    Raises:
        WrongDatabase: It is older than PostgreSQL 15, or the database's encoding is another one than UTF8.
    """
    said = str(connection.execute(text(_SERVER)).scalar())
    version, encoding = said.split()
    if int(version) < OLDEST_SERVER:
        raise WrongDatabase(f"the server at {where} is PostgreSQL {int(version) // 10000}: eventbus needs 15 or newer.")
    if encoding != "UTF8":
        raise WrongDatabase(
            f"the database at {where} has the encoding {encoding}, in which not every event, and not every error, can be "
            "written: create one with ENCODING 'UTF8' TEMPLATE template0."
        )
