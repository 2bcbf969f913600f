"""rq: an insert, then a job in each group's queue."""

from collections.abc import Iterable

from redis import Redis
from rq import Queue

from benchmarks.ledger import open_ledger
from benchmarks.orders import GROUPS, Order
from benchmarks.stage import current

_ledger = open_ledger()
_redis = Redis.from_url(current().broker_url)
_queues = {group: Queue(group, connection=_redis) for group in GROUPS}


def handle(event: int, group: str, order: Order) -> None:
    """Mark a delivery done."""
    # rq runs each job in a fork of its own: a connection inherited from the parent would be shared by all.
    open_ledger().handle(event, group, order)


def prepare() -> None:
    """Create the tables."""
    _ledger.create()


def publish(order: Order) -> None:
    """Insert, then tell each group."""
    event = _ledger.record(order)
    for group in GROUPS:
        _queues[group].enqueue(handle, event, group, order, result_ttl=0)


def publish_many(orders: Iterable[Order]) -> None:
    """Insert many at once, then rq's enqueue_many."""
    listed = list(orders)
    events = _ledger.record_many(listed)
    for group in GROUPS:
        _queues[group].enqueue_many(
            [
                Queue.prepare_data(handle, (event, group, order), result_ttl=0)
                for event, order in zip(events, listed, strict=True)
            ]
        )
