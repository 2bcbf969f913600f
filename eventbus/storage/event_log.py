"""The event log: append-only. An event and its deliveries are recorded by one statement, so neither exists without the other."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row

from eventbus.event import Event, Loader
from eventbus.storage.database import Connection
from eventbus.storage.preparing import Hot
from eventbus.storage.values import as_texts, as_utc, as_uuid
from eventbus.subscription import candidates
from eventbus.wire import decode, encode_again

# The inner SELECT is evaluated once, so that id, created_at and due_at are one moment of the database's clock. Of several
# subscriptions of a group that match, as after a renamed pattern, the newest seen is chosen: one delivery per group.
APPEND = Hot("""
WITH event AS (
    INSERT INTO eventbus.event_log (id, type, version, source, data, metadata, created_at)
    SELECT eventbus.uuid_v7(at, CAST(:random AS uuid)), :type, :version, :source,
           CAST(:data AS jsonb), CAST(:metadata AS jsonb), at
    FROM (SELECT clock_timestamp() AS at) AS clock
    RETURNING id, created_at
), chosen AS (
    SELECT DISTINCT ON (group_name) group_name, id
    FROM eventbus.subscription
    WHERE pattern = ANY (CAST(:patterns AS text[])) AND removed_at IS NULL
    ORDER BY group_name, last_seen_at DESC, id DESC
), owed AS (
    INSERT INTO eventbus.delivery (event_id, group_name, subscription_id, due_at)
    SELECT event.id, chosen.group_name, chosen.id, event.created_at FROM event CROSS JOIN chosen
    RETURNING group_name
)
SELECT event.id, event.created_at, ARRAY(SELECT group_name FROM owed ORDER BY 1) AS groups FROM event
""")

_FIND = """
SELECT id, type, version, source, CAST(data AS text) AS data, CAST(metadata AS text) AS metadata, created_at
FROM eventbus.event_log
"""
FIND = f"{_FIND} WHERE id = CAST(:id AS uuid)"
FIND_EVENTS = f"{_FIND} WHERE id = ANY (CAST(:ids AS uuid[]))"


class Recorded(NamedTuple):
    """An event that is in the log, and whom it is owed."""

    event: Event
    #: The groups with a delivery, sorted.
    groups: tuple[str, ...]
    #: It was recorded by an earlier publish with the same idempotency key: nobody is owed it anew.
    is_repeat: bool = False


class Entry(NamedTuple):
    """A draft that was checked, in its wire form; the draft's own data is not held on to."""

    type: str
    version: int
    source: str
    data: bytes
    #: Of its data and headers, as JSON.
    size_bytes: int
    #: What *data* decodes to.
    value: Any
    metadata: dict[str, Any]
    #: A random uuid; the event's id ends in its last 8 bytes, so that a publisher that lost the answer finds its event.
    token: str
    #: The idempotency key, or None.
    key: str | None = None
    #: Of what must not differ under one idempotency key; None without a key.
    digest: bytes | None = None
    #: What the event's `load` calls.
    loader: Loader | None = None

    def recorded(self, id: UUID, created_at: datetime, groups: tuple[str, ...]) -> Recorded:
        """The event that this became, at that time in UTC."""
        event = Event.of(
            id=id,
            type=self.type,
            version=self.version,
            source=self.source,
            data=self.value,
            metadata={**self.metadata, "timestamp": created_at.isoformat()},
            created_at=created_at,
            loader=self.loader,
        )
        return Recorded(event=event, groups=groups)


def append(connection: Connection, entry: Entry) -> Recorded:
    """Record *entry* and a delivery for each group subscribed to its type at this moment.

    Args:
        connection: Written to, never committed.
    """
    row = connection.values(
        APPEND,
        random=entry.token,
        type=entry.type,
        version=entry.version,
        source=entry.source,
        data=entry.data.decode(),
        metadata=encode_again(entry.metadata).decode(),
        patterns=connection.array(_patterns(entry.type)),
    )
    assert row is not None
    id, created_at, groups = row
    return entry.recorded(as_uuid(id), as_utc(created_at), tuple(groups))


@lru_cache(maxsize=512)
def _patterns(type: str) -> tuple[str, ...]:
    return candidates(type)


def find(connection: Connection, event_id: UUID) -> Event | None:
    """The event of that id, or None."""
    row = connection.row(FIND, id=str(event_id))
    return None if row is None else event_from(row)


def find_events(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Event]:
    """The events of those ids, by id."""
    events = [event_from(row) for row in connection.rows(FIND_EVENTS, ids=as_texts(ids))]
    return {event.id: event for event in events}


def event_from(row: Row[Any]) -> Event:
    """The event in a row that has the columns of `FIND`."""
    return event_of((row.id, row.type, row.version, row.source, row.data, row.metadata, row.created_at))


def event_of(values: Sequence[Any]) -> Event:
    """The event of these *values* of the columns of `FIND`, as a driver gives them."""
    id, type, version, source, data, metadata, created_at = values
    at = as_utc(created_at)
    return Event.of(
        id=as_uuid(id),
        type=type,
        version=version,
        source=source,
        data=decode(data),
        # As users see it: with the time, which the log keeps in a column of its own.
        metadata={**decode(metadata), "timestamp": at.isoformat()},
        created_at=at,
        loader=None,
    )
