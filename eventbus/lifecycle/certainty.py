"""Certainty: a publish that commits by itself was recorded or was not, and its publisher is told which.

    record ─▶ answer
      │ no answer in time ─▶ the connection is cut
      └─ connection lost ─▶ end what may still run ─┬─ all have keys ──▶ publish again: a key records once
                                                    ├─ in the log ─────▶ recorded
                                                    ├─ not in the log ─▶ DatabaseUnreachable: nothing was recorded
                                                    └─ nobody answers, or a proxy may still hold it ─▶ PublishUncertain

The lost answer costs those who lose it; a publish that gets its answer asks for nothing more.
"""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NoReturn

from eventbus.errors import DatabaseError, DatabaseUnreachable, PublishUncertain
from eventbus.lifecycle import recording
from eventbus.storage import backends, bulk
from eventbus.storage.backends import Attempt
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
        InvalidInput, DatabaseError: As `recording.write`; nothing was recorded.
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


def _ask(
    database: Database, entries: Sequence[Entry], *, attempt: Attempt, after: datetime | None
) -> list[Recorded] | None:
    """What became of *entries*; None if they were not, and will not be, recorded."""
    within = timedelta(seconds=_ASKING_SECONDS)
    with database.autocommit(within=within) as connection:
        if not backends.is_primary(connection):
            raise _CannotTell
        ended = backends.end(connection, attempt)
    # Begun after that end, so that it sees what was committed before, in any isolation level.
    with database.transaction(within=within * 2) as connection:
        backends.limit_statements(connection, within)
        if all(entry.digest is not None for entry in entries):
            written = recording.write(connection, entries, database=database, after=after)
            # Those that the lost attempt recorded are new: their groups have not been woken.
            ours = bulk.find_recorded(connection, entries, age=attempt.age)
            return [ours.get(n, item) for n, item in enumerate(written)]
        ours = bulk.find_recorded(connection, entries, age=attempt.age)
        if ours:
            return _with_held(connection, entries, ours)
    if not ended:
        raise _CannotTell
    return None


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
