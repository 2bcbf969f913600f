"""Groups as an operator sees them: what each has to do, since when, and who does it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc, as_utc_or_none
from eventbus.wire import decode
from eventbus.wording import moment

# Each subscription's and state's oldest by its index, whatever the backlog. What waits for its time is not late.
# Who paused a group stands in the audit alone, which is looked through for groups that are paused: the last change counts, or what
# may have been one. After a resume somebody has paused it past the bus.
STATES = """
SELECT g.name, g.queue, g.paused, g.owner, g.description, g.created_at, due.due_at,
       GREATEST(clock_timestamp() - due.due_at, interval '0') AS lag, pause.who AS paused_by, pause.began_at AS paused_at
FROM eventbus.consumer_group AS g
LEFT JOIN LATERAL (
    SELECT a.who, a.action, a.began_at FROM eventbus.audit AS a
    WHERE g.paused AND a.action IN ('groups pause', 'groups resume') AND a.filter ->> 'group' = g.name
    AND a.changed IS DISTINCT FROM 0
    ORDER BY a.id DESC LIMIT 1
) AS pause ON pause.action = 'groups pause'
LEFT JOIN (
    SELECT s.group_name, min(oldest.due_at) AS due_at FROM eventbus.subscription AS s
    CROSS JOIN (VALUES ('pending'), ('retrying'), ('running')) AS open (state)
    CROSS JOIN LATERAL (
        SELECT d.due_at FROM eventbus.delivery AS d
        WHERE d.group_name = s.group_name AND d.subscription_id = s.id AND d.state = open.state AND d.finished_at IS NULL
        AND d.due_at <= statement_timestamp()
        ORDER BY d.due_at LIMIT 1
    ) AS oldest
    GROUP BY s.group_name
) AS due ON due.group_name = g.name
WHERE CAST(:group AS text) IS NULL OR g.name = :group
ORDER BY g.name
"""
OPEN = """
SELECT state, count(*) AS deliveries FROM eventbus.delivery
WHERE group_name = :group AND finished_at IS NULL GROUP BY state ORDER BY state
"""
WISHES = """
SELECT id, group_name, pattern, handler, CAST(policy AS text) AS policy, created_at, last_seen_at, removed_at
FROM eventbus.subscription WHERE CAST(:group AS text) IS NULL OR group_name = :group ORDER BY group_name, pattern
"""


@dataclass(frozen=True, kw_only=True)
class GroupState:
    """A consumer group, and how far behind it is."""

    name: str
    queue: str
    paused: bool
    #: Who paused it, and when; None unless it is paused, and where it was done past the bus or the audit no longer tells.
    paused_by: str | None = None
    paused_at: datetime | None = None
    owner: str | None
    description: str | None
    created_at: datetime
    #: When its oldest delivery that could be taken now became due; None if nothing is due.
    due_since: datetime | None
    #: How long ago that was.
    lag: timedelta

    @property
    def pause(self) -> str:
        """That it is paused, as far as is known by whom and since when; in words that go on after its name."""
        if self.paused_at is None:
            return "is paused"
        return f"is paused, by {self.paused_by}, since {moment(self.paused_at)}"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A subscription, living or removed."""

    id: int
    group: str
    pattern: str
    handler: str
    policy: Mapping[str, Any]
    #: When it was declared, the last time after it was removed.
    created_at: datetime
    last_seen_at: datetime
    removed_at: datetime | None


def read_groups(connection: Connection, group: str | None = None) -> list[GroupState]:
    """All groups that ever subscribed, or the one of that name; by name."""
    return [_group(row) for row in connection.rows(STATES, group=group)]


def count_open(connection: Connection, group: str) -> dict[str, int]:
    """The open deliveries of *group* by state; costs as much as there are."""
    return {row.state: row.deliveries for row in connection.rows(OPEN, group=group)}


def read_wishes(connection: Connection, group: str | None = None) -> list[Wish]:
    """All subscriptions that *group*, or anyone, has or ever had; by group and pattern."""
    return [
        Wish(
            id=row.id,
            group=row.group_name,
            pattern=row.pattern,
            handler=row.handler,
            policy=decode(row.policy),
            created_at=as_utc(row.created_at),
            last_seen_at=as_utc(row.last_seen_at),
            removed_at=as_utc_or_none(row.removed_at),
        )
        for row in connection.rows(WISHES, group=group)
    ]


def _group(row: Row[Any]) -> GroupState:
    return GroupState(
        name=row.name,
        queue=row.queue,
        paused=row.paused,
        paused_by=row.paused_by,
        paused_at=as_utc_or_none(row.paused_at),
        owner=row.owner,
        description=row.description,
        created_at=as_utc(row.created_at),
        due_since=as_utc_or_none(row.due_at),
        lag=row.lag if row.due_at is not None else timedelta(),
    )
