"""Celery with everything that makes it faster: no acknowledgement kept, one list per queue, kombu's batches, solo workers.

Without acknowledgement a killed worker loses what it held: fair only beside systems that repair that.
"""

from collections.abc import Iterable

from celery import Celery

from benchmarks.ledger import open_ledger
from benchmarks.orders import GROUPS, Order
from benchmarks.stage import current

app = Celery("benchmark", broker=current().broker_url)
app.conf.update(
    broker_transport_options={"ack_emulation": False, "priority_steps": [0]},
    task_ignore_result=True,
    worker_prefetch_multiplier=50,
    worker_send_task_events=False,
)
_ledger = open_ledger()


@app.task(name="handle", ignore_result=True)
def handle(event: int, group: str, order: Order) -> None:
    """Mark a delivery done."""
    _ledger.handle(event, group, order)


def prepare() -> None:
    """Create the tables."""
    _ledger.create()


def publish(order: Order) -> None:
    """Insert, then tell each group, on one producer and in one round trip."""
    _send([_ledger.record(order)], [order])


def publish_many(orders: Iterable[Order]) -> None:
    """Insert many at once, and send all messages in batches."""
    listed = list(orders)
    for start in range(0, len(listed), 1000):
        part = listed[start : start + 1000]
        _send(_ledger.record_many(part), part)


def _send(events: list[int], orders: list[Order]) -> None:
    with app.producer_pool.acquire(block=True) as producer, producer.batch(max_size=500):
        for event, order in zip(events, orders, strict=True):
            for group in GROUPS:
                app.send_task(
                    "handle",
                    (event, group, order),
                    queue=group,
                    producer=producer,
                    retry=False,
                    argsrepr="",
                    kwargsrepr="",
                )
