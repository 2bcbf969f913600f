"""A bus with a bit of everything, made once and looked at by all tests that change nothing in it.

inventory      keeps up, has a worker
notification   has a dead letter, a retry, failed runs; has a worker
analytics      is paused, with a backlog
archive        wants all, and has no worker
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from celery import Celery
from marshmallow import fields

from eventbus import Event, EventBus, EventSchema
from eventbus.durations import BUCKETS, Histogram
from eventbus.lifecycle import settlement
from eventbus.lifecycle.auditing import acting_as
from eventbus.lifecycle.registration import register
from eventbus.retry import RetryPolicy
from eventbus.storage import runs as stored_runs
from eventbus.storage import workers
from eventbus.storage.workers import Worker
from tests.support.single_runs import SingleRuns

#: Runs if anything forgets to escape it; it says so to the page's console, and sets what tests look for.
EVIL = "<script>window.evil=1;console.error('evil')</script><img src=x onerror=\"window.evil=1\">'\"&{{7*7}}"


class OrderCreated(EventSchema):
    """The first form of an order."""

    order_id = fields.String(required=True, data_key="orderId")
    total = fields.Integer(required=True)


class OrderCreatedToo(OrderCreated):
    """The second form: with a note."""

    note = fields.String(load_default="")


@dataclass(frozen=True, kw_only=True)
class Seed:
    """What is there."""

    bus: EventBus
    #: Handled by inventory, dead for notification, waiting for analytics and archive.
    order: Event
    #: Its data, type's neighbours, correlation id and error hold `EVIL`.
    evil: Event
    #: An open dead letter, of ``order``, and one of ``evil``.
    letter_id: int
    evil_letter_id: int
    replay_id: UUID

    @property
    def examples(self) -> Mapping[str, object]:
        """A value for each part of a path that a route names."""
        return {
            "group": "notification",
            "event_id": self.order.id,
            "letter_id": self.letter_id,
            "fingerprint": self.bus.dead_letter(self.letter_id).letter.fingerprint,
            "replay_id": self.replay_id,
            "type": "order.created",
            "version": 1,
            "correlation_id": "o-4711",
        }


def make_bus(**settings: str) -> EventBus:
    """A bus of the console's own, which knows no handler."""
    return EventBus(Celery("console", set_as_current=False), **settings)


def plant(bus: EventBus) -> Seed:
    """Make it, on a bus without anything."""
    for group, pattern in (
        ("inventory", "order.*"),
        ("notification", "order.created"),
        ("analytics", "order.#"),
        ("archive", "#"),
    ):
        bus.subscribe(pattern, group=group, handler=handle, backoff=timedelta(hours=1))
    bus.register_schema("order.created", 1, OrderCreated)
    bus.register_schema("order.created", 2, OrderCreatedToo)
    bus.sync()
    known = register(bus.database, bus.subscriptions, settings=bus.settings)
    runs = SingleRuns(
        database=bus.database, known=known, reading=bus.reading, lease=timedelta(seconds=30), worker="worker-1@host"
    )
    order = bus.publish(
        "order.created", {"orderId": "o-4711", "total": 99}, source="orders", version=1, correlation_id="o-4711"
    )
    bus.publish("order.paid", {"orderId": "o-4711"}, source="billing", correlation_id="o-4711")
    retried = bus.publish("order.created", {"orderId": "o-4712", "total": 1}, source="orders", version=1)
    evil = bus.publish(
        "order.created", {"orderId": EVIL, "total": 1, "note": EVIL}, source=EVIL, version=2, correlation_id=EVIL
    )
    while (claimed := runs.take("inventory")) is not None:
        runs.run(claimed)
    letters = [
        _fail(bus, runs, event, error, retries=0)
        for event, error in ((order, KeyError("sku")), (evil, ValueError(EVIL)))
    ]
    _fail(bus, runs, retried, ConnectionError("mail server is away"), retries=3)
    replay = bus.replay("order.paid", group="inventory")
    assert replay.id is not None
    with bus.database.autocommit() as connection:
        counts = (10, 40, 30, 10, 5, 3, 2)
        took = Histogram(counts=(*counts, *(0,) * (BUCKETS - len(counts))), seconds=1.2)
        stored_runs.add_durations(connection, {("notification", "order.created"): took})
    with acting_as("alice"):
        bus.pause_group("analytics")
        bus.note_dead_letter(letters[0], "asked the shop")
    for name, groups in (("worker-1@host", ("inventory", "notification")), ("worker-2@host", ("analytics",))):
        _beat(bus, name, groups)
    return Seed(bus=bus, order=order, evil=evil, letter_id=letters[0], evil_letter_id=letters[1], replay_id=replay.id)


def handle(event: Event) -> None:
    """Do nothing with it."""


def _fail(bus: EventBus, runs: SingleRuns, event: Event, error: Exception, *, retries: int) -> int:
    """Let notification's run of *event* fail; the id of the dead letter, if that was its last."""
    claimed = runs.take("notification", event.id)
    assert claimed is not None
    caught = _raised(lambda: _deliver(error))
    outcome = settlement.settle_failed(
        bus.database, claimed, caught, policy=RetryPolicy(max_retries=retries), worker="worker-1@host"
    )
    return (outcome.letter_id or 0) if isinstance(outcome, settlement.Dead) else 0


def _deliver(error: Exception) -> None:
    raise error


def _raised(call: Callable[[], None]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def _beat(bus: EventBus, name: str, groups: tuple[str, ...]) -> None:
    worker = Worker(
        id=uuid4(), name=name, host="host", pid=1, pool="prefork", concurrency=2, version="0.1.0", groups=groups
    )
    with bus.database.autocommit() as connection:
        workers.beat(connection, worker)
        # For as long as the tests last, whatever they take.
        connection.change(
            "UPDATE eventbus.worker SET seen_at = clock_timestamp() + interval '1 day' WHERE name = :name", name=name
        )
