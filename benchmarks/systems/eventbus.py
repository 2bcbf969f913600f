"""eventbus, as its README says: EventBus(app), a schema, three groups, no setting but where the servers are.

A worker is ``celery -A … worker``, as the README starts it.
"""

from collections.abc import Iterable

from celery import Celery
from marshmallow import Schema, fields

from benchmarks import traces
from benchmarks.orders import GROUPS, TYPE, Order
from benchmarks.stage import current
from eventbus import Draft, Event, EventBus
from eventbus.storage.migrations import upgrade

app = Celery("benchmark")
bus = EventBus(app)


class Customer(Schema):
    """Who ordered."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    email = fields.Email(required=True)


class Line(Schema):
    """What of, and how many."""

    sku = fields.String(required=True)
    quantity = fields.Integer(required=True)
    price = fields.Decimal(required=True, as_string=True)


@bus.event(TYPE, version=1)
class OrderCreated(Schema):
    """The payload of `benchmarks.orders`."""

    orderId = fields.String(required=True)  # noqa: N815 - JSON's way
    customer = fields.Nested(Customer, required=True)
    lines = fields.List(fields.Nested(Line), required=True)
    amount = fields.Decimal(required=True, as_string=True)
    currency = fields.String(required=True)
    note = fields.String()
    placedAt = fields.Float(required=True)  # noqa: N815


def handle(event: Event) -> None:
    """Do nothing."""
    traces.note(event.data)


for name in GROUPS:
    bus.subscribe(TYPE, group=name, handler=handle)


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
