"""Deliveries: settled by whoever still holds the claim, and looked for by whoever repairs.

    running ──settle──▶ done | retrying | dead
       └──give back──▶ pending | retrying

Every change of a running row asks for its claim and its state, so a worker whose lease ran out changes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from eventbus.storage.claiming import Claimed
from eventbus.storage.database import Connection
from eventbus.storage.values import as_uuid

_MINE = "d.event_id = CAST(:event_id AS uuid) AND d.group_name = :group AND d.claim = :claim AND d.state = 'running'"
# A row that was replayed while it ran is fresh again when that run ends.
MARK_DONE = f"""
UPDATE eventbus.delivery AS d
SET state = CASE WHEN d.rerun THEN 'pending' ELSE 'done' END,
    finished_at = CASE WHEN d.rerun THEN NULL ELSE clock_timestamp() END,
    attempts = CASE WHEN d.rerun THEN 0 ELSE d.attempts END,
    deaths = CASE WHEN d.rerun THEN 0 ELSE d.deaths END,
    suspect = false, rerun = false, claim = NULL, started_at = NULL,
    last_error = NULL, due_at = clock_timestamp()
WHERE {_MINE}
RETURNING d.state
"""
MARK_RETRYING = f"""
UPDATE eventbus.delivery AS d
SET state = 'retrying', attempts = d.attempts + :attempts, deaths = d.deaths + :deaths, last_error = :error,
    due_at = clock_timestamp() + CAST(:wait AS interval), claim = NULL, started_at = NULL, rerun = false
WHERE {_MINE}
"""
MARK_DEAD = f"""
UPDATE eventbus.delivery AS d
SET state = CASE WHEN d.rerun THEN 'pending' ELSE 'dead' END,
    finished_at = CASE WHEN d.rerun THEN NULL ELSE clock_timestamp() END,
    attempts = CASE WHEN d.rerun THEN 0 ELSE d.attempts + :attempts END,
    deaths = CASE WHEN d.rerun THEN 0 ELSE d.deaths + :deaths END,
    suspect = d.suspect AND NOT d.rerun, rerun = false, claim = NULL, started_at = NULL,
    last_error = :error, due_at = clock_timestamp()
WHERE {_MINE}
RETURNING d.state
"""
GIVE_BACK = f"""
UPDATE eventbus.delivery AS d
SET state = CASE WHEN d.attempts + d.deaths > 0 THEN 'retrying' ELSE 'pending' END,
    due_at = clock_timestamp(), claim = NULL, started_at = NULL, rerun = false
