"""Workers that die, messages that are lost or make no sense: nothing is missing afterwards, and nobody else suffers."""

import base64
import json
import os
import pickle
import signal
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from eventbus.embedded import Servers
from tests.e2e.conftest import make_stage
from tests.e2e.stage import TIMEOUT, Stage
from tests.support import wait_until
from tests.support.workers import WorkerProcess


@pytest.fixture(scope="module")
def stage(servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage whose workers lose what they hold after a second without a sign of life."""
    yield from make_stage(servers, template_database, tmp_path_factory, EVENTBUS_LEASE_SECONDS="1")


@pytest.fixture
def workers(stage: Stage) -> Iterator[None]:
    """The test's workers end with it."""
    stage.sync()
    yield
    stage.end_workers()


def steps(stage: Stage, event: Any) -> list[str]:
    """What the courier has noted of *event*."""
    return [item.facts["step"] for item in stage.effects(event, "courier")]


@pytest.mark.usefixtures("workers")
def test_an_event_whose_worker_was_killed_is_handled_again(stage: Stage) -> None:
    """SIGKILL in mid-handler: when the lease has ended, a sweep brings the event to another worker."""
    doomed = stage.start(groups=["courier"], concurrency=1)
    with stage.closed_gate(7):
        event = stage.publish("parcel.sent", {"gate": 7})
        stage.wait_for_effects(event, "courier")
        doomed.kill()
    stage.start(groups=["courier"])

    row = stage.wait_for_state(event, "courier", "done", sweeping=True)

    assert steps(stage, event) == ["started", "started", "ended"]
    assert stage.states(event, "courier")[:3] == ["pending", "running", "running"]
    assert (row.attempts, row.deaths) == (0, 0)
    runs = [item for item in stage.history(event, "courier") if item.state == "running"]
    assert runs[1].at >= runs[0].due_at


@pytest.mark.usefixtures("workers")
def test_an_event_whose_process_was_killed_is_handled_again(stage: Stage) -> None:
    """Only the pool's child dies: the worker lives, and handles the event again after its lease."""
    worker = stage.start(groups=["courier"], concurrency=1)
    with stage.closed_gate(8):
        event = stage.publish("parcel.sent", {"gate": 8})
        (effect,) = stage.wait_for_effects(event, "courier")
        os.kill(effect.pid, signal.SIGKILL)

    stage.wait_for_state(event, "courier", "done", sweeping=True)

    assert steps(stage, event) == ["started", "started", "ended"]
    assert worker.is_running


@pytest.mark.usefixtures("workers")
def test_a_zombie_cannot_settle(stage: Stage) -> None:
    """A worker that wakes up after its lease has ended changes nothing: another one has handled the event by then."""
    frozen = stage.start(groups=["courier"], concurrency=1)
    with stage.closed_gate(9):
        event = stage.publish("parcel.sent", {"gate": 9})
        stage.wait_for_effects(event, "courier")
        frozen.freeze()
    stage.start(groups=["courier"], concurrency=1)
    done = stage.wait_for_state(event, "courier", "done", sweeping=True)

    frozen.thaw()
    frozen.wait_for_log(f"delivery_fenced event_id={event.id}", timeout=TIMEOUT)

    assert stage.delivery(event, "courier") == done
    assert steps(stage, event) == ["started", "started", "ended", "ended"]


@pytest.mark.usefixtures("workers")
def test_an_event_that_kills_its_process_ends_as_a_dead_letter(stage: Stage) -> None:
    """After three deaths it is given up; its neighbours are handled and lose no attempt."""
    worker = stage.start(groups=["deadly"])
    event = stage.publish("death.asked", {"deadly": True})
    neighbours = [stage.publish("death.asked", {"deadly": False}) for _ in range(5)]

    stage.wait_for_state(event, "deadly", "dead", sweeping=True)

    details = stage.dead_letter(event, "deadly")
    assert (details.letter.attempts, details.letter.deaths) == (0, 3)
    assert details.letter.error_type == "eventbus.errors.HandlerDied"
    assert [item.kind for item in details.attempts] == ["death"] * 3
    for neighbour in neighbours:
        row = stage.wait_for_state(neighbour, "deadly", "done", sweeping=True)
        assert (row.attempts, row.deaths) == (0, 0)
    assert worker.is_running


@pytest.mark.usefixtures("workers")
def test_lost_messages_are_repaired_by_a_sweep(stage: Stage) -> None:
    """The queue is deleted, as by a Redis that lost its memory: one sweep wakes for every event that is due."""
    events = [stage.publish("parcel.sent", {}) for _ in range(5)]
    assert stage.broker.delete(stage.queue("courier")) == 1
    stage.start(groups=["courier"])

    sent = stage.bus.sweep()

    assert sent["courier"] == len(events)
    for event in events:
        stage.wait_for_state(event, "courier", "done")
        assert steps(stage, event) == ["started", "ended"]
    assert "courier" not in stage.bus.sweep()


@pytest.mark.usefixtures("workers")
def test_a_sweep_that_finds_nothing_lost_does_no_harm(stage: Stage) -> None:
    """Its wake-ups are repeated messages: what runs or is done is not run again."""
    stage.start(groups=["courier"])
    with stage.closed_gate(10):
        held = stage.publish("parcel.sent", {"gate": 10})
        stage.wait_for_effects(held, "courier")
        assert stage.bus.sweep().get("courier", 0) <= 1
    stage.wait_for_state(held, "courier", "done")


def raw_message(queue: str, task: str, body: bytes, content_type: str = "application/json") -> str:
    """A message as Celery's Redis transport would store it."""
    task_id = str(uuid4())
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "binary" if "json" not in content_type else "utf-8",
            "content-type": content_type,
            "headers": {
                "lang": "py",
                "task": task,
                "id": task_id,
                "root_id": task_id,
                "argsrepr": "()",
                "kwargsrepr": "{}",
            },
            "properties": {
                "correlation_id": task_id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
            },
        }
    )


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


