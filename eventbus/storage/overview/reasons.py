"""Reasons: what the database knows of one event and one group, gathered for the question why that group did or did not get it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from eventbus.event import Event
from eventbus.storage import event_log, workers
from eventbus.storage.database import Connection
from eventbus.storage.overview.condition import read_clock
from eventbus.storage.overview.groups import GroupState, Wish, read_groups, read_wishes
from eventbus.storage.overview.stories import Standing, read_standings
from eventbus.storage.values import as_utc
from eventbus.storage.workers import Seen

LETTER = """
SELECT id, status, note FROM eventbus.dead_letter
WHERE event_id = CAST(:event_id AS uuid) AND group_name = :group ORDER BY id DESC LIMIT 1
"""
RUNS = """
SELECT kind, error_type, error_message, worker, failed_at FROM eventbus.attempt
WHERE event_id = CAST(:event_id AS uuid) AND group_name = :group ORDER BY id DESC LIMIT 20
"""


@dataclass(frozen=True, kw_only=True)
class Letter:
    """The newest dead letter of a delivery."""

    id: int
    status: str
    note: str | None


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """A run that ended in an error, or with its process."""

    #: ``error`` or ``death``.
    kind: str
    error_type: str
    error_message: str
    worker: str | None
    failed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that bears on the question, as of one moment or nearly so."""

    #: By the database's clock.
    asked_at: datetime
    event: Event
    group: GroupState
    #: None where the group has no delivery of the event.
    standing: Standing | None
    wishes: Sequence[Wish]
    #: Living workers that serve the group.
    workers: Sequence[Seen]
    letter: Letter | None
    #: The newest failed runs, newest first.
    runs: Sequence[FailedRun]


def read_facts(connection: Connection, event_id: UUID, group: str) -> Facts | None:
    """What is known; None if there is no such event, or no such group."""
    event = event_log.find(connection, event_id)
    states = read_groups(connection, group)
    if event is None or not states:
        return None
    standings = [item for item in read_standings(connection, [event_id]) if item.group == group]
    letter = connection.row(LETTER, event_id=str(event_id), group=group)
    runs = connection.rows(RUNS, event_id=str(event_id), group=group)
    return Facts(
        asked_at=read_clock(connection),
        event=event,
        group=states[0],
        standing=standings[0] if standings else None,
        wishes=read_wishes(connection, group),
        workers=[worker for worker in workers.list_live(connection) if group in worker.groups],
        letter=None if letter is None else Letter(id=letter.id, status=letter.status, note=letter.note),
        runs=[
            FailedRun(
                kind=row.kind,
                error_type=row.error_type,
                error_message=row.error_message,
                worker=row.worker,
                failed_at=as_utc(row.failed_at),
            )
            for row in runs
        ],
    )
