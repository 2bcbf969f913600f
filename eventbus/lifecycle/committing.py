"""Committing: what is recorded in a caller's SQLAlchemy session is dispatched after its outermost commit, and only then.

    publish(session=s) ─▶ pending[(transaction, event)] ─┬─ outermost commit ─────▶ dispatch
                                                         └─ rollback, of a savepoint too ─▶ dropped

A session that joined a transaction of its connection commits nothing by itself, and nobody hears of that transaction's own end:
a relay finds what it recorded, soon after the end, if it committed.

One list for each session; each entry remembers the (nested) transaction in which it was recorded.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, scoped_session

from eventbus.errors import InvalidInput
from eventbus.storage.event_log import Recorded
from eventbus.storage.joining import THROUGH_RUN_SYNC

log = logging.getLogger(__name__)

Dispatch = Callable[[list[Recorded]], Any]
#: An attribute of the session, and no key of its ``info``, which is its owner's, who may clear it.
_PENDING = "_eventbus_pending"


def dispatch_after_commit(session: Any, recorded: list[Recorded], dispatch: Dispatch) -> None:
    """Call *dispatch* with *recorded* once the outermost transaction of *session* has committed; never after a rollback.

    Args:
        session: A Session or scoped_session; of an AsyncSession, the ``sync_session``.
        recorded: What was just recorded in its current transaction.
        dispatch: Must not raise; if it does, the error is logged, for the commit stands.
    """
    real = synchronous(session)
    pending = getattr(real, _PENDING, None)
    if pending is None:
        pending = _Pending(real)
        setattr(real, _PENDING, pending)
    transaction = real.get_nested_transaction() or real.get_transaction()
    pending.entries.append((transaction, real.connection(), recorded, dispatch))


def has_published(session: Session) -> bool:
    """Whether events are recorded in the transaction of *session*, of which somebody is told when it has committed."""
    pending = getattr(session, _PENDING, None)
    return pending is not None and bool(pending.entries)


def note_failed_dispatch(error: Exception, recorded: list[Recorded]) -> None:
    """Log that nobody could be told of events that are committed: a relay finds the deliveries. Never raises."""
    with suppress(Exception):  # a filter of the application's log may be what failed
        log.error("dispatch_failed", exc_info=error, extra={"events": len(recorded)})


def synchronous(session: Any) -> Session:
    """The Session that *session* is, or stands for.

    Raises:
        InvalidInput: It is something else, such as an AsyncSession.
    """
    real = session() if isinstance(session, scoped_session) else session
    if isinstance(real, Session):
        return real
    raise InvalidInput(f"session={type(session).__name__} is no SQLAlchemy Session: {THROUGH_RUN_SYNC}")


class _Pending:
    """What one session has recorded; hears of its transactions."""

    def __init__(self, session: Session) -> None:
        self.entries: list[tuple[Any, Connection, list[Recorded], Dispatch]] = []
        event.listen(session, "after_commit", self._after_commit)
        event.listen(session, "after_soft_rollback", self._after_soft_rollback)
        event.listen(session, "after_transaction_end", self._after_transaction_end)

    def _after_commit(self, session: Session) -> None:
        """Also called when a savepoint is released: then the outer transaction is still undecided."""
        if session.in_nested_transaction():
            return
        entries, self.entries = self.entries, []
        by_dispatch: dict[Dispatch, list[Recorded]] = {}
        for _, connection, recorded, dispatch in entries:
            if connection.in_transaction():
                continue
            by_dispatch.setdefault(dispatch, []).extend(recorded)
        for dispatch, recorded in by_dispatch.items():
            try:
                dispatch(recorded)
            except Exception as error:  # noqa: BLE001 - the caller's commit stands, whatever happens to its messages
                note_failed_dispatch(error, recorded)

    def _after_soft_rollback(self, _session: Session, previous: Any) -> None:
        """Drop what was recorded in *previous* or in a transaction inside it."""
        self.entries = [entry for entry in self.entries if not _is_within(entry[0], previous)]

    def _after_transaction_end(self, _session: Session, transaction: Any) -> None:
        if transaction.parent is None:
            self.entries = []


def _is_within(transaction: Any, outer: Any) -> bool:
    while transaction is not None:
        if transaction is outer:
            return True
        transaction = transaction.parent
    return False
