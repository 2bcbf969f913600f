"""Parking: deliveries that wait for code which can read their event's version.

    running ──park──▶ parked ──unpark──▶ pending | retrying

A parked row is due at infinity: no claim and no sweep reads it, however many there are, and finding them is a look at one end of
the index of open rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from eventbus.storage.claiming import Claimed
from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc

# What it was replayed for while it ran is still to come, so a parked row needs no rerun; but it starts anew.
PARK = """
UPDATE eventbus.delivery AS d
SET state = 'parked', due_at = 'infinity', last_error = :reason, claim = NULL, started_at = NULL,
    attempts = CASE WHEN d.rerun THEN 0 ELSE d.attempts END, deaths = CASE WHEN d.rerun THEN 0 ELSE d.deaths END,
    suspect = d.suspect AND NOT d.rerun, rerun = false
WHERE d.event_id = CAST(:event_id AS uuid) AND d.group_name = :group AND d.claim = :claim AND d.state = 'running'
"""
_PARKED = """
FROM eventbus.delivery AS d
CROSS JOIN LATERAL (SELECT type, version FROM eventbus.event_log WHERE id = d.event_id LIMIT 1) AS e
WHERE d.group_name = :group AND d.subscription_id = :subscription AND d.finished_at IS NULL AND d.due_at = 'infinity'
AND d.state = 'parked'
"""
LIST_PARKED_VERSIONS = f"SELECT DISTINCT e.type, e.version {_PARKED} ORDER BY 1, 2"
UNPARK = f"""
WITH chosen AS (
    SELECT d.event_id {_PARKED} AND e.type = :type AND e.version = :version
    ORDER BY d.event_id LIMIT :limit FOR UPDATE OF d SKIP LOCKED
)
UPDATE eventbus.delivery AS d
SET state = CASE WHEN d.attempts + d.deaths > 0 OR d.suspect THEN 'retrying' ELSE 'pending' END,
    due_at = clock_timestamp(), last_error = NULL
FROM chosen WHERE d.event_id = chosen.event_id AND d.group_name = :group
"""
LIST_PARKED = """
SELECT s.group_name, e.type, e.version, count(*) AS deliveries, min(e.created_at) AS since,
       (array_agg(d.last_error ORDER BY d.event_id))[1] AS reason, CAST(min(CAST(d.event_id AS text)) AS text) AS oldest
FROM eventbus.subscription AS s
JOIN eventbus.delivery AS d ON d.group_name = s.group_name AND d.subscription_id = s.id AND d.finished_at IS NULL
    AND d.due_at = 'infinity' AND d.state = 'parked'
CROSS JOIN LATERAL (SELECT type, version, created_at FROM eventbus.event_log WHERE id = d.event_id LIMIT 1) AS e
WHERE CAST(:group AS text) IS NULL OR s.group_name = :group
GROUP BY s.group_name, e.type, e.version ORDER BY 1, 2, 3
"""


@dataclass(frozen=True, kw_only=True)
class ParkedVersion:
    """Deliveries of one group that wait for the same reason."""

    group: str
    type: str
    version: int
    deliveries: int
    #: When the oldest of the events was published.
    since: datetime
    reason: str
    oldest_event: UUID


def park(connection: Connection, claimed: Claimed, *, reason: str) -> bool:
    """Put *claimed* aside, uncharged, until code comes that can read it; False if the claim is lost."""
    return (
        connection.change(PARK, reason=reason, event_id=str(claimed.event.id), group=claimed.group, claim=claimed.claim)
        == 1
    )


def list_parked_versions(connection: Connection, *, group: str, subscription: int) -> Sequence[tuple[str, int]]:
    """The types and versions of the events whose deliveries a subscription has parked."""
    rows = connection.rows(LIST_PARKED_VERSIONS, group=group, subscription=subscription)
    return [(row.type, row.version) for row in rows]


def unpark(connection: Connection, *, group: str, subscription: int, type: str, version: int, limit: int) -> int:
    """Make up to *limit* parked deliveries of one type and version due now; how many there were."""
    return connection.change(UNPARK, group=group, subscription=subscription, type=type, version=version, limit=limit)


def list_parked(connection: Connection, group: str | None = None) -> list[ParkedVersion]:
    """What is parked, of *group* or of all, by group, type and version."""
    return [
        ParkedVersion(
            group=row.group_name,
            type=row.type,
            version=row.version,
            deliveries=row.deliveries,
            since=as_utc(row.since),
            reason=row.reason or "",
            oldest_event=UUID(row.oldest),
        )
        for row in connection.rows(LIST_PARKED, group=group)
    ]
