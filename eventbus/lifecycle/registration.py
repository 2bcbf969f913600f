"""Registration: what this code declares becomes what every publisher sees.

    declared ─▶ lock the group ─▶ compare with what is stored ─▶ write | SubscriptionConflict

Nothing is deleted here: another codebase may own what this one does not know.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from eventbus.errors import DatabaseError, SubscriptionConflict, UnknownGroup
from eventbus.lifecycle.auditing import audited
from eventbus.settings import Settings
from eventbus.storage import deliveries, subscriptions
from eventbus.storage.database import Connection, Database
from eventbus.storage.subscriptions import Stored
from eventbus.subscription import Subscription, check_group, check_pattern, overlap
from eventbus.wording import moment

log = logging.getLogger(__name__)

_CANCEL_BATCH = 10_000


@dataclass(frozen=True, kw_only=True)
class Known:
    """The subscriptions that this process's code can run, by group and by their id in the database."""

    by_group: dict[str, dict[int, Subscription]] = field(default_factory=dict)

    def ids(self, group: str) -> list[int]:
        return list(self.by_group.get(group, ()))

    def all_ids(self) -> list[int]:
        return [id for items in self.by_group.values() for id in items]

    def find(self, group: str, id: int) -> Subscription:
        return self.by_group[group][id]


def register(
    database: Database, declared: Iterable[Subscription], *, settings: Settings, replace: bool = False
) -> Known:
    """Write *declared* to the database, all or nothing; idempotent, and safe from any number of processes.

    Args:
        replace: Remove what stands in the way of a declared subscription and hand its open deliveries over.

    Raises:
        SubscriptionConflict: A stored subscription of the group, with another handler or pattern, could claim the same
            event, and *replace* is not set. Nothing was changed.
    """
    known = Known()
    by_group: dict[str, list[Subscription]] = {}
    for item in declared:
        by_group.setdefault(item.group, []).append(item)
    with database.transaction() as connection:
        # In the order of their names, so that two registrations never wait for each other.
        for group in sorted(by_group):
            known.by_group[group] = _register_group(
                connection, group, by_group[group], queue=settings.queue(group), replace=replace
            )
    # Until that is noted, a replay takes the subscription for one that was made just now, and waits longer than it had to.
    with suppress(DatabaseError), database.autocommit() as connection:
        subscriptions.note_visible(connection, known.all_ids())
    for group, items in known.by_group.items():
        log.info("group_registered", extra={"group": group, "patterns": [item.pattern for item in items.values()]})
    return known


def open_deliveries(database: Database, group: str, pattern: str | None = None) -> int:
    """How many deliveries `remove` would cancel now.

    Raises:
        UnknownGroup: The group, or the pattern in it, is not subscribed.
    """
    with database.autocommit() as connection:
        found = _stored(connection, group, pattern)
        return deliveries.count_open(connection, group=group, subscriptions=[item.id for item in found])


def remove(
    database: Database,
    group: str,
    pattern: str | None = None,
    *,
    watch: Callable[[int], None] = lambda _cancelled: None,
    stop: threading.Event | None = None,
) -> int:
    """Unsubscribe *group*, from *pattern* or from all, and cancel its open deliveries; how many were cancelled.

    An event that is being published at this moment may still be owed; a worker's relay cancels it.

    Args:
        watch: Told how many were cancelled so far, after each batch.
        stop: When set, no other batch is begun; a repeat, a sweep or relays cancel the rest.

    Raises:
        UnknownGroup: The group, or the pattern in it, is not subscribed. Nothing was changed.
    """
    asked = open_deliveries(database, group, pattern)
    with audited(database, "groups remove", {"group": group, "pattern": pattern}, asked=asked) as change:
        change.changed = 0
        for cancelled in _remove(database, group, pattern):
            change.changed = cancelled
            watch(cancelled)
            if stop is not None and stop.is_set() and cancelled < asked:
                change.result = "interrupted"
                break
    log.warning("group_removed", extra={"group": group, "pattern": pattern, "cancelled": change.changed})
    return change.changed


