"""Failings: every failed run of an event and the dead letters that came of it, of all groups."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc

#: An event is shown with so many failed runs, the newest ones.
MOST_RUNS = 200

RUNS = """
SELECT group_name, kind, number, error_type, error_message, worker, failed_at, dead_letter_id FROM eventbus.attempt
WHERE event_id = CAST(:event_id AS uuid) ORDER BY id DESC LIMIT :limit
"""
LETTERS = """
SELECT DISTINCT ON (group_name) group_name, id, status FROM eventbus.dead_letter
WHERE event_id = CAST(:event_id AS uuid) ORDER BY group_name, id DESC
"""


@dataclass(frozen=True, kw_only=True)
class Failing:
    """A run of one group that ended in an error, or with its process."""

    group: str
    #: ``error`` or ``death``.
    kind: str
    #: 1 for the first.
    number: int
    error_type: str
    error_message: str
    worker: str | None
    failed_at: datetime
    #: The dead letter that the run led to; None while the delivery is retried.
    dead_letter_id: int | None


@dataclass(frozen=True, kw_only=True)
class NewestLetter:
    """The newest dead letter of a delivery, open or resolved."""

    group: str
    id: int
    status: str


def read_failings(connection: Connection, event_id: UUID) -> list[Failing]:
    """The newest `MOST_RUNS` failed runs of the event, newest first."""
    return [
        Failing(
            group=row.group_name,
            kind=row.kind,
            number=row.number,
            error_type=row.error_type,
            error_message=row.error_message,
            worker=row.worker,
            failed_at=as_utc(row.failed_at),
            dead_letter_id=row.dead_letter_id,
        )
        for row in connection.rows(RUNS, event_id=str(event_id), limit=MOST_RUNS)
    ]


def read_letters(connection: Connection, event_id: UUID) -> list[NewestLetter]:
    """The newest dead letter of each group that gave the event up, by group."""
    rows = connection.rows(LETTERS, event_id=str(event_id))
    return [NewestLetter(group=row.group_name, id=row.id, status=row.status) for row in rows]
