"""What is sent to PostgreSQL, by SQLAlchemy or past it."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions
import sqlalchemy

from eventbus.storage.database import Database

_PREFERENCE = re.compile(r"(RE)?SET enable_seqscan")
#: Told of each statement and its parameters, before it is sent.
Note = Callable[[str, Any], None]
#: Told of each statement and the plan that PostgreSQL has for it where it is sent, before it is sent.
NotePlan = Callable[[str, dict[str, Any]], None]
_Hear = Callable[[psycopg2.extensions.cursor, str, Any], None]


@contextmanager
def noted(database: Database, note: Note) -> Iterator[None]:
    """Let *note* hear of every statement that is sent on connections of *database* while the block runs."""
    with _heard(database, lambda _cursor, statement, parameters: note(statement, parameters)):
        yield


@contextmanager
def explained(database: Database, note: NotePlan, *, about: tuple[str, ...]) -> Iterator[None]:
    """Let *note* hear of the plan of every statement that names one of *about*; what is prepared cannot be explained."""

    def hear(cursor: psycopg2.extensions.cursor, statement: str, parameters: Any) -> None:
        if any(name in statement for name in about):
            with cursor.connection.cursor(cursor_factory=psycopg2.extensions.cursor) as beside:
                beside.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
                [[[plan]]] = beside.fetchall()
            note(statement, plan["Plan"])

    with _heard(database, hear):
        yield


@contextmanager
def _heard(database: Database, hear: _Hear) -> Iterator[None]:
    class Noting(psycopg2.extensions.cursor):
        """A cursor that says what it was told."""

        def execute(self, query: Any, vars: Any = None) -> None:
            hear(self, str(query), vars)
            super().execute(query, vars)

    def watch(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
        dbapi_connection.cursor_factory = Noting

    def leave(dbapi_connection: Any, _record: Any) -> None:
        if dbapi_connection is not None:  # it was not closed meanwhile
            dbapi_connection.cursor_factory = None

    engine = database.engine
    sqlalchemy.event.listen(engine, "checkout", watch)
    sqlalchemy.event.listen(engine, "checkin", leave)
    # What is kept between uses is not checked out anew.
    database._keeping.release()
    try:
        yield
    finally:
        database._keeping.release()
        sqlalchemy.event.remove(engine, "checkout", watch)
        sqlalchemy.event.remove(engine, "checkin", leave)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Every statement that is sent, but for what is sent once in 5 s, or for each connection, whatever is published."""
    sent: list[str] = []

    def note(statement: str, _parameters: Any) -> None:
        if "eventbus.event_schema" not in statement and not _PREFERENCE.match(statement):
            sent.append(statement)

    with noted(database, note):
        yield sent
