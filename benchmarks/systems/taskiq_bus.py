"""taskiq on Redis streams: an insert, then a task for each group, in one stream."""

import asyncio
from collections.abc import Iterable

from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import RedisStreamBroker

from benchmarks.async_ledger import AsyncLedger
from benchmarks.ledger import open_ledger
from benchmarks.orders import GROUPS, Order, in_parts
from benchmarks.stage import current

broker = RedisStreamBroker(url=current().broker_url)
_recording = AsyncLedger(durable=True)
_handling = AsyncLedger(durable=False)


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def open_handling(_state: TaskiqState) -> None:
    """Connect each worker process."""
    await _handling.open()


@broker.task(task_name="handle")
async def handle(event: int, group: str, order: Order) -> None:
    """Mark a delivery done."""
    await _handling.handle(event, group, order)


def prepare() -> None:
    """Create the tables."""
    open_ledger().create()


async def start() -> None:
    """Connect a publisher."""
    await broker.startup()
    await _recording.open()


async def publish(order: Order) -> None:
    """Insert, then tell each group."""
    event = await _recording.record(order)
    for group in GROUPS:
        await handle.kiq(event, group, order)


async def publish_many(orders: Iterable[Order]) -> None:
    """Publish one after the other."""
    for order in orders:
        await publish(order)


async def fill(orders: Iterable[Order]) -> None:
    """Make a backlog, sooner: by several publishers at once."""
    for some in in_parts(orders, 20):
        await asyncio.gather(*(publish(order) for order in some))
