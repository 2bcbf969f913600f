"""`why`: each reason for which a group did or did not get an event is caused, and read back."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from eventbus import Event, EventBus
from eventbus.errors import UnknownEvent, UnknownGroup
from eventbus.lifecycle.explaining import Reason
from eventbus.lifecycle.parking import Parked
from eventbus.storage import workers
from eventbus.storage.workers import Worker
from eventbus.subscription import Subscriptions
from tests.integration.conftest import MakeWorker, Run
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns


class Refused(Exception):
    """What the handler raises."""


@dataclass
class Scene:
    """A bus, and what may happen to a group called stock."""

    bus: EventBus
    rows: Rows
    make_worker: MakeWorker
    fails: bool = False

    def handle(self, event: Event) -> None:
        if self.fails:
            raise Refused("no stock")

    def subscribe(self, pattern: str = "order.*", *, replay: str = "run", max_retries: int = 3) -> None:
        self.bus.subscribe(
            pattern,
            group="stock",
            handler=self.handle,
            replay=replay,
            max_retries=max_retries,
            backoff=timedelta(hours=1),
        )
        self.bus.sync()

    def publish(self) -> UUID:
        return self.bus.publish("order.created", {}, source="tests").id

    def beat(self) -> None:
        """Let a worker of stock say that it lives."""
        living = Worker(
            id=uuid4(), name="w1@host", host="host", pid=1, pool="solo", concurrency=1, version="0", groups=["stock"]
        )
        with self.bus.database.autocommit() as connection:
            workers.beat(connection, living)

    def run(self) -> SingleRuns:
        """Let a worker handle what is due."""
        here = self.make_worker(self.bus)
        claimed = here.take("stock")
        assert claimed is not None
        ended = here.run(claimed)
        if isinstance(ended, BaseException):
            here.fail(claimed, ended)
        return here

    def letter(self) -> int:
        return int(self.rows.value("SELECT max(id) FROM eventbus.dead_letter"))


def not_subscribed(scene: Scene) -> UUID:
    scene.subscribe("user.*")
    return scene.publish()


def never_had_a_subscription(scene: Scene) -> UUID:
    scene.rows.all("INSERT INTO eventbus.consumer_group (name, queue) VALUES ('stock', 'q')")
    return scene.publish()


def subscribed_later(scene: Scene) -> UUID:
    event = scene.publish()
    scene.subscribe()
    return event


def unsubscribed(scene: Scene) -> UUID:
    scene.subscribe()
    scene.bus.remove_group("stock")
    return scene.publish()


def unsubscribed_again(scene: Scene) -> UUID:
    # What it was unsubscribed from last is what matters, not what comes first in the alphabet.
    for pattern in ("*.created", "order.*"):
        scene.subscribe(pattern)
        scene.bus.remove_group("stock")
        scene.bus.subscriptions = Subscriptions()
    return scene.publish()


def subscribed_later_for_a_while(scene: Scene) -> UUID:
    event = subscribed_later(scene)
    scene.bus.remove_group("stock")
    return event


def unsubscribed_meanwhile(scene: Scene) -> UUID:
    scene.subscribe()
    event = scene.publish()
    scene.rows.all("UPDATE eventbus.subscription SET removed_at = now()")
    return event


def meanwhile_of_another_subscription(scene: Scene) -> UUID:
    event = unsubscribed_meanwhile(scene)
    scene.bus.subscriptions = Subscriptions()
    scene.subscribe("*.created")
    return event


def paused(scene: Scene) -> UUID:
    scene.subscribe()
    scene.bus.pause_group("stock")
    return scene.publish()


def no_worker(scene: Scene) -> UUID:
    scene.subscribe()
    return scene.publish()


def waiting(scene: Scene) -> UUID:
    scene.subscribe()
    scene.beat()
    return scene.publish()


def not_yet_due(scene: Scene) -> UUID:
    # Nothing lets a first run wait today, so this one is made to.
    event = done(scene)
    scene.beat()
    scene.rows.all(
        "UPDATE eventbus.delivery SET state = 'pending', finished_at = NULL, due_at = now() + interval '1 h'"
    )
    return event


def retrying(scene: Scene) -> UUID:
    scene.subscribe()
    scene.beat()
    scene.fails = True
    event = scene.publish()
    scene.run()
    scene.rows.all("UPDATE eventbus.delivery SET due_at = now() + interval '1 h'")
    return event


def running(scene: Scene) -> UUID:
    scene.subscribe()
    event = scene.publish()
    assert scene.make_worker(scene.bus).take("stock") is not None
    return event


def worker_lost(scene: Scene) -> UUID:
    event = running(scene)
    scene.rows.all("UPDATE eventbus.delivery SET due_at = now() - interval '1 s'")
    return event


def worker_lost_and_others_live(scene: Scene) -> UUID:
    scene.beat()
    return worker_lost(scene)


def worker_lost_and_paused(scene: Scene) -> UUID:
    event = worker_lost_and_others_live(scene)
    scene.bus.pause_group("stock")
    return event


def version_unreachable(scene: Scene) -> UUID:
    scene.bus.subscribe("order.created", group="stock", handler=scene.handle, version=1)
    here = scene.make_worker(scene.bus)
    event = scene.bus.publish("order.created", {}, source="tests", version=2)
    claimed = here.take("stock")
    assert claimed is not None
    assert isinstance(here.run(claimed), Parked)
    return event.id


def done(scene: Scene) -> UUID:
    scene.subscribe()
    event = scene.publish()
    scene.run()
    return event


def done_again(scene: Scene) -> UUID:
    event = done(scene)
    scene.bus.replay("#", group="stock")
    scene.run()
    return event


def dead(scene: Scene) -> UUID:
    scene.subscribe(max_retries=0)
    scene.fails = True
    event = scene.publish()
    scene.run()
    return event


def discarded(scene: Scene) -> UUID:
    event = dead(scene)
    scene.bus.discard_dead_letters(group="stock", reason="a test order")
    return event


def restored(scene: Scene) -> UUID:
    event = discarded(scene)
    assert scene.bus.restore_dead_letters([scene.letter()]) == 1
    return event


def cancelled(scene: Scene) -> UUID:
    scene.subscribe()
    event = scene.publish()
    scene.bus.remove_group("stock")
    return event


def opted_out(scene: Scene) -> UUID:
    event = scene.publish()
    scene.subscribe(replay="skip")
    scene.bus.replay("#", group="stock")
    return event


CAUSES: list[tuple[Callable[[Scene], UUID], Reason, str, str | None]] = [
    (
        not_subscribed,
        Reason.NOT_SUBSCRIBED,
        "matches order.created: it is subscribed to user.*.",
        "replay run --event-id",
    ),
    (never_had_a_subscription, Reason.NOT_SUBSCRIBED, "it is subscribed to nothing.", "subscribe it"),
    (subscribed_later, Reason.SUBSCRIBED_LATER, "stock subscribed to order.* at 20", "replay run --event-id"),
    (unsubscribed, Reason.UNSUBSCRIBED, "stock was unsubscribed from order.* at 20", "subscribe it again"),
    (unsubscribed_again, Reason.UNSUBSCRIBED, "stock was unsubscribed from order.* at 20", "subscribe it again"),
    (subscribed_later_for_a_while, Reason.SUBSCRIBED_LATER, "UTC, after the event.", "subscribe it again"),
    (unsubscribed_meanwhile, Reason.UNSUBSCRIBED, "handled; the next sweep cancels it.", "eventbus sweep"),
    (
        meanwhile_of_another_subscription,
        Reason.UNSUBSCRIBED,
        "from order.* before it was handled; the next sweep hands it to its subscription to *.created.",
        "eventbus sweep",
    ),
    (paused, Reason.PAUSED, "stock is paused, by ", "eventbus groups resume stock"),
    (no_worker, Reason.NO_WORKER, "no living worker serves stock.", "eventbus -A MODULE worker stock"),
    (waiting, Reason.WAITING, "waits its turn at w1@host.", "may not know order.*"),
    (not_yet_due, Reason.NOT_YET_DUE, "it may be taken from 20", None),
    (retrying, Reason.RETRYING, "Refused: no stock); it runs again at 20", None),
    (running, Reason.RUNNING, "worker-1 has it", None),
    (worker_lost, Reason.WORKER_LOST, "worker-1 had it", "eventbus -A MODULE worker stock"),
    (worker_lost_and_others_live, Reason.WORKER_LOST, "worker-1 had it", None),
    (worker_lost_and_paused, Reason.WORKER_LOST, "; stock is paused, by ", "eventbus groups resume stock"),
    (version_unreachable, Reason.VERSION_UNREACHABLE, "order.created version 2 cannot become 1", "add an upcaster"),
    (done, Reason.DONE, "handled by worker-1 at 20", None),
    (done_again, Reason.DONE, "as part of replay ", None),
    (dead, Reason.DEAD, "given up after 1 failed runs", "eventbus dead show"),
    (discarded, Reason.DISCARDED, "was discarded: a test order", "eventbus dead restore"),
    (restored, Reason.DEAD, "given up after 1 failed runs", "eventbus dead retry"),
    (cancelled, Reason.CANCELLED, "when stock was unsubscribed.", "replay run --event-id"),
    (opted_out, Reason.OPTED_OUT, "opts out of replays", "replay='run'"),
]


@pytest.mark.parametrize(("cause", "reason", "sentence", "advice"), CAUSES, ids=[item[0].__name__ for item in CAUSES])
def test_each_reason_is_caused_and_read_back(
    bus: EventBus,
    rows: Rows,
    worker: MakeWorker,
    cause: Callable[[Scene], UUID],
    reason: Reason,
    sentence: str,
    advice: str | None,
) -> None:
    """In a sentence, with what to do where something is to be done."""
    event = cause(Scene(bus, rows, worker))

    found = bus.explain(event, "stock")

    assert found.reason is reason
    assert sentence in found.sentence
    assert (found.advice is None) == (advice is None), found.advice
    assert advice is None or advice in (found.advice or "")


def test_every_reason_is_caused() -> None:
    """A reason that nothing causes would be a guess."""
    assert {item[1] for item in CAUSES} == set(Reason)


def test_why_is_answered_on_the_command_line(
    bus: EventBus, rows: Rows, worker: MakeWorker, run_here: Run, environment: object
) -> None:
    """For people with the failed runs; for programs as one object."""
    event = dead(Scene(bus, rows, worker))

    lines = run_here("why", str(event), "stock").stdout.splitlines()
    found = json.loads(run_here("why", str(event), "stock", "--json").stdout)

    assert (
        lines[0]
        == "dead: given up after 1 failed runs and 0 lost processes: tests.integration.test_why.Refused: no stock"
    )
    assert lines[1].startswith("see eventbus dead show ")
    assert lines[2].split()[0] == "error"
    assert (found["reason"], found["delivery"]["state"], found["runs"][0]["worker"]) == ("dead", "dead", "worker-1")
    assert run_here("why", str(uuid4()), "stock").returncode == 2


def test_why_tells_the_newest_of_the_group_that_is_asked_for(bus: EventBus, rows: Rows, worker: MakeWorker) -> None:
    """Its last dead letter and runs, newest first, whatever another group made of the event, and whoever serves that."""
    scene = Scene(bus, rows, worker)
    bus.subscribe("order.*", group="mail", handler=scene.handle)
    event = dead(scene)
    first = scene.letter()
    bus.retry_dead_letters(group="stock")
    scene.run()
    second = scene.letter()
    for statement in (
        "INSERT INTO eventbus.dead_letter (event_id, group_name, type, attempts, deaths, error_type, error_message, traceback, "
        "fingerprint) VALUES (%s, 'mail', 'order.created', 1, 0, 'E', 'm', 't', 'f')",
        "INSERT INTO eventbus.attempt (event_id, group_name, kind, number, error_type, error_message) "
        "VALUES (%s, 'mail', 'error', 1, 'E', 'm')",
    ):
        rows.all(statement, str(event))

    found = bus.explain(event, "stock")

    assert first < second
    assert f"eventbus dead show {second};" in (found.advice or "")
    assert [run.error_message for run in found.facts.runs] == ["no stock"] * 2
    assert found.facts.runs[0].failed_at > found.facts.runs[1].failed_at
    scene.beat()
    waits = bus.explain(scene.publish(), "mail")
    assert (waits.reason, waits.facts.workers) == (Reason.NO_WORKER, [])
    assert waits.facts.standing is not None
    assert waits.facts.standing.group == "mail"


def test_why_of_what_does_not_exist_is_refused(bus: EventBus) -> None:
    """An event or a group nobody knows."""
    event = bus.publish("order.created", {}, source="tests")

    with pytest.raises(UnknownEvent):
        bus.explain(uuid4(), "stock")
    with pytest.raises(UnknownGroup):
        bus.explain(event.id, "stock")


def test_what_was_not_discarded_is_not_restored(
    bus: EventBus, rows: Rows, worker: MakeWorker, run_here: Run, environment: object
) -> None:
    """Nor is what was replayed since; the exit code says so."""
    scene = Scene(bus, rows, worker)
    discarded(scene)
    old = scene.letter()
    bus.replay("#", group="stock", include_dead=True)
    scene.run()
    bus.discard_dead_letters(group="stock", reason="again")

    assert run_here("dead", "restore", str(old)).returncode == 1
    assert run_here("dead", "restore", str(scene.letter())).stdout == "1 dead letters restored.\n"
    assert run_here("dead", "note", str(old), "Ann looks after it").returncode == 0
    assert "Ann looks after it" in run_here("dead", "show", str(old)).stdout
    assert run_here("dead", "note", str(old), " ").returncode == 2
    assert run_here("dead", "note", "999", "x").returncode == 2
