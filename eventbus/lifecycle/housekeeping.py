"""Housekeeping: what some worker has to do every now and then, so that nobody else has to think of it.

    heartbeat 5 s · traffic 2 s · fingerprints 5 s · idempotency keys, adoption of dead letters 10 min
    partitions, old minutes, dead workers 1 h

Any number of workers may keep house at once: each chore is harmless to repeat, and to do at the same time. A chore that fails
is tried again when it is due the next time, and keeps no other from being done.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from threading import Event
from uuid import UUID

from eventbus.errors import DatabaseError
from eventbus.lifecycle import fingerprinting
from eventbus.lifecycle.counting import KEPT as DURATIONS_KEPT
from eventbus.lifecycle.counting import count_traffic
from eventbus.storage import alerts, partitions, publish_keys, runs, traffic, workers
from eventbus.storage.database import Database
from eventbus.storage.workers import Worker

log = logging.getLogger(__name__)

#: How long counts are kept by the minute.
MINUTES_KEPT = timedelta(days=31)
#: How long it is remembered what was told, or was to be told.
ALERTS_KEPT = timedelta(days=31)
#: How long a worker that died without a word is remembered.
WORKERS_KEPT = timedelta(days=1)
_KEYS = 10_000


@dataclass(frozen=True, kw_only=True)
class Chore:
    """Something that is to be done again and again."""

    name: str
    every: timedelta
    do: Callable[[Database], object]


def chores_of(worker: Worker) -> Sequence[Chore]:
    """All that *worker* has to do, the most urgent first; one without groups only says that it lives."""
    namesakes: set[UUID] = set()

    def beat(database: Database) -> None:
        with database.autocommit() as connection:
            workers.beat(connection, worker)
            found = workers.find_namesakes(connection, worker)
        for other in found:
            if other.id not in namesakes:
                namesakes.add(other.id)
                log.warning("worker_name_shared", extra={"worker": worker.name, "host": other.host, "pid": other.pid})

    heartbeat = Chore(name="heartbeat", every=timedelta(seconds=5), do=beat)
    if not worker.groups:
        return (heartbeat,)
    return (
        heartbeat,
        Chore(name="traffic", every=timedelta(seconds=2), do=count_traffic),
        Chore(name="fingerprints", every=timedelta(seconds=5), do=fingerprinting.settle),
        Chore(name="keys", every=timedelta(minutes=10), do=expire_keys),
        Chore(name="partitions", every=timedelta(hours=1), do=ensure_partitions),
        Chore(name="adoption", every=timedelta(minutes=10), do=fingerprinting.adopt),
        Chore(name="tidying", every=timedelta(hours=1), do=forget_old),
    )


def keep_house(database: Database, chores: Sequence[Chore], *, stop: Event) -> None:
    """Do each chore when it is due, at once for the first time, until *stop* is set; never raises."""
    due = {chore.name: time.monotonic() for chore in chores}
    failing: set[str] = set()
    while not stop.is_set():
        for chore in chores:
            if due[chore.name] <= time.monotonic() and not stop.is_set():
                due[chore.name] = time.monotonic() + chore.every.total_seconds()
                _do(chore, database, failing)
        stop.wait(max(min(due.values()) - time.monotonic(), 0))


def say_goodbye(database: Database, worker: Worker) -> None:
    """Take *worker* off the list of those that live; if that fails, its silence will."""
    try:
        with database.autocommit() as connection:
            workers.leave(connection, worker)
    except DatabaseError as error:
        log.warning("goodbye_failed", extra={"worker": worker.name, "reason": str(error)})


def expire_keys(database: Database) -> None:
    """Delete the idempotency keys whose time is over."""
    deleted = _KEYS
    while deleted == _KEYS:
        with database.autocommit() as connection:
            deleted = publish_keys.expire(connection, _KEYS)


def ensure_partitions(database: Database) -> None:
    """Make the tables of the weeks to come."""
    with database.transaction() as connection:
        partitions.ensure(connection)


def forget_old(database: Database) -> None:
    """Delete what was kept for long enough, and add up what lies about."""
    with database.autocommit() as connection:
        traffic.expire(connection, kept=MINUTES_KEPT)
        workers.forget(connection, kept=WORKERS_KEPT)
        runs.expire(connection, kept=DURATIONS_KEPT)
        runs.fold_tallies(connection)
        alerts.forget(connection, kept=ALERTS_KEPT)


def _do(chore: Chore, database: Database, failing: set[str]) -> None:
    """Do *chore*; log its first failure, and that it is well again, but not each failure in between."""
    try:
        chore.do(database)
    except Exception as error:  # the edge of a thread: whatever it is, the other chores go on
        if chore.name not in failing:
            failing.add(chore.name)
            unexpected = None if isinstance(error, DatabaseError) else error
            log.warning("housekeeping_failed", extra={"chore": chore.name, "reason": str(error)}, exc_info=unexpected)
    else:
        if chore.name in failing:
            failing.discard(chore.name)
            log.info("housekeeping_recovered", extra={"chore": chore.name})
