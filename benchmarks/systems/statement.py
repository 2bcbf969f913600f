"""The statement that publish() sends to PostgreSQL, to eventbus's own tables, prepared, by the bare driver; nobody is told."""

import json
from uuid import uuid4

import psycopg2

from benchmarks.orders import TYPE, Order
from benchmarks.stage import current
from benchmarks.systems import eventbus
from eventbus.storage.event_log import APPEND
from eventbus.subscription import candidates

__all__ = ["prepare", "publish"]

_NAMES = ("random", "type", "version", "source", "data", "metadata", "patterns")
_state = {"cursor": None}


def prepare() -> None:
    """Create the tables, and subscribe the groups."""
    eventbus.prepare()


def publish(order: Order) -> None:
    """Record an event and its deliveries."""
    cursor = _state["cursor"] or _connect()
    cursor.execute(
        "EXECUTE append (%s, %s, %s, %s, %s, %s, %s)",
        (
            str(uuid4()),
            TYPE,
            1,
            "shop",
            json.dumps(order),
            json.dumps({"correlation_id": str(uuid4()), "causation_id": None, "headers": {}}),
            _PATTERNS,
        ),
    )
    cursor.fetchone()


_PATTERNS = "{" + ",".join(candidates(TYPE)) + "}"


def _connect():
    connection = psycopg2.connect(current().database_url)
    connection.autocommit = True
    cursor = connection.cursor()
    statement = APPEND
    for number, name in enumerate(_NAMES, start=1):
        statement = statement.replace(f":{name}", f"${number}")
    cursor.execute(f"PREPARE append AS {statement}")
    _state["cursor"] = cursor
    return cursor
