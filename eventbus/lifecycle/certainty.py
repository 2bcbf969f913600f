"""Certainty: a publish that commits by itself was recorded or was not, and its publisher is told which.

    record ─▶ answer
      │ no answer in time ─▶ the connection is cut
      └─ connection lost ─▶ end what may still run ─┬─ all have keys ──▶ publish again: a key records once
                                                    ├─ it waited for a lock that still stands ─▶ DatabaseBusy: nothing was recorded
                                                    ├─ in the log ─────▶ recorded
                                                    ├─ not in the log ─▶ DatabaseUnreachable: nothing was recorded
                                                    └─ nobody answers, or a proxy may still hold it ─▶ PublishUncertain

The lost answer costs those who lose it; a publish that gets its answer asks for nothing more.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NoReturn

from eventbus.errors import DatabaseBusy, DatabaseError, DatabaseUnreachable, PublishUncertain
from eventbus.lifecycle import recording
from eventbus.storage import backends, bulk
from eventbus.storage.backends import Attempt, Obstacle
from eventbus.storage.database import Connection, Database
from eventbus.storage.event_log import Entry, Recorded
from eventbus.storage.failures import was_lost

log = logging.getLogger(__name__)

#: How long a publisher that lost its answer goes on asking for it.
_ASKING_SECONDS = 5.0
_PAUSE_SECONDS = 0.1


def record(
    database: Database, entries: Sequence[Entry], *, within: timedelta, after: datetime | None = None
) -> list[Recorded]:
    """Record and commit *entries*, as `recording.write` does.

    Args:
        within: How long to wait for the answer.

    Raises:
        InvalidInput, DatabaseError: As `recording.write`; nothing was recorded. DatabaseBusy also if a lock on a table, such as
            that of an ALTER TABLE, let it wait for *within*, and is still held.
        PublishUncertain: The connection was lost, and what became of them cannot be told.
    """
    attempt = None
    try:
        with database.autocommit(within=within) as connection:
            attempt = backends.begin(connection, entries[0].token)
            return recording.write(connection, entries, database=database, after=after)
    except DatabaseUnreachable as error:
        if attempt is None or not was_lost(error):
            raise
        log.warning("publish_answer_lost", extra={"type": entries[0].type, "events": len(entries)})
        lost = error
    return _settle(database, entries, attempt=attempt, after=after, lost=lost)


def _settle(
    database: Database, entries: Sequence[Entry], *, attempt: Attempt, after: datetime | None, lost: DatabaseUnreachable
) -> list[Recorded]:
    deadline = time.monotonic() + _ASKING_SECONDS
    pause = threading.Event()
    found: list[Recorded] | None
    while True:
        try:
            found = _ask(database, entries, attempt=attempt, after=after)
            break
        except _Locked as locked:
            message = (
                f"PostgreSQL at {database.shown_url} could not do it now: a lock on {locked.table} stands in the way, and "
                "'eventbus doctor' tells whose; nothing was recorded, try again."
            )
            raise DatabaseBusy(message) from lost
        except (DatabaseError, _CannotTell):
            if time.monotonic() > deadline:
                _give_up(entries, lost)
        pause.wait(_PAUSE_SECONDS)
    if found is None:
        message = f"the connection to PostgreSQL at {database.shown_url} was lost; nothing was recorded: publish again."
        raise DatabaseUnreachable(message) from lost
    return found


class _CannotTell(Exception):
    """The server answers, but cannot say yet, or at all, what became of the entries."""


class _Locked(Exception):
    """The entries were not recorded, for a lock stands in the way, and would still."""

    def __init__(self, table: str) -> None:
        self.table = table
        super().__init__(table)


def _ask(
    database: Database, entries: Sequence[Entry], *, attempt: Attempt, after: datetime | None
) -> list[Recorded] | None:
    """What became of *entries*; None if they were not, and will not be, recorded."""
    within = timedelta(seconds=_ASKING_SECONDS)
    ended, obstacle = _end(database, attempt, within=within)
    if all(entry.digest is not None for entry in entries):
        try:
            return _record_again(database, entries, attempt=attempt, after=after, within=within)
        except DatabaseBusy as error:
            if obstacle is None:
                raise
            raise _Locked(obstacle.table) from error
    if obstacle is not None:
        raise _Locked(obstacle.table)
    with _asking(database, within=within) as connection:
        ours = bulk.find_recorded(connection, entries, age=attempt.age)
        if ours:
            return _with_held(connection, entries, ours)
    if not ended:
        raise _CannotTell
    return None


def _end(database: Database, attempt: Attempt, *, within: timedelta) -> tuple[bool, Obstacle | None]:
    """End what may still run of *attempt*; whether it has ended, and the lock for which it did nothing at all, if that is sure."""
    with database.autocommit(within=within) as connection:
        if not backends.is_primary(connection):
            raise _CannotTell
        obstacle = backends.find_obstacle(connection, attempt)
        ended = backends.end(connection, attempt)
        is_sure = obstacle is not None and ended and backends.stands(connection, obstacle)
        return ended, obstacle if is_sure else None


def _record_again(
    database: Database, entries: Sequence[Entry], *, attempt: Attempt, after: datetime | None, within: timedelta
) -> list[Recorded]:
    with _asking(database, within=within) as connection:
        written = recording.write(connection, entries, database=database, after=after)
        # Those that the lost attempt recorded are new: their groups have not been woken.
        ours = bulk.find_recorded(connection, entries, age=attempt.age)
        return [ours.get(n, item) for n, item in enumerate(written)]


@contextlib.contextmanager
def _asking(database: Database, *, within: timedelta) -> Iterator[Connection]:
    """A transaction that is begun after the attempt's end, so that it sees what was committed before, in any isolation level."""
    with database.transaction(within=within * 2) as connection:
        backends.limit_statements(connection, within)
        yield connection


def _with_held(connection: Connection, entries: Sequence[Entry], ours: dict[int, Recorded]) -> list[Recorded]:
    """All of a batch that was recorded: the rest of it has keys that events held before, or another item of it."""
    held = recording.find_held(connection, entries)
    if len(ours.keys() | held.keys()) < len(entries):
        raise _CannotTell
    return [ours[n] if n in ours else held[n] for n in range(len(entries))]


def _give_up(entries: Sequence[Entry], lost: DatabaseUnreachable) -> NoReturn:
    first = entries[0]
    repeatable = all(entry.digest is not None for entry in entries)
    raise PublishUncertain(first.type, first.key if repeatable else None) from lost
