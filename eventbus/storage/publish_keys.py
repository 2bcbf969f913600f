"""Idempotency keys: which event of a source holds a key. They are taken where events are recorded, in `bulk.append`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from eventbus.storage.database import Connection
from eventbus.storage.values import as_uuid

#: How long a key belongs to its event.
KEPT = timedelta(days=7)

FIND = """
SELECT wanted.n, held.event_id, encode(held.digest, 'hex') = wanted.digest AS is_same
FROM unnest(CAST(:sources AS text[]), CAST(:keys AS text[]), CAST(:digests AS text[])) WITH ORDINALITY
    AS wanted (source, key, digest, n)
JOIN eventbus.publish_key AS held ON held.source = wanted.source AND held.key = wanted.key
"""
EXPIRE = """
WITH old AS (
    SELECT source, key FROM eventbus.publish_key
    WHERE created_at < clock_timestamp() - CAST(:kept AS interval)
    ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
DELETE FROM eventbus.publish_key AS held USING old WHERE held.source = old.source AND held.key = old.key
"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A key that is asked for, and the digest of what is published under it."""

    source: str
    key: str
    digest: bytes


@dataclass(frozen=True, kw_only=True)
class Held:
    """The event that holds a key."""

    event_id: UUID
    #: Whether the digest is the one that was asked for.
    is_same: bool


def find(connection: Connection, wanted: Sequence[Wanted]) -> dict[int, Held]:
    """Who holds those keys, by their position in *wanted*; a key that nobody holds is left out."""
    rows = connection.rows(
        FIND,
        sources=[item.source for item in wanted],
        keys=[item.key for item in wanted],
        digests=[item.digest.hex() for item in wanted],
    )
    return {row.n - 1: Held(event_id=as_uuid(row.event_id), is_same=row.is_same) for row in rows}


def expire(connection: Connection, limit: int) -> int:
    """Delete up to *limit* keys whose time is over; how many were. Such keys are free already: this saves space."""
    return connection.change(EXPIRE, kept=KEPT, limit=limit)
