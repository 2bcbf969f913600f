"""Handler sessions: a handler's writes and its delivery's completion are one transaction, which only eventbus ends.

    open ─▶ the handler's statements ─▶ commit ─▶ one command: the delivery is marked, fenced; COMMIT; BEGIN ──▶ the next open
                └─ whoever else commits is refused     └─ refused: marked, or found lost, by itself; COMMIT ─▶ the pool

Runs that follow each other share a connection, and nothing else, for as long as each ends as it should, and sets nothing on it that
outlives its transaction: a connection on which a run has set something is closed, before anybody has it. The transaction that is
begun ahead for the next run is ended when no run takes it at once.

Nor does the commit of such a transaction wait for the disk: the end of the block does, for all. A server that crashes first forgets
the effects and the completions of the same runs, and these are repeated (docs/decisions/0015). A run that has published waits by
itself, for whoever hears of its events must find them.
"""

import contextlib
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import sqlalchemy
from sqlalchemy import PoolProxiedConnection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from eventbus.errors import DatabaseError, HandlerError
from eventbus.lifecycle.committing import has_published
from eventbus.lifecycle.settlement import Marking
from eventbus.storage import backends, settling
from eventbus.storage.backends import Attempt
from eventbus.storage.database import Database
from eventbus.storage.failures import is_disconnect
from eventbus.storage.joining import has_failed_before

#: So long, and until the attendant looks, a transaction that was begun ahead waits for a handler's first statement.
SPARE_SECONDS = 0.02
#: So much later than the handler's alarm, which ends it in a better way wherever it can.
_CUT_LATER = timedelta(seconds=0.5)
_ENDING = timedelta(seconds=5)
_WENT_ON = (
    "the handler went on after an error of the database's, which had ended its session's transaction: let the error pass, or "
    "put what may fail into 'with session.begin_nested()'."
)


class ClaimLost(Exception):
    """The lease ended while the handler ran, and another worker may have the delivery: nothing of this run counts."""


class Sessions:
    """Sessions for runs that follow each other in one thread; the end of its block gives their connection back."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pooled: PoolProxiedConnection | None = None
        self._has_committed = False
        #: Whether the present transaction was begun together with a commit, and whether such a one was the last to be committed.
        self._is_begun_ahead = self._owes_disk = False
        #: Whether the last session's connection was cut at the end of its time.
        self.was_cut = False

    def __enter__(self) -> "Sessions":
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self._give_back()
        if self._owes_disk and error is None:
            # What a server that is gone has forgotten runs again, whoever waits for it.
            with contextlib.suppress(DatabaseError), self._database.autocommit() as connection:
                settling.wait_for_disk(connection)

    def take(self) -> PoolProxiedConnection:
        """The connection of the next session.

        Raises:
            DatabaseError: None can be had.
        """
        if self._pooled is None:
            self._pooled = self._database.lend(settling.COMMIT_DONE)
        return self._pooled

    @contextlib.contextmanager
    def open(self, *, within: timedelta, claim: int) -> Iterator["_HandlerSession"]:
        """A session whose transaction only `commit` may end; its connection is cut if the block takes longer than *within*.

        Args:
            claim: The fence of the delivery, by which the server's part of a commit is found.
        """
        pooled = self.take()
        driver: Any = pooled.dbapi_connection
        attempt = Attempt(driver.info.backend_pid, str(claim), time.monotonic())
        lent = cast("PoolProxiedConnection", _Lent(pooled))
        # Where it is lost SQLAlchemy would go on with another, which is not lent, and could be committed by anybody.
        connection = sqlalchemy.Connection(self._database.engine, lent, _allow_revalidate=False)
        session = _HandlerSession(bind=connection, expire_on_commit=False, close_resets_only=False)
        self._has_committed, self.was_cut, driver.is_lent = False, False, True
        deadlines = self._database.deadlines
        number = deadlines.note(driver, within + _CUT_LATER, is_lent=True)
        try:
            yield session
        finally:
            try:
                session.close()
                connection.close()
            finally:
                driver.is_lent = False
                if number is not None and deadlines.due.pop(number, None) is None:
                    deadlines.await_cut()
                    self.was_cut = driver.is_changed = True
                    self._end_work(attempt)
                if not self._has_committed or driver.is_changed or not driver.is_as_new:
                    self._give_back()

    def commit(self, session: "_HandlerSession", marking: Marking) -> None:
        """Write what *session* holds, mark its delivery by *marking*, and commit both.

        Raises:
            ClaimLost: *marking* said so; nothing is committed.
            HandlerError: The handler has left nothing that could be committed.
        """
        if session.is_closed:
            raise HandlerError(
                "the handler closed the session that it was given: eventbus closes it, when the handler has returned."
            )
        try:
            session.flush()
            with self._database.join(session) as connection:
                driver: Any = connection.raw.connection.dbapi_connection
        except SQLAlchemyError as error:
            if has_failed_before(error):
                raise HandlerError(_WENT_ON) from error
            raise
        if driver.has_failed:
            raise HandlerError(_WENT_ON)

        def finish() -> None:
            driver.is_lent = False
            waits, was_begun_ahead = has_published(session), self._is_begun_ahead
            with self._database.translated():
                self._is_begun_ahead = marking.commit(connection, waits=waits)
                if not self._is_begun_ahead and not marking.mark(connection):
                    raise ClaimLost
            if not self._is_begun_ahead:
                driver.commit()
            self._owes_disk = was_begun_ahead and not waits

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

    def _end_work(self, attempt: Attempt) -> None:
        """End what the server still does of *attempt*: it would hold its locks, or even commit, when nobody expects it any more."""
        with contextlib.suppress(DatabaseError), self._database.autocommit(within=_ENDING) as connection:
            backends.end(connection, attempt)

    def _give_back(self) -> None:
        pooled, self._pooled = self._pooled, None
        self._is_begun_ahead = False
        if pooled is not None:
            self._database.take_back(pooled)


class _HandlerSession(Session):
    """A session as a handler has it, which tells whether it was closed."""

    is_closed = False

    def close(self) -> None:
        """End it."""
        self.is_closed = True
        super().close()


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
