"""The orders service: publishes a number of sample orders, one after the other, and ends.

python -m workers.publisher --count 600 --every 1
"""

import argparse
import secrets
import signal
import sys
import threading

from marshmallow import Schema, fields, validate

from eventbus import EventBus
from eventbus.errors import ConfigurationError, DatabaseError

bus = EventBus.from_env()
#: One order in so many has an address that notification cannot use: something to see among dead letters.
_FLAWED = 10


@bus.event("order.created", version=1)
class OrderCreated(Schema):
    """A customer ordered something."""

    order_id = fields.String(required=True, data_key="orderId")
    amount = fields.Decimal(required=True, as_string=True)
    currency = fields.String(required=True, validate=validate.Length(equal=3))
    email = fields.String(required=True)


def publish_orders(count: int, *, every_seconds: float, stop: threading.Event) -> None:
    """Publish *count* orders, or fewer if *stop* is set before."""
    for number in range(1, count + 1):
        order = {
            "orderId": f"o-{secrets.token_hex(4)}",
            "amount": f"{10 + number % 90}.{number % 100:02}",
            "currency": "EUR",
            "email": f"customer-{number}@example.com" if number % _FLAWED else "no address",
        }
        event = bus.publish("order.created", order, source="orders")
        print(event.id, order["orderId"], flush=True)
        if stop.wait(every_seconds if number < count else 0):
            return


def main() -> None:
    """Read the command line; SIGTERM and Ctrl-C end the publishing between two orders."""
    parser = argparse.ArgumentParser(prog="python -m workers.publisher", description="Publish sample orders, and end.")
    parser.add_argument("--count", type=int, default=600, help="how many orders (%(default)s)")
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="between two orders (%(default)s)")
    given = parser.parse_args()
    if given.count < 1 or not 0 <= given.every <= threading.TIMEOUT_MAX:
        parser.error("give a count from 1, and seconds from 0.")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    publish_orders(given.count, every_seconds=given.every, stop=stop)


if __name__ == "__main__":
    try:
        main()
    except (ConfigurationError, DatabaseError) as error:
        sys.exit(f"workers.publisher: {error}")
