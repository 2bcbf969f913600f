"""Connections: one way to run a statement, whatever lies below.

    Connection  ─▶ SQLAlchemy, in the caller's transaction and with the caller's driver, or in one of ours
    Direct      ─▶ psycopg2, on a connection that commits each statement by itself: a third of SQLAlchemy's time

Statements name our tables as ``eventbus.<table>``, and parameters as ``:name``; the configured schema takes our schema's place.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import psycopg2
import sqlalchemy
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INERROR
from psycopg2.extensions import cursor as DriverCursor  # noqa: N812 - a class, whatever its name
from sqlalchemy import PoolProxiedConnection, Row, text
from sqlalchemy.dialects.postgresql import psycopg2 as psycopg2_dialect
from sqlalchemy.engine import result_tuple
from sqlalchemy.exc import DBAPIError

from eventbus.storage import preparing
from eventbus.storage.preparing import Hot

_OUR_TABLES = re.compile(r"\beventbus\.(?=[a-z_])")
#: What makes rows of a statement's answers, by its text: ours are few.
_row_makers: dict[str, Callable[[Sequence[Any]], Row[Any]]] = {}
_DIALECT = psycopg2_dialect.dialect(dbapi=psycopg2)  # type: ignore[no-untyped-call]


class Connection:
    """A transaction in which our statements run."""

    def __init__(self, raw: sqlalchemy.Connection, *, schema: str) -> None:
        self.raw = raw
        self.schema = schema
        self._native = raw.dialect.driver == "psycopg2"

    def rows(self, statement: str, **parameters: Any) -> Sequence[Row[Any]]:
        """The rows that *statement* returns; ``:name`` marks a parameter."""
        found: Sequence[Row[Any]] = self._execute(statement, parameters).fetchall()
        return found

    def row(self, statement: str, **parameters: Any) -> Row[Any] | None:
        """The first row that *statement* returns, or None."""
        found: Row[Any] | None = self._execute(statement, parameters).fetchone()
        return found

    def values(self, statement: str, **parameters: Any) -> tuple[Any, ...] | None:
        """The values of the first row, in their order: where a name for each would cost time that is felt."""
        found = self.row(statement, **parameters)
        return None if found is None else tuple(found)

    def value(self, statement: str, **parameters: Any) -> Any:
        """The only value of the only row that *statement* returns; None without a row."""
        found = self.row(statement, **parameters)
        return None if found is None else found[0]

    def change(self, statement: str, **parameters: Any) -> int:
        """Run *statement*; the number of rows that it changed."""
        return int(self._execute(statement, parameters).rowcount)

    def commit_with(self, statement: Hot, *, waits: bool, **parameters: Any) -> bool:
        """Run *statement* as the last one of the transaction, commit that, and begin the next, in one round trip.

        On a connection of ours, in the place of its driver's COMMIT. The next transaction is a spare one, see `driver`, and its
        commit does not wait for the disk unless it says so itself.

        Args:
            waits: Whether this commit waits, even if its transaction was begun so.

        Returns:
            False if nothing of that was done: *statement* is not ready, or has refused by dividing by zero.

        Raises:
            DBAPIError: The statement failed.
            psycopg2.Error: The COMMIT failed, or the connection was lost: for SQLAlchemy, which asked for the COMMIT, to raise.
        """
        driver: Any = self.raw.connection.dbapi_connection
        sql = compiled(statement, self.schema)
        try:
            return preparing.commit_ready(driver, sql, parameters, waits=waits, known=self.raw.info)
        except psycopg2.Error as error:
            if driver.closed or driver.get_transaction_status() != TRANSACTION_STATUS_INERROR:
                raise
            raise wrapped(error, statement=sql) from error

    def array(self, texts: tuple[str, ...]) -> Any:
        """*texts* as the value of a parameter."""
        return list(texts)

    def _execute(self, statement: str, parameters: dict[str, Any]) -> Any:
        if self._native:
            return self.raw.exec_driver_sql(compiled(statement, self.schema), parameters)
        return self.raw.execute(text(_with_schema(statement, self.schema)), parameters)


class Direct(Connection):
    """A pooled connection in autocommit, used through its driver; hot statements are prepared on it."""

    def __init__(self, pooled: PoolProxiedConnection, *, schema: str, prepares: bool) -> None:
        self.schema = schema
        self._pooled = pooled
        driver: Any = pooled.dbapi_connection
        # Asks nothing of the server, unlike SQLAlchemy's isolation level, which costs a round trip.
        driver.autocommit = True
        self.driver = driver
        #: Lives and dies with the connection.
        self.info = pooled.info
        self._prepares = prepares

    @property
    def is_idle(self) -> bool:
        """Whether it is open, and not in mid-statement."""
        return not self.driver.closed and self.driver.get_transaction_status() == TRANSACTION_STATUS_IDLE

    def give_back(self) -> None:
        """Return it to its pool, or close it where it is of no use to others, as after an interrupt in mid-statement."""
        if not self.is_idle:
            self.drop()
            return
        try:
            preparing.leave(self.driver.cursor(cursor_factory=DriverCursor), known=self.info)
            self.driver.autocommit = False
        except psycopg2.Error:
            self.drop()
        except BaseException:  # such as a handler's time limit, in mid-statement
            self.drop()
            raise
        else:
            self._pooled.close()

    def drop(self) -> None:
        """Close it."""
        self._pooled.invalidate()
        self._pooled.close()

    @property
    def backend_pid(self) -> int:
        """The number of the server's process, as the client was told; a proxy tells numbers of its own."""
        return int(self.driver.get_backend_pid())

    def values(self, statement: str, **parameters: Any) -> tuple[Any, ...] | None:
        """The driver's own row."""
        found: tuple[Any, ...] | None = self._execute(statement, parameters).first()
        return found

    def array(self, texts: tuple[str, ...]) -> Any:
        """*texts* as the value of a parameter: written once, where the driver would write each of them each time."""
        return _array_literal(texts)

    def _execute(self, statement: str, parameters: dict[str, Any]) -> Any:
        sql = compiled(statement, self.schema)
        cursor = self.driver.cursor()
        try:
            if self._prepares and isinstance(statement, Hot):
                preparing.execute(cursor, sql, parameters, known=self.info)
            else:
                cursor.execute(sql, parameters)
        except psycopg2.Error as error:
            lost = _DIALECT.is_disconnect(error, self.driver, None)  # type: ignore[no-untyped-call]
            raise wrapped(error, statement=sql, was_lost=lost) from error
        return _Answer(cursor, sql)


