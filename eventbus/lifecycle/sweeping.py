"""Sweeping: deliveries that are due and that no worker was told of get a wake-up.

    orphan of a removed subscription ─▶ handed to one that takes its type now, else cancelled
    due ─▶ wake-up

A message may be lost in many ways, and a worker may die with what it claimed. All of them end in the same state, "due", and one
query finds it. Waking a delivery twice does no harm, so a sweep may run at any time and anywhere.
"""

import logging
from datetime import timedelta
from uuid import UUID

from eventbus.broker import QUEUE_CAP, Broker, WakeUp
from eventbus.storage import deliveries, repairs, subscriptions
from eventbus.storage.database import Database

log = logging.getLogger(__name__)

#: What became due so lately was most likely just published, and has a message on its way.
GRACE = timedelta(milliseconds=250)
_ORPHANS = 1000


def sweep(database: Database, broker: Broker, *, limit: int = 1000) -> dict[str, int]:
    """Send a wake-up for up to *limit* due deliveries of each subscription.

    Returns:
        For each group that had any, how many were sent.

    Raises:
        BrokerUnreachable: Some or all were not sent; sweep again.
    """
    settle_orphans(database, limit=limit)
    with database.autocommit() as connection:
        due = deliveries.list_due(connection, limit=limit)
    broker.send([WakeUp(queue=item.queue, event_id=item.event_id, type=item.type) for item in due], [])
    sent: dict[str, int] = {}
    for item in due:
        sent[item.group] = sent.get(item.group, 0) + 1
    for group, count in sent.items():
        log.info("swept", extra={"group": group, "wake_ups": count})
    return sent


def relay(database: Database, broker: Broker) -> dict[str, int]:
    """Fill the queue of each group that has due deliveries up to what a relay keeps there.

    Returns:
        For each group that needed any, how many wake-ups were sent.

    Raises:
        BrokerUnreachable: Some or all were not sent.
    """
    with database.autocommit() as connection:
        due = deliveries.list_due(connection, limit=QUEUE_CAP, grace=GRACE)
    by_queue: dict[tuple[str, str], list[WakeUp]] = {}
    for item in due:
        wake_up = WakeUp(queue=item.queue, event_id=item.event_id, type=item.type)
        by_queue.setdefault((item.group, item.queue), []).append(wake_up)
    # No more messages than due deliveries: here nobody may take any for a long time.
    sent = {
        group: broker.top_up(queue, found, min(len(found), QUEUE_CAP)) for (group, queue), found in by_queue.items()
    }
    if repaired := {group: count for group, count in sent.items() if count}:
        with database.autocommit() as connection:
            repairs.note(connection, repaired)
        log.info("relayed", extra={"groups": repaired})
    return repaired


def settle_orphans(database: Database, *, limit: int = _ORPHANS) -> None:
    """Find a home for up to *limit* due deliveries of each removed subscription.

    Whoever published while it was removed may have seen it still. Where another subscription of the group takes the type, as
    after ``sync --replace``, the event is owed to that one; where none does, the group has unsubscribed, and it is cancelled.
    """
    with database.transaction() as connection:
        orphans = deliveries.list_orphans(connection, limit=limit)
        groups = {orphan.group for orphan in orphans}
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
