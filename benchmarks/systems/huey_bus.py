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
    _send(_ledger.record(order), order)


def publish_many(orders: Iterable[Order]) -> None:
    """Publish one after the other."""
    for order in orders:
        publish(order)


def fill(orders: Iterable[Order]) -> None:
    """Make a backlog, sooner: events are inserted at once, messages are the same."""
    listed = list(orders)
    for event, order in zip(_ledger.record_many(listed), listed, strict=True):
        _send(event, order)


def _send(event: int, order: Order) -> None:
    for group in GROUPS:
        handle(event, group, order)
