"""Resolving: dead letters are retried, discarded, restored, each together with its delivery.

Whoever resolves one does so WHERE status = 'open': of two operators, one succeeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from eventbus.storage.database import Connection
from eventbus.storage.values import as_uuid

# The delivery is locked first, then the letter, like everywhere. SKIP LOCKED leaves what another holds, who need not be resolving
# it: nobody waits in a circle, and what is still open afterwards is asked for.
_DEAD = """
    FROM eventbus.dead_letter AS l JOIN eventbus.delivery AS d ON d.event_id = l.event_id AND d.group_name = l.group_name
    WHERE l.id = ANY (CAST(:ids AS bigint[])) AND l.status = 'open' AND d.state = 'dead'
"""
_IN_ORDER = "ORDER BY l.id FOR UPDATE OF l, d SKIP LOCKED"
KINDS = "SELECT DISTINCT group_name, type FROM eventbus.dead_letter WHERE id = ANY (CAST(:ids AS bigint[]))"
RETRY = f"""
WITH taker AS (
    SELECT * FROM unnest(CAST(:groups AS text[]), CAST(:types AS text[]), CAST(:takers AS bigint[])) AS taker (group_name, type, id)
), dead AS (
    SELECT l.id, l.event_id, l.group_name, l.type {_DEAD} AND (l.group_name, l.type) IN (SELECT group_name, type FROM taker)
    {_IN_ORDER}
), chosen AS (
    SELECT dead.*, taker.id AS subscription_id FROM dead JOIN taker USING (group_name, type)
), resolved AS (
    UPDATE eventbus.dead_letter AS l SET status = 'retried', resolved_at = clock_timestamp()
    FROM chosen WHERE l.id = chosen.id AND l.status = 'open'
    RETURNING l.id, l.event_id, l.group_name, l.type, chosen.subscription_id
), fresh AS (
    UPDATE eventbus.delivery AS d
    SET state = 'pending', attempts = 0, deaths = 0, suspect = false, finished_at = NULL, last_error = NULL,
        due_at = clock_timestamp(), subscription_id = resolved.subscription_id
    FROM resolved WHERE d.event_id = resolved.event_id AND d.group_name = resolved.group_name AND d.state = 'dead'
    RETURNING d.event_id, d.group_name
)
SELECT resolved.id, resolved.event_id, resolved.group_name, resolved.type FROM resolved JOIN fresh USING (event_id, group_name)
ORDER BY resolved.id
"""
DISCARD = f"""
WITH chosen AS (
    SELECT l.id, l.event_id, l.group_name {_DEAD} {_IN_ORDER}
), resolved AS (
    UPDATE eventbus.dead_letter AS l SET status = 'discarded', resolved_at = clock_timestamp(), note = :reason
    FROM chosen WHERE l.id = chosen.id AND l.status = 'open'
    RETURNING l.id, l.event_id, l.group_name, l.type
), cancelled AS (
    UPDATE eventbus.delivery AS d SET state = 'cancelled', finished_at = clock_timestamp()
    FROM resolved WHERE d.event_id = resolved.event_id AND d.group_name = resolved.group_name AND d.state = 'dead'
    RETURNING d.event_id, d.group_name
)
SELECT resolved.id, resolved.event_id, resolved.group_name, resolved.type
FROM resolved JOIN cancelled USING (event_id, group_name) ORDER BY resolved.id
"""
# Only the newest letter of a delivery says what became of it.
RESTORE = f"""
WITH chosen AS (
    SELECT l.id, l.event_id, l.group_name FROM eventbus.dead_letter AS l
    JOIN eventbus.delivery AS d ON d.event_id = l.event_id AND d.group_name = l.group_name
    WHERE l.id = ANY (CAST(:ids AS bigint[])) AND l.status = 'discarded' AND d.state = 'cancelled' AND NOT EXISTS (
        SELECT FROM eventbus.dead_letter AS newer
        WHERE newer.event_id = l.event_id AND newer.group_name = l.group_name AND newer.id > l.id)
    {_IN_ORDER}
), dead AS (
    UPDATE eventbus.delivery AS d SET state = 'dead', finished_at = clock_timestamp()
    FROM chosen WHERE d.event_id = chosen.event_id AND d.group_name = chosen.group_name AND d.state = 'cancelled'
    RETURNING d.event_id, d.group_name
)
UPDATE eventbus.dead_letter AS l SET status = 'open', resolved_at = NULL
FROM chosen JOIN dead USING (event_id, group_name) WHERE l.id = chosen.id
RETURNING l.id, l.event_id, l.group_name, l.type
"""
STILL_OPEN = (
    "SELECT id FROM eventbus.dead_letter WHERE id = ANY (CAST(:ids AS bigint[])) AND status = 'open' ORDER BY id"
)
NOTE = "UPDATE eventbus.dead_letter SET note = :note WHERE id = :id RETURNING id"


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A dead letter that was just retried, discarded or restored."""

    id: int
    event_id: UUID
    group: str
    type: str


def list_kinds(connection: Connection, ids: Sequence[int]) -> list[tuple[str, str]]:
    """Of which groups and types the letters *ids* are."""
    return [(row.group_name, row.type) for row in connection.rows(KINDS, ids=list(ids))]


def retry(connection: Connection, ids: Sequence[int], *, takers: Mapping[tuple[str, str], int]) -> list[Resolved]:
    """Resolve those of the letters *ids* that are open, making their deliveries as if new; in order of id.

    Args:
        takers: The subscription that has the deliveries of a group and type from now on; those of others are left alone.
    """
    kinds = list(takers)
    return _resolved(
        connection.rows(
            RETRY,
            ids=list(ids),
            groups=[group for group, _ in kinds],
            types=[type for _, type in kinds],
            takers=[takers[kind] for kind in kinds],
        )
    )


def discard(connection: Connection, ids: Sequence[int], *, reason: str) -> list[Resolved]:
    """Resolve those of the letters *ids* that are open, cancelling their deliveries; in order of id."""
    return _resolved(connection.rows(DISCARD, ids=list(ids), reason=reason))


def restore(connection: Connection, ids: Sequence[int]) -> list[Resolved]:
    """Open discarded letters again, their cancelled deliveries being dead again; those that could be."""
    return _resolved(connection.rows(RESTORE, ids=list(ids)))


def still_open(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Those of the letters *ids* that are open, rising."""
    return [row.id for row in connection.rows(STILL_OPEN, ids=list(ids))]


def write_note(connection: Connection, id: int, note: str) -> bool:
    """Keep *note* with a dead letter in the place of the one before; whether there is such a letter."""
    return connection.row(NOTE, id=id, note=note) is not None


def _resolved(rows: Sequence[Row[Any]]) -> list[Resolved]:
    return [Resolved(id=row.id, event_id=as_uuid(row.event_id), group=row.group_name, type=row.type) for row in rows]