WHERE {_MINE}
"""
# Each subscription's oldest by its index: the cost follows the number of subscriptions, not the backlog.
LIST_DUE = """
SELECT g.name, g.queue, oldest.event_id, e.type
FROM eventbus.consumer_group AS g
JOIN eventbus.subscription AS s ON s.group_name = g.name AND s.removed_at IS NULL
CROSS JOIN LATERAL (
    SELECT d.event_id, d.due_at FROM eventbus.delivery AS d
    WHERE d.group_name = s.group_name AND d.subscription_id = s.id AND d.finished_at IS NULL
    AND d.due_at <= statement_timestamp() AND d.state <> 'parked'
    ORDER BY d.due_at LIMIT :limit
) AS oldest
-- LIMIT 1 keeps the planner from joining the whole log.
CROSS JOIN LATERAL (SELECT type FROM eventbus.event_log WHERE id = oldest.event_id LIMIT 1) AS e
WHERE NOT g.paused
ORDER BY g.name, oldest.due_at
"""
# Of removed subscriptions: an event that was being published while its group unsubscribed, or while another pattern took over.
LIST_ORPHANS = """
SELECT orphan.event_id, orphan.group_name, e.type
FROM eventbus.subscription AS s
CROSS JOIN LATERAL (
    SELECT d.event_id, d.group_name FROM eventbus.delivery AS d
    WHERE d.group_name = s.group_name AND d.subscription_id = s.id AND d.finished_at IS NULL
    AND d.due_at <= statement_timestamp()
    ORDER BY d.due_at LIMIT :limit
) AS orphan
CROSS JOIN LATERAL (SELECT type FROM eventbus.event_log WHERE id = orphan.event_id LIMIT 1) AS e
WHERE s.removed_at IS NOT NULL
"""
_ORPHANS = """
WITH chosen AS (
    SELECT event_id FROM eventbus.delivery
    WHERE group_name = :group AND event_id = ANY (CAST(:events AS uuid[])) AND finished_at IS NULL
    AND due_at <= statement_timestamp()
    ORDER BY event_id FOR UPDATE SKIP LOCKED
)
"""
HAND_OVER = f"""
{_ORPHANS}
UPDATE eventbus.delivery AS d SET subscription_id = :new
FROM chosen WHERE d.event_id = chosen.event_id AND d.group_name = :group
"""
CANCEL = f"""
{_ORPHANS}
UPDATE eventbus.delivery AS d
SET state = 'cancelled', finished_at = clock_timestamp(), claim = NULL, started_at = NULL, rerun = false
FROM chosen WHERE d.event_id = chosen.event_id AND d.group_name = :group
"""
COUNT_OPEN = """
SELECT count(*) FROM eventbus.delivery
WHERE group_name = :group AND subscription_id = ANY (CAST(:subscriptions AS bigint[])) AND finished_at IS NULL
"""
# Locks in key order, like everything that changes many rows at once, so that no two of them wait for each other.
CANCEL_OPEN = """
WITH chosen AS (
    SELECT event_id, group_name FROM eventbus.delivery
    WHERE group_name = :group AND subscription_id = ANY (CAST(:subscriptions AS bigint[])) AND finished_at IS NULL
    ORDER BY event_id, group_name LIMIT :limit FOR UPDATE
)
UPDATE eventbus.delivery AS d
SET state = 'cancelled', finished_at = clock_timestamp(), claim = NULL, started_at = NULL, rerun = false
FROM chosen WHERE d.event_id = chosen.event_id AND d.group_name = chosen.group_name
"""
MOVE_OPEN = """
WITH chosen AS (
    SELECT event_id, group_name FROM eventbus.delivery
    WHERE group_name = :group AND subscription_id = ANY (CAST(:old AS bigint[])) AND finished_at IS NULL
    ORDER BY event_id, group_name FOR UPDATE
)
UPDATE eventbus.delivery AS d SET subscription_id = :new
FROM chosen WHERE d.event_id = chosen.event_id AND d.group_name = chosen.group_name
"""


@dataclass(frozen=True, kw_only=True)
class Due:
    """A delivery that is due, and the queue of its group."""

    group: str
    queue: str
    event_id: UUID
    type: str


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """A delivery that is due, and whose subscription was removed."""

    event_id: UUID
    group: str
    type: str


def mark_done(connection: Connection, claimed: Claimed) -> str | None:
    """Settle *claimed* as handled; its new state, ``pending`` if it was replayed meanwhile; None if the claim is lost."""
    state = connection.value(MARK_DONE, **_mine(claimed))
    return None if state is None else str(state)


def mark_retrying(
    connection: Connection, claimed: Claimed, *, wait: timedelta, error: str, attempts: int, deaths: int
) -> bool:
    """Settle *claimed* as failed and due again after *wait*, charging it; False if the claim is lost."""
    charged = connection.change(
        MARK_RETRYING, wait=wait, error=error, attempts=attempts, deaths=deaths, **_mine(claimed)
    )
    return charged == 1


def mark_dead(connection: Connection, claimed: Claimed, *, error: str, attempts: int, deaths: int) -> str | None:
    """Settle *claimed* as given up; its new state, ``pending`` if it was replayed meanwhile; None if the claim is lost."""
    state = connection.value(MARK_DEAD, error=error, attempts=attempts, deaths=deaths, **_mine(claimed))
    return None if state is None else str(state)


def give_back(connection: Connection, claimed: Claimed) -> bool:
    """Return *claimed*, whose handler has not started, uncharged; False if the claim is lost."""
    return connection.change(GIVE_BACK, **_mine(claimed)) == 1


def list_due(connection: Connection, *, limit: int) -> list[Due]:
    """The deliveries that anyone may take now: the oldest *limit* of each subscription, of groups that are not paused."""
    rows = connection.rows(LIST_DUE, limit=limit)
    return [Due(group=row.name, queue=row.queue, event_id=as_uuid(row.event_id), type=row.type) for row in rows]


def count_open(connection: Connection, *, group: str, subscriptions: Iterable[int]) -> int:
    """How many deliveries of these subscriptions are not final."""
    return int(connection.value(COUNT_OPEN, group=group, subscriptions=list(subscriptions)))


def cancel_open(connection: Connection, *, group: str, subscriptions: Iterable[int], limit: int) -> int:
    """Cancel up to *limit* deliveries of these subscriptions that are not final; how many were."""
    return connection.change(CANCEL_OPEN, group=group, subscriptions=list(subscriptions), limit=limit)


def move_open(connection: Connection, *, group: str, old: Iterable[int], new: int) -> int:
    """Hand the open deliveries of replaced subscriptions to the one that takes their place; how many there were."""
    return connection.change(MOVE_OPEN, group=group, old=list(old), new=new)


def list_orphans(connection: Connection, *, limit: int) -> list[Orphan]:
    """The oldest *limit* orphans of each removed subscription; what an old worker is running is none."""
    rows = connection.rows(LIST_ORPHANS, limit=limit)
    return [Orphan(event_id=as_uuid(row.event_id), group=row.group_name, type=row.type) for row in rows]


def hand_over(connection: Connection, event_ids: Iterable[UUID], *, group: str, to: int) -> int:
    """Give orphans to another subscription of *group*; how many were still such."""
    return connection.change(HAND_OVER, group=group, events=[str(id) for id in event_ids], new=to)


def cancel(connection: Connection, event_ids: Iterable[UUID], *, group: str) -> int:
    """Cancel orphans of *group*; how many were still such."""
    return connection.change(CANCEL, group=group, events=[str(id) for id in event_ids])


def _mine(claimed: Claimed) -> dict[str, Any]:
    return {"event_id": str(claimed.event.id), "group": claimed.group, "claim": claimed.claim}
