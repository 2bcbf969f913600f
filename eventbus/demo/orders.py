"""Orders: what the publisher of the story publishes, and the schema that says what an order must have."""

from typing import Any

from marshmallow import Schema, fields, validate

TYPE = "order.created"
SOURCE = "orders"


class OrderCreated(Schema):
    """A customer ordered something."""

    order_id = fields.String(required=True, data_key="orderId")
    #: A number with exact decimals, which JSON has only as text.
    amount = fields.Decimal(required=True, as_string=True)
    currency = fields.String(required=True, validate=validate.Length(equal=3))
    email = fields.String()


def order(number: int, **more: Any) -> dict[str, Any]:
    """The data of an order, the *number* of which makes it differ from others."""
    amount = f"{10 + number % 90}.{number % 100:02}"
    return {"orderId": f"o-{number}", "amount": amount, "currency": "EUR", **more}
