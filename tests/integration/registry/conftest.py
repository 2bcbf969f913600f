"""Versions of an order, and what declares them."""

from collections.abc import Callable
from typing import Any

import pytest
from marshmallow import fields

from eventbus import EventBus, EventSchema

Declare = Callable[..., None]


class Line(EventSchema):
    """One line."""

    sku = fields.String(required=True)
    note = fields.String()


class OrderV1(EventSchema):
    """An order."""

    orderId = fields.String(required=True)
    amount = fields.Integer(required=True)
    lines = fields.List(fields.Nested(Line))


class OrderV2(OrderV1):
    """With an optional channel: compatible both ways."""

    channel = fields.String()


class OrderV3(OrderV2):
    """With a currency that is required: old events lack it."""

    currency = fields.String(required=True)


def old_and_new(bus: EventBus) -> None:
    """Versions 1 and 3 as 1 and 2, which do not fit, with steps both ways."""
    bus.register_schema("order.created", 1, OrderV1)
    bus.register_schema("order.created", 2, OrderV3)

    @bus.upcaster("order.created", 1, 2)
    def add_currency(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "currency": "EUR"}

    @bus.downcaster("order.created", 2, 1, lossy=["currency"])
    def drop_currency(data: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in data.items() if key in ("orderId", "amount", "lines")}


@pytest.fixture
def order() -> dict[str, Any]:
    """Fits version 1."""
    return {"orderId": "o-1", "amount": 5}
