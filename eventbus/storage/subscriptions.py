"""Groups and subscriptions, as the whole team has declared them.

A subscription that was removed stays as a tombstone: no new event is owed to it, and the answer to "why did this group not
get that event" stays known. Declaring it again revives it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from eventbus.errors import UnknownGroup
from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc
from eventbus.subscription import Subscription, matches
from eventbus.wire import canonical

ENSURE_GROUP = """
INSERT INTO eventbus.consumer_group (name, queue) VALUES (:group, :queue)
ON CONFLICT (name) DO UPDATE SET queue = excluded.queue WHERE consumer_group.queue <> excluded.queue
"""
# FOR UPDATE: two services that declare subscriptions of one group at the same moment see each other's.
LOCK_GROUP = "SELECT name FROM eventbus.consumer_group WHERE name = :group FOR UPDATE"
_STORED = """
SELECT s.id, s.group_name, s.pattern, s.handler, CAST(s.policy AS text) AS policy, s.created_at, s.last_seen_at,
       g.paused, g.queue
FROM eventbus.subscription AS s JOIN eventbus.consumer_group AS g ON g.name = s.group_name
"""
LIST = f"""
{_STORED}WHERE s.removed_at IS NULL AND (CAST(:group AS text) IS NULL OR s.group_name = :group)
ORDER BY s.group_name, s.pattern
"""
LIST_UNFINISHED = f"""
{_STORED}WHERE s.removed_at IS NOT NULL AND s.group_name = :group AND EXISTS (
    SELECT FROM eventbus.delivery AS d
    WHERE d.group_name = s.group_name AND d.subscription_id = s.id AND d.finished_at IS NULL)
ORDER BY s.pattern
"""
# A subscription that comes back counts from its return.
WRITE = """
INSERT INTO eventbus.subscription AS s (group_name, pattern, handler, policy, reads, version)
VALUES (:group, :pattern, :handler, CAST(:policy AS jsonb), CAST(:reads AS jsonb), :version)
ON CONFLICT (group_name, pattern) DO UPDATE
SET handler = excluded.handler, policy = excluded.policy, reads = excluded.reads, version = excluded.version,
    last_seen_at = clock_timestamp(), removed_at = NULL,
    created_at = CASE WHEN s.removed_at IS NULL THEN s.created_at ELSE clock_timestamp() END
RETURNING s.id
"""
# One that came back after it was noted is noted again. Whoever is just writing it will note it.
NOTE_VISIBLE = """
UPDATE eventbus.subscription SET visible_at = clock_timestamp() WHERE id IN (
    SELECT id FROM eventbus.subscription
    WHERE id = ANY (CAST(:ids AS bigint[])) AND COALESCE(visible_at < created_at, true) ORDER BY id FOR UPDATE SKIP LOCKED)