def wrapped(error: psycopg2.Error, *, statement: str | None = None, was_lost: bool = False) -> DBAPIError:
    """*error* as SQLAlchemy would raise it.

    Args:
        was_lost: The connection cannot be used again.
    """
    found = DBAPIError.instance(
        statement, None, error, psycopg2.Error, connection_invalidated=was_lost, dialect=_DIALECT, hide_parameters=True
    )
    assert isinstance(found, DBAPIError)
    return found


class _Answer:
    """What a cursor found, in rows like SQLAlchemy's."""

    def __init__(self, cursor: DriverCursor, statement: str) -> None:
        self._cursor = cursor
        self._statement = statement
        self.rowcount = cursor.rowcount

    def first(self) -> tuple[Any, ...] | None:
        """The first row, without names."""
        found: tuple[Any, ...] | None = self._cursor.fetchone()
        return found

    def fetchall(self) -> Sequence[Row[Any]]:
        found = self._cursor.fetchall()
        make = self._maker()
        return [make(values) for values in found]

    def fetchone(self) -> Row[Any] | None:
        found = self._cursor.fetchone()
        return None if found is None else self._maker()(found)

    def _maker(self) -> Callable[[Sequence[Any]], Row[Any]]:
        # Its text names a statement's columns: to read their names from each answer takes longer than to make its row.
        try:
            return _row_makers[self._statement]
        except KeyError:
            names = tuple(column[0] for column in self._cursor.description or ())
            return _row_makers.setdefault(self._statement, result_tuple(names))


@lru_cache(maxsize=1024)
def _array_literal(texts: tuple[str, ...]) -> str:
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"


@lru_cache(maxsize=1024)
def compiled(statement: str, schema: str) -> str:
    """*statement* for psycopg2, with the configured *schema*."""
    return str(text(_with_schema(statement, schema)).compile(dialect=_DIALECT))


def _with_schema(statement: str, schema: str) -> str:
    return _OUR_TABLES.sub(f"{schema}.", statement)