def _remove(database: Database, group: str, pattern: str | None) -> Iterator[int]:
    """Unsubscribe at once, then cancel batch by batch; how many so far, as long as more may be left."""
    with database.transaction() as connection:
        ids = [item.id for item in _stored(connection, group, pattern)]
        subscriptions.remove(connection, ids)
    cancelled = 0
    while True:
        with database.transaction() as connection:
            # A group that has come back meanwhile is owed what is left, and what was published since.
            ids = subscriptions.hold_removed(connection, group, ids)
            batch = deliveries.cancel_open(connection, group=group, subscriptions=ids, limit=_CANCEL_BATCH)
        cancelled += batch
        yield cancelled
        if batch < _CANCEL_BATCH:
            return


def set_paused(database: Database, group: str, *, paused: bool) -> bool:
    """Pause or resume *group*; whether that changed anything.

    Raises:
        UnknownGroup: It never subscribed.
    """
    check_group(group)
    with database.autocommit() as connection:
        subscriptions.require_group(connection, group)
    with audited(database, "groups pause" if paused else "groups resume", {"group": group}) as change:
        with database.autocommit() as connection:
            changed = subscriptions.set_paused(connection, group, paused=paused)
        change.changed = int(changed)
    if changed:
        log.info("group_paused" if paused else "group_resumed", extra={"group": group})
    return changed


def _register_group(
    connection: Connection, group: str, declared: list[Subscription], *, queue: str, replace: bool
) -> dict[int, Subscription]:
    subscriptions.lock_group(connection, group, queue=queue)
    stored = subscriptions.list_subscriptions(connection, group)
    known: dict[int, Subscription] = {}
    replaced: set[int] = set()
    for item in declared:
        rivals = [other for other in stored if _rivals(other, item)]
        if rivals and not replace:
            raise _conflict(item, rivals[0])
        id = subscriptions.write(connection, item)
        known[id] = item
        replaced |= {other.id for other in rivals}
    # A rival of the same pattern is a row that was just rewritten.
    if old := sorted(replaced - set(known)):
        subscriptions.remove(connection, old)
        _hand_over(connection, group, old)
    return known


def _hand_over(connection: Connection, group: str, old: list[int]) -> None:
    """Give the open deliveries of removed subscriptions to those that take their types; what nobody takes a sweep cancels."""
    targets = subscriptions.list_targets(connection, group)
    types = deliveries.list_open_types(connection, group=group, subscriptions=old)
    takers = {type: target.id for type in types if (target := subscriptions.find_target(targets, type))}
    deliveries.move_open(connection, group=group, old=old, takers=takers)


def _rivals(stored: Stored, declared: Subscription) -> bool:
    same = (stored.pattern, stored.handler) == (declared.pattern, declared.handler_name)
    return not same and overlap(stored.pattern, declared.pattern)


def _conflict(declared: Subscription, rival: Stored) -> SubscriptionConflict:
    return SubscriptionConflict(
        declared.group,
        (declared.pattern, declared.handler_name),
        (rival.pattern, f"{rival.handler} (declared last at {moment(rival.last_seen_at)})"),
        "if the first replaces the second, run 'eventbus -A MODULE sync --replace' with this code; else give one its own group",
    )


def _stored(connection: Connection, group: str, pattern: str | None) -> list[Stored]:
    # A removal that was interrupted is there to be finished.
    unfinished = subscriptions.list_unfinished(connection, check_group(group))
    found = [*subscriptions.list_subscriptions(connection, group), *unfinished]
    if pattern is not None:
        check_pattern(pattern)
        patterns = [item.pattern for item in found]
        found = [item for item in found if item.pattern == pattern]
        if patterns and not found:
            raise UnknownGroup(group, patterns, pattern=pattern)
    if not found:
        living = {item.group for item in subscriptions.list_subscriptions(connection)}
        raise UnknownGroup(group, sorted(living))
    return found
