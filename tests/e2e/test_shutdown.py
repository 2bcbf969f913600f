"""Workers that are told to stop: what runs ends in peace, the rest is somebody else's at once, and nothing is charged for it."""

import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from eventbus import Draft, Event, EventBus
from eventbus.embedded import Servers
from tests.e2e.conftest import make_stage
from tests.e2e.stage import TIMEOUT, Stage
from tests.support import wait_until
from tests.support.workers import WorkerProcess


@pytest.fixture(scope="module")
def stage(servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage whose workers lose what they hold after two seconds without a sign of life."""
    yield from make_stage(servers, template_database, tmp_path_factory, EVENTBUS_LEASE_SECONDS="2")


@pytest.fixture(scope="module", autouse=True)
def subscribed(stage: Stage) -> None:
    """All groups are, whatever workers have been started."""
    stage.sync()


@pytest.fixture(autouse=True)
def workers(stage: Stage) -> Iterator[None]:
    """The test's workers end with it."""
    yield
    stage.end_workers()


@pytest.fixture(scope="module")
def mute(stage: Stage) -> EventBus:
    """A bus that cannot tell anybody what it has published."""
    return EventBus(
        Celery("mute", set_as_current=False),
        database_url=stage.environment["EVENTBUS_DATABASE_URL"],
        broker_url="redis://127.0.0.1:1/0",
        prefix=stage.prefix,
    )


def batch_behind_a_gate(stage: Stage, mute: EventBus, gate: int) -> tuple[WorkerProcess, list[Event]]:
    """A worker with one process that has claimed ten events at once, and runs the first, which waits for *gate*."""
    worker = stage.start(groups=["courier"], concurrency=1)
    for _ in range(3):  # the group's pace is known then, and a batch is large
        done = stage.bus.publish_many(Draft(type="parcel.sent", data={}, source="tests") for _ in range(20))
        stage.wait_for_state(done[-1], "courier", "done")
    stage.change("UPDATE eventbus.consumer_group SET paused = true WHERE name = 'courier'")
    # What a wake-up names runs alone: the relay's name the oldest, and a slice that has no time left for a batch the next one.
    for _ in range(5):
        mute.publish("parcel.sent", {}, source="tests")
    drafts = [Draft(type="parcel.sent", data={} if number else {"gate": gate}, source="tests") for number in range(10)]
    events = mute.publish_many(drafts)
    stage.change("UPDATE eventbus.consumer_group SET paused = false WHERE name = 'courier'")
    stage.wait_for_effects(events[0], "courier")
    assert all("running" in stage.states(event, "courier") for event in events)
    return worker, events


def charged(stage: Stage, events: list[Any]) -> list[tuple[int, int]]:
    """Attempts and deaths of those that were charged any."""
    rows = [stage.delivery(event, "courier") for event in events]
    return [(row.attempts, row.deaths) for row in rows if row.attempts or row.deaths]


def test_a_worker_that_stops_finishes_what_runs_and_gives_back_the_rest(stage: Stage, mute: EventBus) -> None:
    """SIGTERM: another worker handles the rest while the first is still busy with its last one."""
    with stage.closed_gate(20):
        worker, events = batch_behind_a_gate(stage, mute, 20)
        worker.send_signal(signal.SIGTERM)
        wait_until(
            lambda: all(stage.delivery(event, "courier").state == "pending" for event in events[1:]),
            timeout=TIMEOUT,
            message=stage.logs,
        )
        assert stage.delivery(events[0], "courier").state == "running"
        stage.start(groups=["courier"], concurrency=1)
        for event in events[1:]:
            stage.wait_for_state(event, "courier", "done")
        assert worker.is_running
    stage.wait_for_state(events[0], "courier", "done")

    assert worker.wait(timeout=TIMEOUT) == 0
    assert charged(stage, events) == []
    assert [len(stage.effects(event, "courier")) for event in events] == [2] * 10


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_worker_that_is_killed_after_its_grace_is_charged_for_nothing_else(
    stage: Stage, mute: EventBus, first: signal.Signals
) -> None:
    """What it had not started was given back before; what it had started runs elsewhere when its lease has ended."""
    with stage.closed_gate(21):
        worker, events = batch_behind_a_gate(stage, mute, 21)
        worker.send_signal(first)
        wait_until(
            lambda: all(stage.delivery(event, "courier").state == "pending" for event in events[1:]),
            timeout=TIMEOUT,
            message=stage.logs,
        )
        worker.kill()
    stage.start(groups=["courier"], concurrency=1)

    for event in events:
        stage.wait_for_state(event, "courier", "done")

    assert charged(stage, events) == []
    assert [len(stage.effects(event, "courier")) for event in events] == [3] + [2] * 9


def test_neighbours_of_a_slow_handler_do_not_wait_for_it(stage: Stage, mute: EventBus) -> None:
    """After a second they are given back, and run elsewhere, while it goes on."""
    with stage.closed_gate(22):
        _, events = batch_behind_a_gate(stage, mute, 22)
        stage.start(groups=["courier"], concurrency=1)

        for event in events[1:]:
            stage.wait_for_state(event, "courier", "done")

        assert stage.delivery(events[0], "courier").state == "running"
    stage.wait_for_state(events[0], "courier", "done")
    assert charged(stage, events) == []


def test_a_rolling_deploy_loses_nothing_and_delays_nothing(stage: Stage) -> None:
    """Old workers stop and new ones start while events keep coming: each runs once, and soon."""
    old = stage.start(groups=["courier"], environment={"SHOP_DEPLOY": "yesterday"})
    events: list[Any] = []

    def publish(number: int) -> None:
        events.extend(stage.publish("parcel.sent", {}) for _ in range(number))

    publish(20)
    new = stage.start(groups=["courier"])
    publish(20)
    old.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    while old.is_running:
        publish(1)
        assert time.monotonic() - asked < 15  # three, on a machine that does nothing else
    publish(20)

    for event in events:
        stage.wait_for_state(event, "courier", "done")
    delays = [stage.effects(event, "courier")[0].at - event.created_at for event in events]
    assert [len(stage.effects(event, "courier")) for event in events] == [2] * len(events)
    assert max(delays) < timedelta(seconds=4)  # two, on a machine that does nothing else
    assert charged(stage, events) == []
    assert new.is_running
