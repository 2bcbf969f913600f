"""Stories: the events of one correlation id, and how each group stands with each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from eventbus.delivery import State
from eventbus.event import Event
from eventbus.storage.database import Connection
from eventbus.storage.event_log import event_from
from eventbus.storage.values import as_texts, as_utc_or_none, as_uuid

EVENTS = """
SELECT id, type, version, source, CAST(data AS text) AS data, CAST(metadata AS text) AS metadata, created_at
FROM eventbus.event_log WHERE metadata ->> 'correlation_id' = :correlation ORDER BY id LIMIT :limit
"""
# A parked delivery is due at infinity, which no datetime can say. OFFSET 0 keeps the planner from joining all deliveries.
STANDINGS = """
SELECT owed.* FROM unnest(CAST(:ids AS uuid[])) AS wanted (id)
CROSS JOIN LATERAL (
    SELECT d.event_id, d.group_name, d.subscription_id, d.state, d.attempts, d.deaths, NULLIF(d.due_at, 'infinity') AS due_at,
           d.started_at, d.finished_at, d.worker, d.last_error, d.replay_id
    FROM eventbus.delivery AS d WHERE d.event_id = wanted.id OFFSET 0
) AS owed
ORDER BY owed.event_id, owed.group_name
"""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a group stands with an event."""

    event_id: UUID
    group: str
    subscription_id: int
    state: State
    #: Failed runs, and processes that died in one.
    attempts: int
    deaths: int
    #: The earliest moment at which anyone may take it; None for what is parked.
    due_at: datetime | None
    #: When the run under way was committed to begin, if it had to be.
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    last_error: str | None
    #: The replay that last made it due.
    replay_id: UUID | None


@dataclass(frozen=True, kw_only=True)
class Story:
    """The events of one correlation id in the order in which they happened."""

    correlation_id: str
    events: tuple[Event, ...]
    #: In order of event and group.
    standings: tuple[Standing, ...]
    #: There are more events than these.
    is_cut: bool


def read_story(connection: Connection, correlation_id: str, *, limit: int) -> Story:
    """The first *limit* events of *correlation_id*; none if there are none."""
    rows = connection.rows(EVENTS, correlation=correlation_id, limit=limit + 1)
    events = tuple(event_from(row) for row in rows[:limit])
    return Story(
        correlation_id=correlation_id,
        events=events,
        standings=tuple(read_standings(connection, [event.id for event in events])),
        is_cut=len(rows) > limit,
    )


def read_standings(connection: Connection, event_ids: Sequence[UUID]) -> list[Standing]:
    """How all groups stand with these events, in order of event and group."""
    if not event_ids:
        return []
    return [_standing(row) for row in connection.rows(STANDINGS, ids=as_texts(event_ids))]


def _standing(row: Row[Any]) -> Standing:
    return Standing(
        event_id=as_uuid(row.event_id),
        group=row.group_name,
        subscription_id=row.subscription_id,
        state=State(row.state),
        attempts=row.attempts,
        deaths=row.deaths,
        due_at=as_utc_or_none(row.due_at),
        started_at=as_utc_or_none(row.started_at),
        finished_at=as_utc_or_none(row.finished_at),
        worker=row.worker,
        last_error=row.last_error,
        replay_id=None if row.replay_id is None else as_uuid(row.replay_id),
    )
