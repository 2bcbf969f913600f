"""Groups that want the shop's orders, and a handler that takes as long as the test wants."""

import os
from datetime import timedelta

from eventbus import Delivery, Event
from tests.e2e.shop.app import bus
from tests.e2e.shop.effects import note, wait_for_gate


@bus.subscribe("order.created", group="inventory")
def reserve_stock(event: Event, delivery: Delivery) -> None:
    """Note the order."""
    note(event, delivery, number=event.data["number"])


@bus.subscribe("order.*", group="analytics")
def count_order(event: Event, delivery: Delivery) -> None:
    """Note whatever happens to an order."""
    note(event, delivery, type=event.type)


@bus.subscribe("order.#", group="ledger")
def book(event: Event, delivery: Delivery) -> None:
    """Note it, too."""
    note(event, delivery)


@bus.subscribe("parcel.sent", group="courier", max_retries=1)
def deliver(event: Event, delivery: Delivery) -> None:
    """Note the start, wait for the gate that the event names, note the end."""
    note(event, delivery, step="started")
    if "gate" in event.data:
        wait_for_gate(event.data["gate"])
    note(event, delivery, step="ended")


def take_back(event: Event, delivery: Delivery) -> None:
    """Note the event."""
    note(event, delivery, step="taken back")


if os.environ.get("SHOP_DEPLOY") != "yesterday":
    # Code that was deployed yesterday knows nothing of it.
    bus.subscribe("parcel.returned", group="courier", handler=take_back, timeout=timedelta(minutes=30))