"""
REMOVE = """
UPDATE eventbus.subscription SET removed_at = clock_timestamp()
WHERE id = ANY (CAST(:ids AS bigint[])) AND removed_at IS NULL
"""
# In one order, and none that somebody holds: who registers or removes a group sees to its deliveries himself.
LOCK_GROUPS = """
SELECT name FROM eventbus.consumer_group WHERE name = ANY (CAST(:groups AS text[])) ORDER BY name FOR NO KEY UPDATE SKIP LOCKED
"""
REMOVED = "SELECT id FROM eventbus.subscription WHERE id = ANY (CAST(:ids AS bigint[])) AND removed_at IS NOT NULL"
GROUPS = "SELECT name FROM eventbus.consumer_group ORDER BY name"
PAUSE = "UPDATE eventbus.consumer_group SET paused = :paused WHERE name = :group AND paused <> :paused"

TARGETS = """
SELECT id, pattern, policy ->> 'replay' AS replay, created_at FROM eventbus.subscription
WHERE group_name = :group AND removed_at IS NULL ORDER BY last_seen_at DESC, id DESC
"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A living subscription of the group."""

    id: int
    pattern: str
    opts_out: bool
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A subscription as the database has it."""

    id: int
    group: str
    pattern: str
    handler: str
    created_at: datetime
    last_seen_at: datetime
    paused: bool
    queue: str


def lock_group(connection: Connection, group: str, *, queue: str) -> None:
    """Make sure that *group* exists, and keep others from changing its subscriptions until the transaction ends."""
    connection.change(ENSURE_GROUP, group=group, queue=queue)
    connection.rows(LOCK_GROUP, group=group)


def lock_groups(connection: Connection, groups: Iterable[str]) -> set[str]:
    """Those of *groups* that nobody else holds; nobody changes their subscriptions until the transaction ends."""
    return {row.name for row in connection.rows(LOCK_GROUPS, groups=sorted(groups))}


def list_subscriptions(connection: Connection, group: str | None = None) -> list[Stored]:
    """The living subscriptions of *group*, or of all, by group and pattern."""
    return [_stored(row) for row in connection.rows(LIST, group=group)]


def list_unfinished(connection: Connection, group: str) -> list[Stored]:
    """The tombstones of *group* that still have open deliveries, by pattern."""
    return [_stored(row) for row in connection.rows(LIST_UNFINISHED, group=group)]


def write(connection: Connection, subscription: Subscription) -> int:
    """Create, refresh or revive *subscription*; its id."""
    return int(
        connection.value(
            WRITE,
            group=subscription.group,
            pattern=subscription.pattern,
            handler=subscription.handler_name,
            policy=canonical(subscription.policy()),
            reads=None if subscription.reads is None else canonical(subscription.reads),
            version=subscription.version,
        )
    )


def note_visible(connection: Connection, ids: Iterable[int]) -> None:
    """Note that subscriptions which were written before have been committed by now."""
    connection.change(NOTE_VISIBLE, ids=list(ids))


def remove(connection: Connection, ids: Iterable[int]) -> int:
    """Turn living subscriptions into tombstones; how many were."""
    return connection.change(REMOVE, ids=list(ids))


def hold_removed(connection: Connection, group: str, ids: Iterable[int]) -> list[int]:
    """Those of the subscriptions *ids* of *group* that are tombstones, and stay so until the transaction ends."""
    connection.rows(LOCK_GROUP, group=group)
    return [row.id for row in connection.rows(REMOVED, ids=list(ids))]


def list_groups(connection: Connection) -> list[str]:
    """The names of all groups that ever subscribed, sorted."""
    return [row.name for row in connection.rows(GROUPS)]


def require_group(connection: Connection, group: str) -> None:
    """Make sure that *group* has ever subscribed.

    Raises:
        UnknownGroup: It has not.
    """
    known = list_groups(connection)
    if group not in known:
        raise UnknownGroup(group, known)


def list_targets(connection: Connection, group: str) -> list[Target]:
    """The living subscriptions of *group*, the newest seen first: the first that matches gets the event, as at publish."""
    return [_target(row) for row in connection.rows(TARGETS, group=group)]


def find_target(targets: Sequence[Target], type: str) -> Target | None:
    """The subscription that gets events of *type*."""
    return next((target for target in targets if matches(target.pattern, type)), None)


def set_paused(connection: Connection, group: str, *, paused: bool) -> bool:
    """Pause or resume *group*; whether that changed anything."""
    return connection.change(PAUSE, group=group, paused=paused) == 1


def _stored(row: Row[Any]) -> Stored:
    return Stored(
        id=row.id,
        group=row.group_name,
        pattern=row.pattern,
        handler=row.handler,
        created_at=as_utc(row.created_at),
        last_seen_at=as_utc(row.last_seen_at),
        paused=row.paused,
        queue=row.queue,
    )


def _target(row: Row[Any]) -> Target:
    return Target(id=row.id, pattern=row.pattern, opts_out=row.replay == "skip", created_at=as_utc(row.created_at))
