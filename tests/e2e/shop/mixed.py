"""An app that had its own queues and tasks before it got a bus."""

import os

from celery import Celery
from kombu import Queue

from eventbus import Delivery, Event, EventBus
from tests.e2e.shop.effects import note, note_ordinary, wait_for_gate

_PREFIX = os.environ["EVENTBUS_PREFIX"]

app = Celery("mixed")
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue=f"{_PREFIX}.default",
    task_queues=[Queue(f"{_PREFIX}.default"), Queue(f"{_PREFIX}.reports")],
    task_routes={"mixed.report": {"queue": f"{_PREFIX}.reports"}},
    task_ignore_result=True,
    # What a dead worker held is handed out again after a second, by the next one that starts.
    broker_transport_options={"visibility_timeout": 1},
)


@app.task(name="mixed.report")  # type: ignore[untyped-decorator]
def report(word: str) -> None:
    """A task with a route of its own."""
    note_ordinary(word)


@app.task(name="mixed.plain")  # type: ignore[untyped-decorator]
def plain(word: str) -> None:
    """A task in the default queue."""
    note_ordinary(word)


@app.task(name="mixed.careful", acks_late=True)  # type: ignore[untyped-decorator]
def careful(gate: int) -> None:
    """A task that must not be lost: note the start, wait for the gate, note the end."""
    note_ordinary("started")
    wait_for_gate(gate)
    note_ordinary("ended")


bus = EventBus(app)


@bus.subscribe("order.created", group="mixed")
def handle(event: Event, delivery: Delivery) -> None:
    """Note the event, and call an ordinary task."""
    note(event, delivery)
    plain.delay(f"from {event.id}")
