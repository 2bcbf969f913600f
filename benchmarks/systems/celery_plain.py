"""Celery with its defaults: an insert, then send_task for each group."""

from collections.abc import Iterable

from celery import Celery

from benchmarks.ledger import open_ledger
from benchmarks.orders import GROUPS, Order
from benchmarks.stage import current

app = Celery("benchmark", broker=current().broker_url)
_ledger = open_ledger()


@app.task(name="handle")
def handle(event: int, group: str, order: Order) -> None:
    """Mark a delivery done."""
    _ledger.handle(event, group, order)


def prepare() -> None:
    """Create the tables."""
    _ledger.create()


def publish(order: Order) -> None:
    """Insert, then tell each group."""
    _send(_ledger.record(order), order)


def publish_many(orders: Iterable[Order]) -> None:
    """Publish one after the other: Celery's API has nothing for many."""
    for order in orders:
        publish(order)


def fill(orders: Iterable[Order]) -> None:
    """Make a backlog, sooner: events are inserted at once, messages are the same."""
    listed = list(orders)
    with app.producer_pool.acquire(block=True) as producer, producer.batch(max_size=500):
        for event, order in zip(_ledger.record_many(listed), listed, strict=True):
            for group in GROUPS:
                app.send_task("handle", (event, group, order), queue=group, producer=producer, retry=False)


def _send(event: int, order: Order) -> None:
    for group in GROUPS:
        app.send_task("handle", (event, group, order), queue=group)
