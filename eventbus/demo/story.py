"""The story: what goes wrong between services, and what becomes of the events meanwhile.

Each step acts through the publisher's bus and through worker processes, waits until it should be over, and returns what
the database says.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from eventbus.demo import orders, recovery
from eventbus.demo.evidence import Arrived
from eventbus.demo.proof import Figure, figure, reading
from eventbus.demo.stage import Stage
from eventbus.errors import InvalidEvent
from eventbus.event import Draft, encode_data
from eventbus.wire import canonical

_FAULT = 'raise ValueError(f"{address!r} is not an email address")'
_REPAIR = 'address = "customer-service@example.com"'


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the story."""

    letter: str
    claim: str
    tell: Callable[[Stage], list[Figure]]


def steps(events: Sequence[Draft], file: Path | None) -> list[Step]:
    """The story, in which *events* from *file*, or our own, are published on the way."""
    whence = f"the {len(events):,} events of {file.name}" if file else f"{len(events)} built-in events"
    return [
        Step(letter="a", claim="while inventory is down orders are published; it handles them later", tell=outage),
        Step(letter="b", claim="analytics subscribes while the publisher runs, and gets the next order", tell=newcomer),
        Step(letter="c", claim="an order without currency is refused before it exists", tell=refusal),
        Step(
            letter="d", claim="notification fails, retries, gives up; mended, it handles the dead letter", tell=repair
        ),
        Step(letter="e", claim="a worker is killed in its handlers and messages are lost; no event is", tell=crash),
        Step(
            letter="f", claim=f"{whence} reach a group subscribed to # unchanged", tell=lambda at: transport(at, events)
        ),
        Step(letter="g", claim="analytics was stopped; started again it handles what it missed", tell=recovery.absence),
        Step(letter="h", claim="analytics loses its table; a replay restores each row once", tell=recovery.loss),
        Step(letter="i", claim="a group that subscribed late gets older events by replay", tell=recovery.history),
    ]


def outage(stage: Stage) -> list[Figure]:
    """50 orders are published while nobody runs; inventory comes up and handles all."""
    stage.start("inventory")
    stage.wait("inventory subscribes", lambda: stage.is_subscribed("inventory"))
    stage.services.stop("inventory")
    stage.narrator.say("inventory has subscribed and is down now; 50 orders are published")
    stage.publish("a", 50)
    meanwhile = stage.evidence.deliveries("a", "inventory")
    stage.start("inventory")
    stage.count("inventory handles them", 50, lambda: stage.evidence.deliveries("a", "inventory").get("done", 0))
    return [
        figure("{} orders in event_log", stage.evidence.events("a"), 50),
        figure("while inventory was down: {}", meanwhile, {"pending": 50}),
        figure("after it came up: {}", stage.evidence.deliveries("a", "inventory"), {"done": 50}),
        stage.each_once("reservation", "a", 50),
    ]


def newcomer(stage: Stage) -> list[Figure]:
    """Analytics subscribes between two orders of this very process, and gets the next one and all that follow."""
    stage.narrator.say("this process goes on publishing, an order every 50 ms, while analytics starts")
    stage.start("analytics")
    published = 0

    def publish() -> None:
        nonlocal published
        stage.publish("b")
        published += 1

    stage.wait("analytics subscribes", lambda: stage.is_subscribed("analytics"), meanwhile=publish)
    before = published
    for _ in range(10):
        publish()
    stage.wait("everything is handled", lambda: stage.evidence.open_deliveries("b") == 0)
    reached = stage.evidence.reached("b", "analytics")
    first = reached.index(True) if True in reached else len(reached)
    ordered, sold = stage.evidence.amounts("b", "analytics")
    return [
        figure("{} orders in event_log", len(reached), published),
        reading("the first for analytics was number {}", first + 1),
        figure("missed once it had subscribed: {}", reached[before:].count(False), 0),
        figure("missed after its first: {}", reached[first:].count(False), 0),
        figure("sample.sale: EUR {}, as in event_log", sold, ordered),
    ]


def refusal(stage: Stage) -> list[Figure]:
    """What does not fit its schema is refused at publish, and leaves no trace."""
    before = stage.evidence.events()
    incomplete = orders.order(1)
    del incomplete["currency"]
    named: list[str] = []
    try:
        stage.bus.publish(orders.TYPE, incomplete, source=orders.SOURCE, correlation_id="c")
    except InvalidEvent as error:
        stage.narrator.say(f"InvalidEvent: {error}")
        named = list(error.errors)
    return [
        figure("InvalidEvent names {}", ", ".join(named), "currency"),
        reading("{} events in event_log before", before),
        figure("{} after", stage.evidence.events(), before),
    ]


