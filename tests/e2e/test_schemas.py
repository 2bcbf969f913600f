"""Schemas in real workers: a start that would break somebody is none; what old code cannot read, new code takes up."""

from contextlib import closing
from pathlib import Path

from celery import Celery
from marshmallow import fields

from eventbus import EventBus, EventSchema
from tests.conftest import StartWorker
from tests.support import wait_until
from tests.support.rows import Rows

APP = """
from celery import Celery
from marshmallow import fields
from eventbus import EventBus, EventSchema

app = Celery("shop")
bus = EventBus(app)

class One(EventSchema):
    amount = fields.Integer(required=True)

bus.register_schema("order.created", 1, One)

@bus.subscribe("order.created", group="billing", version=1)
def bill(event):
    with open("billed.txt", "a") as file:
        file.write(f"{event.version}: {event.data}\\n")
"""
NEW = (
    APP
    + """
@bus.downcaster("order.created", 2, 1, lossy=["total"])
def down(data):
    return {"amount": data["total"]}
"""
)
BREAKING = (
    APP.replace("version=1)\ndef", ")\ndef")
    + """
class Three(One):
    currency = fields.String(required=True)

bus.register_schema("order.created", 3, Three, compatibility="FULL")
"""
)
GAP = (
    APP
    + """
class Two(One):
    currency = fields.String()

bus.register_schema("order.created", 2, Two)

@bus.upcaster("order.created", 2, 3)
def up(data):
    return data
"""
)


def test_what_old_code_cannot_read_waits_for_new_code(
    environment: dict[str, str], database_url: str, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Parked by one worker, released by the start of the next; a third, whose schema breaks, does not start."""
    bus = EventBus(Celery("publisher", set_as_current=False))
    second = type("Two", (EventSchema,), {"total": fields.Integer(required=True)})
    bus.register_schema("order.created", 2, second, compatibility="NONE")
    rows = Rows(database_url)
    old = start_worker(code=APP.replace("1, One)", '1, One, compatibility="NONE")'), name="old")
    event = bus.publish("order.created", {"total": 5}, source="orders")
    wait_until(lambda: rows.delivery(event.id, "billing")["state"] == "parked", message="the delivery is parked")
    old.stop()

    new = start_worker(code=NEW, name="new")
    bus.sweep()
    wait_until(lambda: rows.delivery(event.id, "billing")["state"] == "done", message="the delivery is done")
    broken = start_worker(code=BREAKING, name="broken", wait=False)

    assert (new.folder / "billed.txt").read_text() == "1: {'amount': 5}\n"
    assert broken.wait() == 2
    assert "currency: required-missing" in broken.log
    assert rows.value("SELECT max(version) FROM eventbus.event_schema") == 2
    rows.close()
    bus.database.dispose()


def test_a_worker_whose_steps_lead_nowhere_does_not_start(
    environment: dict[str, str], database_url: str, start_worker: StartWorker
) -> None:
    """It is told before it owes anybody anything, not by the first event that needs the step."""
    worker = start_worker(code=GAP, wait=False)

    assert worker.wait() == 2
    assert "version 3 has no schema" in worker.log
    with closing(Rows(database_url)) as rows:
        assert rows.count("subscription") == 0
