"""The payload: an order of about 300 bytes as JSON, the same for every system."""

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

TYPE = "order.created"
GROUPS = ("inventory", "notification", "analytics")

Order = dict[str, Any]


def order(number: int) -> Order:
    """The *number*-th order, placed now: a handler can tell how long ago that was."""
    return {
        "orderId": f"o-{number:08}",
        "customer": {"id": f"c-{number % 997:04}", "name": "Ada Lovelace", "email": "ada@example.com"},
        "lines": [
            {"sku": "sku-1001", "quantity": 2, "price": "19.90"},
            {"sku": "sku-2002", "quantity": 1, "price": "5.00"},
        ],
        "amount": "44.80",
        "currency": "EUR",
        "note": "please ring twice",
        "placedAt": time.time(),
    }


def orders(first: int, count: int) -> Iterator[Order]:
    """*count* orders from the *first*-th on, each placed when it is asked for."""
    return (order(number) for number in range(first, first + count))


def in_parts(orders: Iterable[Order], size: int) -> Iterator[list[Order]]:
    """*orders*, *size* at a time."""
    rest = iter(orders)
    while part := list(islice(rest, size)):
        yield part
