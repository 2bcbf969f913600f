"""Deliveries: found by whoever repairs, and changed in bulk by whoever subscribes and unsubscribes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from eventbus.storage.database import Connection
from eventbus.storage.preparing import Hot
from eventbus.storage.values import as_texts, as_utc, as_uuid

# Each subscription's and state's oldest by its index: the cost follows the number of subscriptions, not the backlog.
LIST_DUE = Hot("""
SELECT g.name, g.queue, oldest.event_id, oldest.due_at, e.type
FROM eventbus.consumer_group AS g
JOIN eventbus.subscription AS s ON s.group_name = g.name
AND CASE WHEN CAST(:known AS bigint[]) IS NULL THEN s.removed_at IS NULL ELSE s.id = ANY (CAST(:known AS bigint[])) END
CROSS JOIN (VALUES ('pending'), ('retrying'), ('running')) AS open (state)
CROSS JOIN LATERAL (
    SELECT d.event_id, d.due_at FROM eventbus.delivery AS d
    WHERE d.group_name = s.group_name AND d.subscription_id = s.id AND d.state = open.state AND d.finished_at IS NULL
    AND d.due_at <= statement_timestamp() - CAST(:grace AS interval)
    ORDER BY d.due_at LIMIT :limit
) AS oldest
-- LIMIT 1 keeps the planner from joining the whole log.
CROSS JOIN LATERAL (SELECT type FROM eventbus.event_log WHERE id = oldest.event_id LIMIT 1) AS e
WHERE NOT g.paused
ORDER BY g.name, oldest.due_at, oldest.event_id
""")
FIND_DUE = Hot("""
SELECT due.event_id, e.type
FROM unnest(CAST(:subscriptions AS bigint[])) AS s (id)
CROSS JOIN (VALUES (1, 'retrying'), (1, 'running'), (2, 'pending')) AS open (rank, state)
CROSS JOIN LATERAL (
    SELECT d.event_id FROM eventbus.delivery AS d
    WHERE d.group_name = :group AND d.subscription_id = s.id AND d.state = open.state AND d.finished_at IS NULL
    AND d.due_at <= statement_timestamp()
    ORDER BY d.due_at LIMIT 1
) AS due
CROSS JOIN LATERAL (SELECT type FROM eventbus.event_log WHERE id = due.event_id LIMIT 1) AS e
WHERE NOT EXISTS (SELECT FROM eventbus.consumer_group AS g WHERE g.name = :group AND g.paused)
ORDER BY open.rank LIMIT 1
""")
# Of removed subscriptions: an event that was being published while its group unsubscribed, or while another pattern took over;
# also one that an old worker has parked since: nobody would ever come for it.
LIST_ORPHANS = """
SELECT orphan.event_id, orphan.group_name, e.type
FROM eventbus.subscription AS s
CROSS JOIN LATERAL (
    SELECT d.event_id, d.group_name FROM eventbus.delivery AS d
    WHERE d.group_name = s.group_name AND d.subscription_id = s.id AND d.finished_at IS NULL
    AND (d.due_at <= statement_timestamp() OR d.state = 'parked')
    ORDER BY d.due_at LIMIT :limit
) AS orphan
CROSS JOIN LATERAL (SELECT type FROM eventbus.event_log WHERE id = orphan.event_id LIMIT 1) AS e
WHERE s.removed_at IS NOT NULL
"""
_ORPHANS = """
WITH chosen AS (
    SELECT event_id FROM eventbus.delivery
    WHERE group_name = :group AND event_id = ANY (CAST(:events AS uuid[])) AND finished_at IS NULL
    AND (due_at <= statement_timestamp() OR state = 'parked')
    AND EXISTS (
        SELECT FROM eventbus.subscription AS s WHERE s.id = delivery.subscription_id AND s.removed_at IS NOT NULL
    )
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
OPEN_TYPES = """
SELECT DISTINCT e.type FROM eventbus.delivery AS d JOIN eventbus.event_log AS e ON e.id = d.event_id
WHERE d.group_name = :group AND d.subscription_id = ANY (CAST(:old AS bigint[])) AND d.finished_at IS NULL
"""
MOVE_OPEN = """
WITH chosen AS (
    SELECT d.event_id, d.group_name, taker.id
    FROM eventbus.delivery AS d JOIN eventbus.event_log AS e ON e.id = d.event_id
    JOIN unnest(CAST(:types AS text[]), CAST(:new AS bigint[])) AS taker (type, id) ON taker.type = e.type
    WHERE d.group_name = :group AND d.subscription_id = ANY (CAST(:old AS bigint[])) AND d.finished_at IS NULL
    ORDER BY d.event_id, d.group_name FOR UPDATE OF d
)
UPDATE eventbus.delivery AS d SET subscription_id = chosen.id
FROM chosen WHERE d.event_id = chosen.event_id AND d.group_name = chosen.group_name
"""


@dataclass(frozen=True, kw_only=True)
class Due:
    """A delivery that is due, and the queue of its group."""

    group: str
    queue: str
    event_id: UUID
    type: str
    due_at: datetime


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """A delivery that is due, and whose subscription was removed."""

    event_id: UUID
    group: str
    type: str


def list_due(
    connection: Connection, *, limit: int, known: Iterable[int] | None = None, grace: timedelta = timedelta()
) -> list[Due]:
    """The deliveries that anyone may take now, of groups that are not paused; by group, the longest due first.

    Args:
        limit: Of each subscription and state.
        known: Of these subscriptions; None asks for all that live.
        grace: Only what has been due for so long.
    """
    ids = None if known is None else list(known)
    rows = connection.rows(LIST_DUE, limit=limit, known=ids, grace=grace)
    return [
        Due(group=row.name, queue=row.queue, event_id=as_uuid(row.event_id), type=row.type, due_at=as_utc(row.due_at))
        for row in rows
    ]


def find_due(connection: Connection, *, group: str, subscriptions: Iterable[int]) -> tuple[UUID, str] | None:
    """The id and type of an event of *group* that may be taken now, one that was tried before any other; None if none is."""
    row = connection.row(FIND_DUE, group=group, subscriptions=list(subscriptions))
    return None if row is None else (as_uuid(row.event_id), str(row.type))


def count_open(connection: Connection, *, group: str, subscriptions: Iterable[int]) -> int:
    """How many deliveries of these subscriptions are not final."""
    return int(connection.value(COUNT_OPEN, group=group, subscriptions=list(subscriptions)))


def cancel_open(connection: Connection, *, group: str, subscriptions: Iterable[int], limit: int) -> int:
    """Cancel up to *limit* deliveries of these subscriptions that are not final; how many were."""
    return connection.change(CANCEL_OPEN, group=group, subscriptions=list(subscriptions), limit=limit)


def list_open_types(connection: Connection, *, group: str, subscriptions: Iterable[int]) -> list[str]:
    """The types of the events whose deliveries to these subscriptions are not final."""
    return [row.type for row in connection.rows(OPEN_TYPES, group=group, old=list(subscriptions))]


def move_open(connection: Connection, *, group: str, old: Iterable[int], takers: Mapping[str, int]) -> int:
    """Hand the open deliveries of replaced subscriptions to those that take their types now; how many there were.

    Args:
        takers: A subscription for each type; of another type a delivery stays where it is.
    """
    types = list(takers)
    new = [takers[type] for type in types]
    return connection.change(MOVE_OPEN, group=group, old=list(old), types=types, new=new)


def list_orphans(connection: Connection, *, limit: int) -> list[Orphan]:
    """The oldest *limit* orphans of each removed subscription; what an old worker is running is none."""
    rows = connection.rows(LIST_ORPHANS, limit=limit)
    return [Orphan(event_id=as_uuid(row.event_id), group=row.group_name, type=row.type) for row in rows]


def hand_over(connection: Connection, event_ids: Iterable[UUID], *, group: str, to: int) -> int:
    """Give orphans to another subscription of *group*; how many were still such."""
    return connection.change(HAND_OVER, group=group, events=as_texts(event_ids), new=to)


def cancel(connection: Connection, event_ids: Iterable[UUID], *, group: str) -> int:
    """Cancel orphans of *group*; how many were still such."""
    return connection.change(CANCEL, group=group, events=as_texts(event_ids))
