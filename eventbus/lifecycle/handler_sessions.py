"""Handler sessions: a handler's writes and its delivery's completion are one transaction, which only eventbus ends.

    open ─▶ the handler's statements ─▶ commit ─▶ one command: the delivery is marked, fenced; COMMIT; BEGIN ──▶ the next open
                └─ whoever else commits is refused     └─ refused: marked, or found lost, by itself; COMMIT ─▶ the pool

Runs that follow each other share a connection, and nothing else, for as long as each ends as it should. The transaction that is
begun ahead for the next run is ended when no run takes it at once.
"""

import contextlib
import functools
import re
from collections.abc import Iterator
from typing import Any, cast

import sqlalchemy
from sqlalchemy import PoolProxiedConnection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from eventbus.errors import HandlerError
from eventbus.lifecycle.settlement import Marking
from eventbus.storage.database import Database
from eventbus.storage.failures import is_disconnect
from eventbus.storage.settling import COMMIT_DONE

#: So long, and until the attendant looks, a transaction that was begun ahead waits for a handler's first statement.
SPARE_SECONDS = 0.02
_ENDS_TRANSACTION = re.compile(r"\s*(commit|end|rollback(?!\s+to)|abort|prepare\s+transaction)\b", re.IGNORECASE)
#: In what SQLAlchemy keeps beside a connection: whether its transaction may be committed now.
_MAY_COMMIT = "eventbus_may_commit"


class ClaimLost(Exception):
    """The lease ended while the handler ran, and another worker may have the delivery: nothing of this run counts."""


class Sessions:
    """Sessions for runs that follow each other in one thread; the end of its block gives their connection back."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pooled: PoolProxiedConnection | None = None
        self._has_committed = False

    def __enter__(self) -> "Sessions":
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    @contextlib.contextmanager
    def open(self) -> Iterator[Session]:
        """A session whose transaction only `commit` may end."""
        if self._pooled is None:
            self._pooled = self._database.lend(COMMIT_DONE)
        pooled = self._pooled
        lent = cast("PoolProxiedConnection", _Lent(pooled))
        connection = sqlalchemy.Connection(_guarded(self._database.engine), lent)
        pooled.info[_MAY_COMMIT] = self._has_committed = False
        session = Session(bind=connection, expire_on_commit=False, close_resets_only=False)
        try:
            yield session
        finally:
            try:
                session.close()
                connection.close()
            finally:
                driver: Any = pooled.dbapi_connection
                if not self._has_committed or driver is None or not driver.is_as_new:
                    self._give_back()

    def commit(self, session: Session, marking: Marking) -> None:
        """Write what *session* holds, mark its delivery by *marking*, and commit both.

        Raises:
            ClaimLost: *marking* said so; nothing is committed.
        """
        session.flush()
        raw = session.connection()
        with self._database.join(session) as connection:
            driver: Any = raw.connection.dbapi_connection

        def finish() -> None:
            with self._database.translated():
                if marking.commit(connection):
                    return
                if not marking.mark(connection):
                    raise ClaimLost
            driver.commit()

        raw.info[_MAY_COMMIT] = True
        # In the place of the driver's COMMIT, so that nothing that SQLAlchemy calls before it comes between the marking and it.
        driver.instead = finish
        try:
            session.commit()
        except DBAPIError as error:
            if is_disconnect(error):
                with self._database.translated():
                    raise
            raise
        finally:
            driver.instead = None
        self._has_committed = True

    def attend(self, *, stopping: bool) -> None:
        """End the transaction that was begun ahead, if no run has taken it; from another thread."""
        del stopping
        pooled = self._pooled
        driver: Any = None if pooled is None else pooled.dbapi_connection
        if driver is not None:
            driver.end_spare(after_seconds=SPARE_SECONDS)

    def _give_back(self) -> None:
        pooled, self._pooled = self._pooled, None
        if pooled is not None:
            pooled.close()


class _Lent:
    """A pooled connection as one run has it: what it closes is of no use to it any more, and stays where it is."""

    def __init__(self, pooled: PoolProxiedConnection) -> None:
        self._pooled: Any = pooled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pooled, name)

    def close(self) -> None:
        """Let go of it."""
        self._pooled = None

    def _close_special(self, **_options: Any) -> None:
        """What SQLAlchemy calls when it has just ended a transaction."""
        self.close()


@functools.lru_cache(maxsize=16)
def _guarded(engine: sqlalchemy.Engine) -> sqlalchemy.Engine:
    """*engine*, with connections that refuse to end a transaction.

    Kept: listeners on each connection would cost as much time as the handler's own statement.
    """
    guarded = engine.execution_options()
    event.listen(guarded, "commit", _refuse_commit)
    event.listen(guarded, "before_cursor_execute", _refuse_statement)
    return guarded


def _refuse_commit(connection: sqlalchemy.Connection) -> None:
    """On the connection, which the session, its connection() and a begin() block all commit through."""
    if not connection.info.get(_MAY_COMMIT):
        # SQLAlchemy takes the transaction for ended, and would hand it, still open, to the connection's next user.
        connection.invalidate()
        raise HandlerError(
            "the handler committed the session that it was given: eventbus commits it together with the delivery, when the "
            "handler returns."
        )


def _refuse_statement(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
    if _ENDS_TRANSACTION.match(statement):
        raise HandlerError(
            f"the handler executed {statement.strip()[:40]!r}, but the session's transaction is eventbus's to end."
        )