@pytest.fixture(scope="module")
def robust(stage: Stage) -> Iterator[WorkerProcess]:
    """A worker that is to survive whatever lies in its queue."""
    yield stage.start(groups=["inventory"])
    stage.end_workers()


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], [None], [7], [{"id": 1}], ["00000000-0000-7000-8000-000000000000"], ["x", "y", "z"]],
    ids=repr,
)
def test_a_malformed_wake_up_still_wakes(stage: Stage, robust: WorkerProcess, arguments: list[Any]) -> None:
    """What a message names is a hint: whatever it says, the group's oldest due event is handled."""
    queue = stage.queue("inventory")
    event = stage.publish("order.created", {"number": 1})
    stage.wait_for_state(event, "inventory", "done")
    stage.change(
        "UPDATE eventbus.delivery SET state = 'pending', finished_at = NULL WHERE event_id = :id AND group_name = 'inventory'",
        id=event.id,
    )

    stage.app.send_task(queue, arguments, {"odd": 1}, queue=queue)

    stage.wait_for_effects(event, "inventory", 2)
    stage.wait_for_state(event, "inventory", "done")


def test_messages_that_are_not_for_us_are_dropped(
    stage: Stage, robust: WorkerProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Unknown tasks, bodies that are no JSON, and pickles, which are never opened: the worker goes on with the next."""
    queue = stage.queue("inventory")
    bomb = tmp_path_factory.mktemp("bomb") / "exploded"
    for message in (
        raw_message(queue, "no.such.task", b"[[], {}, {}]"),
        raw_message(queue, queue, b"not json"),
        raw_message(queue, queue, b"\xff\xfe"),
        raw_message(queue, queue, pickle.dumps(((Bomb(str(bomb)),), {}, {})), "application/x-python-serialize"),
        raw_message(queue, queue, b"[[], {}, {}]", "application/x-unheard-of"),
    ):
        stage.broker.lpush(queue, message)

    event = stage.publish("order.created", {"number": 2})

    stage.wait_for_state(event, "inventory", "done")
    wait_until(lambda: stage.broker.llen(queue) == 0, timeout=TIMEOUT)
    assert robust.is_running
    assert not bomb.exists()
