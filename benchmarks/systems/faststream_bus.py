"""FastStream on Redis streams: an insert, then one message in a stream that each group reads with a consumer group."""

import asyncio
import os
from collections.abc import Iterable
from typing import Any

import redis
from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

from benchmarks.async_ledger import AsyncLedger
from benchmarks.ledger import open_ledger
from benchmarks.orders import GROUPS, Order, in_parts
from benchmarks.stage import current

broker = RedisBroker(current().broker_url, logger=None)
app = FastStream(broker)
_recording = AsyncLedger(durable=True)
_handling = AsyncLedger(durable=False)


@app.on_startup
async def open_handling() -> None:
    """Connect each worker process."""
    await _handling.open()


def _subscribe(group: str) -> None:
    @broker.subscriber(stream=StreamSub("orders", group=group, consumer=f"{group}-{os.getpid()}"))
    async def handle(message: dict[str, Any]) -> None:
        await _handling.handle(message["event"], group, message["order"])


for name in GROUPS:
    _subscribe(name)


def prepare() -> None:
    """Create the tables, and the groups, so that none misses what is published before its first worker starts."""
    open_ledger().create()
    with redis.Redis.from_url(current().broker_url) as client:
        for group in GROUPS:
            client.xgroup_create("orders", group, id="0", mkstream=True)


async def start() -> None:
    """Connect a publisher."""
    await broker.connect()
    await _recording.open()


async def publish(order: Order) -> None:
    """Insert, then one message for all groups."""
    event = await _recording.record(order)
    await broker.publish({"event": event, "order": order}, stream="orders")


async def publish_many(orders: Iterable[Order]) -> None:
    """Publish one after the other."""
    for order in orders:
        await publish(order)


async def fill(orders: Iterable[Order]) -> None:
    """Make a backlog, sooner: by several publishers at once."""
    for some in in_parts(orders, 20):
        await asyncio.gather(*(publish(order) for order in some))
