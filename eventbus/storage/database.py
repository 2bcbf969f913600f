"""The database: one pool per process, and one translation of what PostgreSQL refuses.

Database ──autocommit()──▶ Connection   a single statement, one round trip
         ──transaction()─▶ Connection   commits at the end of the block
         ──join(session)─▶ Connection   inside its transaction; join_callers: whatever its driver
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, Protocol

import psycopg2
import sqlalchemy
from sqlalchemy import PoolProxiedConnection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from eventbus.errors import DatabaseUnreachable, InvalidInput
from eventbus.storage import preparing
from eventbus.storage.connection import Connection as Connection
from eventbus.storage.connection import Direct, compiled, wrapped
from eventbus.storage.deadlines import Deadlines
from eventbus.storage.driver import DriverConnection
from eventbus.storage.engines import make_engine, read_url
from eventbus.storage.failures import translate
from eventbus.storage.joining import FAILED_BEFORE, has_failed_before, refusal, require_transaction
from eventbus.storage.keeping import Keeping
from eventbus.storage.preparing import Hot
from eventbus.storage.revision import require_current_revision
from eventbus.urls import without_password

_POOL_SECONDS = 10
#: What the URL may say otherwise. A peer that has gone without a word is given up after 15 to 25 seconds.
_CONNECTING = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    # Whatever the environment, the role or the database prefers: an error that cannot be written could not be settled.
    "client_encoding": "utf8",
}


class Session(Protocol):
    """A synchronous SQLAlchemy session, scoped or not."""

    def connection(self) -> sqlalchemy.Connection: ...
    def get_bind(self) -> sqlalchemy.Engine | sqlalchemy.Connection: ...


class Database:
    """PostgreSQL, as this process reaches it. Safe to share between threads, and after a fork."""

    def __init__(
        self,
        url: str,
        *,
        schema: str = "eventbus",
        pool_size: int = 10,
        application: str = "eventbus",
        prepare: bool = True,
    ) -> None:
        self.schema = schema
        self.shown_url = without_password(url)
        self._prepares = prepare
        self._checked = False
        #: What is asked of it within a limit.
        self.deadlines = Deadlines()
        given = read_url(url).query
        kept = pool_size // 2
        defaults = {**_CONNECTING, "application_name": application}
        self._engine = make_engine(
            url,
            pool_size=pool_size,
            # What is kept outside of the pool is not there for sessions.
            max_overflow=pool_size + kept,
            pool_timeout=_POOL_SECONDS,
            pool_use_lifo=True,
            connect_args={name: value for name, value in defaults.items() if name not in given}
            | {"connection_factory": DriverConnection},
        )
        self._keeping = Keeping(self._engine, schema=schema, prepares=prepare, at_most=kept)
        os.register_at_fork(after_in_child=self._after_fork)

    @property
    def engine(self) -> sqlalchemy.Engine:
        """The pool, for sessions that handlers take."""
        return self._engine

    def autocommit(self, *, within: timedelta | None = None) -> AbstractContextManager[Direct]:
        """A connection on which each statement commits by itself; it is lost if the block takes longer than *within*."""
        return _Autocommit(self, within)

    @contextmanager
    def transaction(self, *, within: timedelta | None = None, of_one_moment: bool = False) -> Iterator[Connection]:
        """A connection whose transaction commits when the block ends, and rolls back when it raises.

        Args:
            within: It is lost if block and commit take longer.
            of_one_moment: All statements see what the first one saw; `DatabaseBusy` where that cannot be kept up.
        """
        with self.translated(), self._engine.connect() as raw:
            if of_one_moment:
                raw.execution_options(isolation_level="REPEATABLE READ")
            driver: Any = raw.connection.dbapi_connection
            with self.deadlines.limit(driver, within), raw.begin():
                yield self._ready(raw)

    @contextmanager
    def join(self, session: Session) -> Iterator[Connection]:
        """The connection of a *session* of ours: written to, never committed."""
        with self.translated():
            yield self._ready(session.connection())

    @contextmanager
    def join_callers(self, session: Session) -> Iterator[Connection]:
        """The connection of a *session* of the caller's: written to, never committed.

        Raises:
            InvalidInput: Nothing can be written in its transaction.
        """
        try:
            raw = session.connection()
            require_transaction(raw)
            yield self._ready(raw)
        except SQLAlchemyError as error:
            if has_failed_before(error):
                # What ended it was raised where it happened; this one holds nothing but our statement.
                raise InvalidInput(FAILED_BEFORE) from None
            if isinstance(error, DBAPIError | PoolTimeout):
                raise self._ours(error, where=self._shown(session.get_bind().engine)) from error
            raise refusal(error) from error

    def lend(self, statement: Hot) -> PoolProxiedConnection:
        """A connection of the pool, which the caller gives back by closing it; *statement* is ready on it for `commit_with`."""
        with self.translated():
            try:
                pooled = self._engine.raw_connection()
            except psycopg2.Error as error:
                raise wrapped(error) from error
            try:
                if self._prepares:
                    preparing.make_ready(pooled.dbapi_connection, compiled(statement, self.schema), known=pooled.info)
            except psycopg2.Error as error:
                pooled.invalidate()
                raise wrapped(error, was_lost=True) from error
            return pooled

    def take_back(self, pooled: PoolProxiedConnection) -> None:
        """Give *pooled*, which was lent, back to the pool; close it where a handler has set something on it."""
        driver: Any = pooled.dbapi_connection
        if driver is not None and (driver.closed or driver.is_changed):
            pooled.invalidate()
        pooled.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise what SQLAlchemy raises as an error of our tree, where it is about the server rather than the statement."""
        try:
            yield
        except (DBAPIError, PoolTimeout) as error:
            raise self._ours(error) from error

    def _ours(self, error: DBAPIError | PoolTimeout, *, where: str | None = None) -> Exception:
        where = where or self.shown_url
        if isinstance(error, PoolTimeout):
            return DatabaseUnreachable(
                f"all connections to {where} have been in use for {_POOL_SECONDS} s: raise the pool size."
            )
        if error.connection_invalidated:
            self._keeping.distrust()
        return translate(error, where=where)

    def _shown(self, engine: sqlalchemy.Engine) -> str:
        """Where *engine*, ours or a caller's, leads to."""
        return self.shown_url if engine is self._engine else without_password(engine.url.render_as_string())

    def _take(self) -> Direct:
        if not self._checked:
            with self._engine.connect() as raw:
                self._check(raw)
        return self._keeping.take()

    def dispose(self) -> None:
        """Close all idle connections."""
        self._keeping.release()
        self._engine.dispose()

    def _ready(self, raw: sqlalchemy.Connection) -> Connection:
        if not self._checked:
            self._check(raw)
        return Connection(raw, schema=self.schema)

    def _check(self, raw: sqlalchemy.Connection) -> None:
        require_current_revision(raw, schema=self.schema, where=self._shown(raw.engine))
        self._checked = True

    def _after_fork(self) -> None:
        self._engine.dispose(close=False)


class _Autocommit(AbstractContextManager[Direct]):
    """`Database.autocommit`'s block: a class, for the three generators that it would take cost a publish more than all it does."""

    __slots__ = ("_database", "_direct", "_number", "_within")

    def __init__(self, database: Database, within: timedelta | None) -> None:
        self._database = database
        self._within = within

    def __enter__(self) -> Direct:
        database = self._database
        try:
            direct = self._direct = database._take()
        except (DBAPIError, PoolTimeout) as error:
            raise database._ours(error) from error
        self._number = database.deadlines.note(direct.driver, self._within)
        return direct

    def __exit__(self, _type: Any, error: BaseException | None, _traceback: Any) -> None:
        database = self._database
        try:
            if self._number is not None and database.deadlines.due.pop(self._number, None) is None:
                database.deadlines.await_cut()
        except BaseException:  # such as a handler's time limit: what is noted may still be, and would cut its next user
            self._direct.drop()
            raise
        database._keeping.give_back(self._direct)
        if isinstance(error, DBAPIError | PoolTimeout):
            raise database._ours(error) from error
