"""eventbus, with handlers that insert one row through the session that they are given."""

from collections.abc import Iterable

from celery import Celery
from sqlalchemy import text
from sqlalchemy.orm import Session

from benchmarks.orders import GROUPS, TYPE, Order
from benchmarks.stage import current
from benchmarks.systems.eventbus import OrderCreated
from eventbus import Draft, Event, EventBus
from eventbus.storage.migrations import upgrade

INSERT = text("INSERT INTO effect (order_id, amount) VALUES (:id, :amount)")

app = Celery("benchmark")
bus = EventBus(app)
bus.event(TYPE, version=1)(OrderCreated)


def insert(event: Event, session: Session) -> None:
    """Insert one row, committed together with the delivery's completion."""
    session.execute(INSERT, {"id": event.data["orderId"], "amount": event.data["amount"]})


for name in GROUPS:
    bus.subscribe(TYPE, group=name, handler=insert)


def prepare() -> None:
    """Create the tables, and subscribe the groups."""
    upgrade(current().database_url.replace("postgresql://", "postgresql+psycopg2://"))
    bus.sync()


def publish(order: Order) -> None:
    """Publish one event."""
    bus.publish(TYPE, order, source="shop")


def publish_many(orders: Iterable[Order]) -> None:
    """Publish many events."""
    bus.publish_many(Draft(type=TYPE, data=order, source="shop") for order in orders)
