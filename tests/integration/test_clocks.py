"""Clocks: one clock, the database's, orders all that happens; those of publishers and workers are off, and it changes nothing."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.rows import Rows
from tests.support.workers import ROOT

#: Subscribes and publishes; says what its own clock shows.
PROGRAM = """
import json, time
from datetime import timedelta
from celery import Celery
from eventbus import Draft, EventBus
from eventbus.lifecycle.registration import register

bus = EventBus(Celery("off"))
bus.subscribe("#", group="a", handler=lambda event: None)
known = register(bus.database, bus.subscriptions, settings=bus.settings)
events = [bus.publish("order.created", 1, source="orders", idempotency_key="k")]
events += bus.publish_many([Draft(type="order.created", data=2, source="orders")] * 2)
print(json.dumps({"clock": time.time(), "ids": [str(event.id) for event in events]}))
"""


@pytest.mark.faketime
@pytest.mark.parametrize("offset", ["+600s", "-600s"])
def test_a_publisher_whose_clock_is_off_changes_nothing(
    environment: dict[str, str], rows: Rows, tmp_path: Path, offset: str
) -> None:
    """Ten minutes ahead or behind: ids, times and due times are the database's, and a repeat with the key finds the event."""
    before = rows.value("SELECT clock_timestamp()")
    command = ["faketime", "-f", offset, sys.executable, "-c", PROGRAM]

    runs = [subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True) for _ in range(2)]
    said = [json.loads(run.stdout) for run in runs]
    after = rows.value("SELECT clock_timestamp()")

    off_by = timedelta(seconds=abs(said[0]["clock"] - datetime.now(UTC).timestamp()))
    assert off_by > timedelta(seconds=500)
    assert said[0]["ids"][0] == said[1]["ids"][0]
    times = rows.all(
        "SELECT e.created_at, d.due_at, eventbus.uuid_floor(%s) <= e.id AND e.id < eventbus.uuid_floor(%s) "
        "FROM eventbus.event_log AS e JOIN eventbus.delivery AS d ON d.event_id = e.id",
        before,
        after + timedelta(seconds=1),
    )
    assert len(times) == 5
    assert all(before <= created <= after + timedelta(milliseconds=3) for created, _, _ in times)
    assert all(created == due and in_order for created, due, in_order in times)
