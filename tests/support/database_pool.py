"""Databases for tests, used again: to copy a template takes half a second of a busy disk, to empty a copy ten milliseconds.

    take ─▶ a test uses it ─▶ give back ─▶ rename, empty ─▶ take …
                                  └─ its structure was changed, or much was written ─▶ drop

No test can tell: each gets a name that nobody has heard of, without rows, statistics or numbers drawn from sequences.
"""

import contextlib
import secrets
from contextlib import closing

import psycopg2
from psycopg2.extensions import connection, cursor
from sqlalchemy.engine import make_url

from eventbus.embedded.databases import create_database, drop_database

#: A table of more pages than this is not emptied: what is left of its rows would be read by every later test.
MOST_PAGES = 64

#: All that a test may have changed beside the rows: definitions, statistics, settings of the database.
STRUCTURE = """
SELECT md5(string_agg(fact, ',' ORDER BY fact)) FROM (
    SELECT concat_ws(' ', 'class', oid, xmin, reltuples) FROM pg_class WHERE oid >= 16384 AND relkind <> 't'
    UNION ALL SELECT concat_ws(' ', 'column', attrelid, attnum, xmin) FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL SELECT concat_ws(' ', 'trigger', oid, xmin) FROM pg_trigger
    UNION ALL SELECT concat_ws(' ', 'constraint', oid, xmin) FROM pg_constraint WHERE oid >= 16384
    UNION ALL SELECT concat_ws(' ', 'function', oid, xmin) FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT concat_ws(' ', 'schema', oid, xmin) FROM pg_namespace
    UNION ALL SELECT concat_ws(' ', 'type', oid, xmin) FROM pg_type WHERE oid >= 16384
    UNION ALL SELECT concat_ws(' ', 'extension', oid, xmin) FROM pg_extension
    UNION ALL SELECT concat_ws(' ', 'statistics', starelid, staattnum) FROM pg_statistic WHERE starelid >= 16384
    UNION ALL SELECT concat_ws(' ', 'setting', setrole, setconfig) FROM pg_db_role_setting
        JOIN pg_database AS own ON own.oid = setdatabase WHERE own.datname = current_database()
) AS facts (fact)
"""

TABLES = """
SELECT oid::regclass::text, pg_relation_size(oid) / 8192 FROM pg_class
WHERE relkind = 'r' AND oid >= 16384 AND pg_relation_size(oid) > 0
"""

RESTART_COUNTERS = """
SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false) FROM pg_sequences WHERE last_value IS NOT NULL;
SELECT pg_stat_reset()
"""


class DatabasePool:
    """Copies of a template on one server, each with one user at a time."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url = server_url
        self._template = template
        self._idle: list[str] = []
        self._server = _connect(server_url)
        #: What an unused copy looks like, and which of its tables hold rows that belong to it.
        self._structure = ""
        self._filled: dict[str, str] = {}

    def take(self) -> tuple[str, str]:
        """The name and the URL of a database that is the caller's alone."""
        name = self._idle.pop() if self._idle else self._create()
        return name, _url(self._server_url, name)

    def give_back(self, name: str) -> None:
        """Take a database away from its user, and from all who are still connected to it."""
        emptied = self._rename(name)
        if emptied is not None and self._empty(emptied):
            self._idle.append(emptied)
        else:
            drop_database(self._server_url, emptied or name)

    def close(self) -> None:
        """Drop what nobody uses."""
        self._server.close()
        for name in self._idle:
            drop_database(self._server_url, name)

    def _create(self) -> str:
        name = _new_name()
        url = create_database(self._server_url, name, template=self._template)
        if not self._structure:
            with closing(_connect(url)) as database, database.cursor() as connected:
                self._structure = _value(connected, STRUCTURE)
                self._filled = {table: _content(connected, table) for table, _ in _tables(connected)}
        return name

    def _rename(self, name: str) -> str | None:
        """The database's new name; None if somebody is still there, or has a transaction prepared."""
        new = _new_name()
        with self._server.cursor() as connected, contextlib.suppress(psycopg2.Error):
            connected.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
            connected.execute(f'ALTER DATABASE "{name}" RENAME TO "{new}"')
            return new
        return None

    def _empty(self, name: str) -> bool:
        """Whether the database is now as good as new."""
        with closing(_connect(_url(self._server_url, name))) as database, database.cursor() as connected:
            tables = _tables(connected)
            if _value(connected, STRUCTURE) != self._structure or any(pages > MOST_PAGES for _, pages in tables):
                return False
            if any(_content(connected, table) != content for table, content in self._filled.items()):
                return False
            statements = [f"DELETE FROM {table}" for table, _ in tables if table not in self._filled]
            # Rows go in any order, and triggers see nothing.
            connected.execute("; ".join(["SET session_replication_role = replica", *statements, RESTART_COUNTERS]))
        return True


def _tables(connected: cursor) -> list[tuple[str, int]]:
    connected.execute(TABLES)
    return connected.fetchall()


def _content(connected: cursor, table: str) -> str:
    return _value(connected, f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} AS t")


def _value(connected: cursor, statement: str) -> str:
    connected.execute(statement)
    return str(connected.fetchall()[0][0])


def _connect(url: str) -> connection:
    connected = psycopg2.connect(url)
    connected.autocommit = True
    return connected


def _new_name() -> str:
    return f"eventbus_test_{secrets.token_hex(6)}"


def _url(server_url: str, name: str) -> str:
    return make_url(server_url).set(drivername="postgresql", database=name).render_as_string(hide_password=False)
