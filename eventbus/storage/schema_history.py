"""The stored events of a type, read from the oldest to the newest, for a schema that is tried on all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc, as_uuid

#: Before every event.
BEGINNING = UUID(int=0)
# One step in the index of (type, id), whatever the number of events.
NEWEST = "SELECT id FROM eventbus.event_log WHERE type = :type ORDER BY id DESC LIMIT 1"
NEXT = """
SELECT id, version, CAST(data AS text) AS data, created_at FROM eventbus.event_log
WHERE type = :type AND id > CAST(:after AS uuid) AND id <= CAST(:last AS uuid) ORDER BY id LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as far as a schema cares, its data still text."""

    id: UUID
    version: int
    data: str
    created_at: datetime


def newest_event(connection: Connection, type: str) -> UUID | None:
    """The newest event of *type*; None if there is none."""
    found = connection.value(NEWEST, type=type)
    return None if found is None else as_uuid(found)


def next_events(connection: Connection, type: str, *, after: UUID, last: UUID, limit: int) -> Sequence[StoredEvent]:
    """Up to *limit* events of *type* after one id and up to another, oldest first."""
    rows = connection.rows(NEXT, type=type, after=str(after), last=str(last), limit=limit)
    return [StoredEvent(as_uuid(row.id), row.version, row.data, as_utc(row.created_at)) for row in rows]
