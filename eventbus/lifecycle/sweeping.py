"""Sweeping: deliveries that are due and that no worker was told of get a wake-up.

A message may be lost in many ways, and a worker may die with what it claimed. All of them end in the same state, "due", and one
query finds it. Waking a delivery twice does no harm, so a sweep may run at any time and anywhere.
"""

import logging

from eventbus.broker import Broker, WakeUp
from eventbus.storage import deliveries
from eventbus.storage.database import Database

log = logging.getLogger(__name__)


def sweep(database: Database, broker: Broker, *, limit: int = 1000) -> dict[str, int]:
    """Send a wake-up for up to *limit* due deliveries of each subscription.

    Returns:
        For each group that had any, how many were sent.

    Raises:
        BrokerUnreachable: Some or all were not sent; sweep again.
    """
    with database.autocommit() as connection:
        due = deliveries.list_due(connection, limit=limit)
    broker.send([WakeUp(queue=item.queue, event_id=item.event_id, type=item.type) for item in due], [])
    sent: dict[str, int] = {}
    for item in due:
        sent[item.group] = sent.get(item.group, 0) + 1
    for group, count in sent.items():
        log.info("swept", extra={"group": group, "wake_ups": count})
    return sent