def repair(stage: Stage) -> list[Figure]:
    """Notification fails, is retried, gives up; its code is mended, the dead letter retried, the order confirmed."""
    stage.start("notification")
    stage.wait("notification subscribes", lambda: stage.is_subscribed("notification"))
    stage.narrator.say("an order with the email address 'ada.example.com' is published")
    [event] = stage.publish("d", email="ada.example.com")
    stage.wait("notification gives up", lambda: stage.evidence.dead_letters("d", "notification") == ["open"])
    failed = stage.evidence.failed_runs(event.id, "notification")
    waits = " s and ".join(f"{(later - earlier).total_seconds():.2f}" for earlier, later in pairwise(failed))
    [letter] = stage.bus.dead_letters(orders.TYPE, group="notification").items
    stage.narrator.say(f"dead letter {letter.id}: {letter.error_type}: {letter.error_message}; the handler is mended:")
    stage.narrator.say(stage.services.patch("notification.py", _FAULT, _REPAIR))
    stage.services.stop("notification")
    stage.start("notification")
    retried = stage.bus.retry_dead_letters(orders.TYPE, group="notification")
    stage.wait("notification handles it", lambda: stage.evidence.open_deliveries("d") == 0)
    return [
        figure("{} failed runs, as max_retries=2 allows", len(failed), 3),
        reading("{} s between them", waits),
        figure("dead letters retried: {}", retried, 1),
        figure("dead letter: {}", ", ".join(stage.evidence.dead_letters("d", "notification")), "retried"),
        figure("delivery: {}", stage.evidence.deliveries("d", "notification"), {"done": 1}),
        stage.each_once("email", "d", 1),
    ]


def crash(stage: Stage) -> list[Figure]:
    """Inventory is killed with SIGKILL while two handlers run, and its queue is deleted; then it is started again."""
    with stage.evidence.reservations_locked():
        stage.publish("e", 20)
        stage.wait("inventory is in two handlers", lambda: stage.evidence.blocked_handlers() == 2)
        interrupted = stage.evidence.deliveries("e", "inventory")
        stage.services.kill("inventory")
        lost = stage.lose_messages("inventory")
    stage.narrator.say(f"kill -9 to inventory in mid-handler; its queue with {lost} messages is deleted")
    stage.start("inventory")
    stage.wait(
        "nothing is open",
        lambda: stage.evidence.open_deliveries("e") == 0,
        meanwhile=stage.find_what_was_lost,
        every_seconds=1.0,
    )
    return [
        figure("{} orders in event_log", stage.evidence.events("e"), 20),
        figure("when it was killed: {}", interrupted, {"running": 2, "pending": 18}),
        figure("in the end: {}", stage.evidence.deliveries("e", "inventory"), {"done": 20}),
        *(stage.each_once(table, "e", 20) for table in ("reservation", "sale", "email")),
    ]


def transport(stage: Stage, events: Sequence[Draft]) -> list[Figure]:
    """*events* are published, and compared with what the archive's handler received."""
    stage.start("archive", app="eventbus.demo.archive")
    stage.wait("the archive subscribes", lambda: stage.is_subscribed("archive"))
    published = stage.publish_as_they_are("f", events)
    # From the file, not from what publish_many() returned; `encode` only writes floats such as 1e16 as jsonb returns them.
    expected = {
        made.id: Arrived(
            type=event.type, source=event.source, canonical=canonical(encode_data(event.type, event.data)[1])
        )
        for made, event in zip(published, events, strict=True)
    }
    stage.count(
        "the archive receives them", len(events), lambda: stage.evidence.deliveries("f", "archive").get("done", 0)
    )
    received = stage.evidence.received("f")
    equal = sum(item == expected.get(id) for id, item in received)
    size = sum(len(item.canonical.encode()) for _, item in received)
    return [
        figure("{} events in event_log", stage.evidence.events("f"), len(events)),
        figure("of {} types", stage.evidence.types("f"), len({event.type for event in events})),
        figure("{} received by the handler", len(received), len(events)),
        figure("{} equal byte for byte", equal, len(events)),
        reading("{} bytes of canonical JSON", size),
    ]
