"""An app that had its own queues and tasks before it got a bus."""

import os

from celery import Celery
from kombu import Queue

from eventbus import Delivery, Event, EventBus
from tests.e2e.shop.effects import note, note_ordinary

_PREFIX = os.environ["EVENTBUS_PREFIX"]

app = Celery("mixed")
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue=f"{_PREFIX}.default",
    task_queues=[Queue(f"{_PREFIX}.default"), Queue(f"{_PREFIX}.reports")],
    task_routes={"mixed.report": {"queue": f"{_PREFIX}.reports"}},
    task_ignore_result=True,
)


@app.task(name="mixed.report")  # type: ignore[untyped-decorator]
def report(word: str) -> None:
    """A task with a route of its own."""
    note_ordinary(word)


@app.task(name="mixed.plain")  # type: ignore[untyped-decorator]
def plain(word: str) -> None:
    """A task in the default queue."""
    note_ordinary(word)


bus = EventBus(app)


@bus.subscribe("order.created", group="mixed")
def handle(event: Event, delivery: Delivery) -> None:
    """Note the event, and call an ordinary task."""
    note(event, delivery)
    plain.delay(f"from {event.id}")
