"""huey on Redis: an insert, then a task for each group, in huey's one queue."""

from collections.abc import Iterable

from huey import RedisHuey

from benchmarks.ledger import open_ledger
from benchmarks.orders import GROUPS, Order
from benchmarks.stage import current

huey = RedisHuey("benchmark", url=current().broker_url, results=False)
_ledger = open_ledger()


@huey.task()
def handle(event: int, group: str, order: Order) -> None:
    """Mark a delivery done."""
    _ledger.handle(event, group, order)


def prepare() -> None:
    """Create the tables."""
    _ledger.create()


def publish(order: Order) -> None:
    """Insert, then tell each group."""
    event = _ledger.record(order)
    for group in GROUPS:
        handle(event, group, order)


def publish_many(orders: Iterable[Order]) -> None:
    """Publish one after the other."""
    for order in orders:
        publish(order)
