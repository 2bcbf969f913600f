"""The floor: the statement that records an event and its deliveries, prepared, and no message to anybody."""

import json
from collections.abc import Iterable

from benchmarks.ledger import RECORD, open_ledger
from benchmarks.orders import GROUPS, TYPE, Order

_ledger = open_ledger()
_state = {"prepared": False}


def prepare() -> None:
    """Create the tables."""
    _ledger.create()


def publish(order: Order) -> None:
    """Record an event, as the bare driver can."""
    if not _state["prepared"]:
        _ledger.execute(f"PREPARE record (text, jsonb, text[]) AS {RECORD.format(type='$1', data='$2', groups='$3')}")
        _state["prepared"] = True
    _ledger.execute("EXECUTE record (%s, %s, %s)", (TYPE, json.dumps(order), list(GROUPS))).fetchone()


def publish_many(orders: Iterable[Order]) -> None:
    """Record events with two statements."""
    _ledger.record_many(orders)
