"""Sweeping: deliveries that are due and that no worker was told of get a wake-up.

    orphan of a removed subscription ─▶ handed to one that takes its type now, else cancelled
    due ─▶ wake-up

A message may be lost in many ways, and a worker may die with what it claimed. All of them end in the same state, "due", and one
query finds it. Waking a delivery twice does no harm, so a sweep may run at any time and anywhere.
"""

import logging
from collections import Counter
from uuid import UUID

from eventbus.broker import Broker, WakeUp
from eventbus.storage import deliveries, subscriptions
from eventbus.storage.database import Database
from eventbus.storage.deliveries import Due

log = logging.getLogger(__name__)


def sweep(database: Database, broker: Broker, *, limit: int = 1000) -> dict[str, int]:
    """Send a wake-up for up to *limit* due deliveries of each subscription.

    Returns:
        For each group that had any, how many were sent.

    Raises:
        BrokerUnreachable: Some or all were not sent; sweep again.
    """
    while settle_orphans(database, limit=limit):
        pass
    with database.autocommit() as connection:
        due = deliveries.list_due(connection, limit=limit)
    broker.send([wake_up(item) for item in due], [])
    sent = dict(Counter(item.group for item in due))
    for group, count in sent.items():
        log.info("swept", extra={"group": group, "wake_ups": count})
    return sent


def wake_up(due: Due) -> WakeUp:
    """The message that names *due*, for whichever queue of workers that know its group."""
    return WakeUp(queue=due.queue, event_id=due.event_id, type=due.type)


def settle_orphans(database: Database, *, limit: int = 1000) -> int:
    """Find a home for up to *limit* due deliveries of each removed subscription; how many had none.

    Whoever published while it was removed may have seen it still. Where another subscription of the group takes the type, as
    after ``sync --replace``, the event is owed to that one; where none does, the group has unsubscribed, and it is cancelled.
    """
    settled = 0
    with database.transaction() as connection:
        found = deliveries.list_orphans(connection, limit=limit)
        # Until it is held a group may come back: what is still an orphan then is asked by each statement below.
        groups = subscriptions.lock_groups(connection, {orphan.group for orphan in found}) if found else set()
        orphans = [orphan for orphan in found if orphan.group in groups]
        targets = {group: subscriptions.list_targets(connection, group) for group in groups}
        homes: dict[tuple[str, int | None], list[UUID]] = {}
        for orphan in orphans:
            target = subscriptions.find_target(targets[orphan.group], orphan.type)
            homes.setdefault((orphan.group, target.id if target else None), []).append(orphan.event_id)
        for (group, home), event_ids in homes.items():
            if home is None:
                count = deliveries.cancel(connection, event_ids, group=group)
            else:
                count = deliveries.hand_over(connection, event_ids, group=group, to=home)
            log.warning("orphans_settled", extra={"group": group, "subscription": home, "deliveries": count})
            settled += count
    return settled
