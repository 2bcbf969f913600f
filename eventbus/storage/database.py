"""Connections: one pool per process, one way to run a statement, one translation of what PostgreSQL refuses.

    Database ──autocommit()──▶ Connection   a single statement, one round trip
             ──transaction()─▶ Connection   commits at the end of the block
             ──join(session)─▶ Connection   inside the caller's transaction, whatever its driver

Statements name our tables as ``eventbus.<table>``; a Connection puts the configured schema in its place.
"""

import os
import re
import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol

import sqlalchemy
from sqlalchemy import Row, event, text
from sqlalchemy.dialects.postgresql import psycopg2
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from eventbus.errors import DatabaseUnreachable
from eventbus.settings import without_password
from eventbus.storage.failures import translate
from eventbus.storage.revision import require_current_revision

_OUR_TABLES = re.compile(r"\beventbus\.(?=[a-z_])")
_DIALECT = psycopg2.dialect()  # type: ignore[no-untyped-call]
_CONNECT_SECONDS = 5
_POOL_SECONDS = 10


class Session(Protocol):
    """A synchronous SQLAlchemy session, scoped or not."""

    def connection(self) -> sqlalchemy.Connection: ...


class Connection:
    """A transaction, or an autocommit connection, in which our statements run."""

    def __init__(self, raw: sqlalchemy.Connection, *, schema: str) -> None:
        self.raw = raw
        self.schema = schema
        self._native = raw.dialect.driver == "psycopg2"

    def rows(self, statement: str, **parameters: Any) -> Sequence[Row[Any]]:
        """The rows that *statement* returns; ``:name`` marks a parameter."""
        return self._execute(statement, parameters).fetchall()

    def row(self, statement: str, **parameters: Any) -> Row[Any] | None:
        """The first row that *statement* returns, or None."""
        return self._execute(statement, parameters).fetchone()

    def value(self, statement: str, **parameters: Any) -> Any:
        """The only value of the only row that *statement* returns; None without a row."""
        found = self.row(statement, **parameters)
        return None if found is None else found[0]

    def change(self, statement: str, **parameters: Any) -> int:
        """Run *statement*; the number of rows that it changed."""
        return self._execute(statement, parameters).rowcount

    def _execute(self, statement: str, parameters: dict[str, Any]) -> sqlalchemy.CursorResult[Any]:
        if self._native:
            return self.raw.exec_driver_sql(_compiled(statement, self.schema), parameters)
        return self.raw.execute(text(_with_schema(statement, self.schema)), parameters)


class Database:
    """PostgreSQL, as this process reaches it. Safe to share between threads, and after a fork."""

    def __init__(
        self, url: str, *, schema: str = "eventbus", pool_size: int = 10, application: str = "eventbus"
    ) -> None:
        self.schema = schema
        self.shown_url = without_password(url)
        self._checked = False
        self._check_lock = threading.Lock()
        self._engine = sqlalchemy.create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=_POOL_SECONDS,
            pool_use_lifo=True,
            skip_autocommit_rollback=True,
            connect_args={"connect_timeout": _CONNECT_SECONDS, "application_name": application},
        )
        event.listen(self._engine, "checkout", _refuse_stale)
        os.register_at_fork(after_in_child=self._after_fork)
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def engine(self) -> sqlalchemy.Engine:
        """The pool, for sessions that handlers take."""
        return self._engine

    @contextmanager
    def autocommit(self) -> Iterator[Connection]:
        """A connection on which each statement commits by itself."""
        with self._translated(), self._autocommit.connect() as raw:
            yield self._ready(raw)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose transaction commits when the block ends, and rolls back when it raises."""
        with self._translated(), self._engine.begin() as raw:
            yield self._ready(raw)

    @contextmanager
    def join(self, session: Session) -> Iterator[Connection]:
        """The connection of the caller's *session*: written to, never committed."""
        with self._translated():
            yield self._ready(session.connection())

    def dispose(self) -> None:
        """Close all idle connections."""
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise what SQLAlchemy raises as an error of our tree, where it is about the server rather than the statement."""
        try:
            yield
        except DBAPIError as error:
            raise translate(error, where=self.shown_url) from error
        except PoolTimeout as error:
            message = (
                f"all connections to {self.shown_url} have been in use for {_POOL_SECONDS} s: raise the pool size."
            )
            raise DatabaseUnreachable(message) from error

    def _ready(self, raw: sqlalchemy.Connection) -> Connection:
        connection = Connection(raw, schema=self.schema)
        if not self._checked:
            with self._check_lock:
                require_current_revision(raw, schema=self.schema, where=self.shown_url)
                self._checked = True
        return connection

    def _after_fork(self) -> None:
        self._check_lock = threading.Lock()
        self._engine.dispose(close=False)


@lru_cache(maxsize=1024)
def _compiled(statement: str, schema: str) -> str:
    """*statement* for psycopg2, with the configured *schema*."""
    return str(text(_with_schema(statement, schema)).compile(dialect=_DIALECT))


def _with_schema(statement: str, schema: str) -> str:
    return _OUR_TABLES.sub(f"{schema}.", statement)


def _refuse_stale(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
    """Drop a pooled connection that the server has closed: its idle socket is readable. Costs no round trip."""
    if dbapi_connection.closed:
        raise DisconnectionError
    poller = select.poll()
    poller.register(dbapi_connection.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
    if poller.poll(0):
        raise DisconnectionError
