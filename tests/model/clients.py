"""Connections with open transactions, and what they may and may not see and lock of each other's rows.

READ COMMITTED, as PostgreSQL says it: a statement sees what was committed before it, and its own transaction's changes. A row
that it would change and another has locked makes it wait (here: ``lock_timeout``), unless it says SKIP LOCKED.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

import psycopg2.errors
import sqlalchemy
from sqlalchemy.exc import OperationalError

from eventbus.delivery import State
from eventbus.storage.database import Connection, Database
from tests.model.delivery import Row

LOCK_TIMEOUT = "15ms"


class Blocked(Exception):
    """Another transaction holds the lock: the statement gave up, and its transaction with it."""


class Client:
    """One connection, and the rows that its open transaction has locked, as they will be if it commits."""

    def __init__(self, database: Database) -> None:
        self._raw = database.engine.connect()
        self._schema = database.schema
        self._transaction: sqlalchemy.RootTransaction | None = None
        self.own: dict[int, Row] = {}
        #: What a replay has locked and is about to change.
        self.judged: Mapping[UUID, State] | None = None

    def run(self, statement: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What *statement* returns, in the open transaction.

        Raises:
            Blocked: It waited for a lock. The transaction is rolled back.
        """
        if self._transaction is None:
            self._transaction = self._raw.begin()
            self._raw.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        try:
            return statement(Connection(self._raw, schema=self._schema), *arguments, **options)
        except OperationalError as error:
            self.end(commit=False)
            if isinstance(error.orig, psycopg2.errors.LockNotAvailable):
                raise Blocked from error
            raise

    def end(self, *, commit: bool) -> dict[int, Row]:
        """End the transaction; the rows that it changed, if that was by a commit."""
        changed = self.own if commit else {}
        if self._transaction is not None:
            if commit:
                self._transaction.commit()
            else:
                self._transaction.rollback()
        self._transaction, self.own, self.judged = None, {}, None
        return changed

    def close(self) -> None:
        """Roll back, and give the connection up."""
        self.end(commit=False)
        self._raw.close()


class Clients:
    """Some clients of one database, and its committed rows as they should be."""

    def __init__(self, database: Database, *, count: int, rows: int) -> None:
        self.all = [Client(database) for _ in range(count)]
        self.committed = [Row() for _ in range(rows)]

    def seen(self, client: Client, i: int) -> Row:
        """Row *i* as a statement of *client* sees it."""
        return client.own.get(i, self.committed[i])

    def is_locked(self, i: int, *, except_by: Client | None = None) -> bool:
        """Whether a transaction, other than that of *except_by*, has locked row *i*."""
        return any(i in other.own for other in self.all if other is not except_by)

    def must_wait(self, client: Client, rows: Iterable[int]) -> bool:
        """Whether a statement of *client* that changes *rows* meets another's lock."""
        return any(self.is_locked(i, except_by=client) for i in rows)

    def end(self, client: Client, *, commit: bool) -> None:
        """End a client's transaction; what it committed is seen by all from here on."""
        for i, row in client.end(commit=commit).items():
            self.committed[i] = row

    def close(self) -> None:
        for client in self.all:
            client.close()
