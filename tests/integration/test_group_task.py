"""The Celery task of a group: what becomes of it, and of its messages; nothing stays held by a process that lives on."""

import base64
import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from celery import Task
from celery.app.trace import build_tracer
from celery.events.dispatcher import EventDispatcher

from eventbus import Draft, Event, EventBus
from eventbus.embedded import EmbeddedValkey
from eventbus.lifecycle.attending import Attendant
from eventbus.lifecycle.pace import Pace
from eventbus.storage.claiming import Claimed
from eventbus.worker.task import DeliveryTask, Equipment
from eventbus.worker.task_events import TaskEvents
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns

Messages = Callable[[str], list[dict[str, Any]]]
#: Parts of statements that only one kind of question has.
CLAIM_NAMED, FIND_DUE = "d.state IN ('pending', 'running', 'retrying')", "(1, 'running'), (2, 'pending')"
STATES = "SELECT state, count(*)::int FROM eventbus.delivery GROUP BY 1"


class Panic(BaseException):
    """What is no ordinary exception."""


@dataclass(frozen=True, kw_only=True)
class Broken(SingleRuns):
    """An execution that cannot settle failures."""

    fault: BaseException

    def fail(self, claimed: Claimed, error: BaseException) -> Any:
        raise self.fault


def fail(event: Event) -> None:
    raise ValueError(event.data)


@pytest.fixture
def execution(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of the group ``a``, whose handler fails."""
    bus.subscribe("order.created", group="a", handler=fail, max_retries=0)
    return worker()


@pytest.fixture
def task_of(bus: EventBus) -> Callable[[SingleRuns], Task]:
    """A function that returns the group's task, as a worker with this execution has it."""
    return lambda execution: equip(bus, execution)


def equip(bus: EventBus, execution: SingleRuns, *, shows_events: bool = False) -> Task:
    """The task of the group ``a`` of *bus*, in a worker with *execution*."""
    task: DeliveryTask = bus.app.tasks[bus.settings.queue("a")]
    task.runtime.equipment = Equipment(
        execution=execution,
        attendant=Attendant(execution.slots),
        pace=Pace(),
        waking=bus.waking,
        events=TaskEvents(bus.app, hostname="w@h", are_sent=shows_events),
    )
    return task


def run_in_worker(task: Task, *args: str) -> Any:
    """What a worker's process makes of a message with *args*: the state of the task, and its result."""
    trace = build_tracer(task.name, task, app=task.app)
    ended = trace("id-1", args, {}, {"id": "id-1", "args": args, "kwargs": {}, "delivery_info": {}, "is_eager": False})
    return (ended.info.state if ended.info else "SUCCESS"), ended.retval


def broken(execution: SingleRuns, fault: BaseException) -> Broken:
    """*execution*, which meets *fault* where it settles a failure."""
    return Broken(
        database=execution.database,
        known=execution.known,
        reading=execution.reading,
        lease=execution.lease,
        worker=execution.worker,
        fault=fault,
    )


@pytest.mark.parametrize("fault", [RuntimeError("full"), Panic("full")])
@pytest.mark.parametrize("named", [True, False])
def test_a_fault_of_ours_leaves_nothing_held(
    fault: BaseException,
    named: bool,
    bus: EventBus,
    execution: SingleRuns,
    task_of: Callable[[SingleRuns], Task],
    rows: Rows,
) -> None:
    """Neither by the delivery that the task names, nor by a batch: leases are renewed only for what a slot holds."""
    events = bus.publish_many([Draft(type="order.created", data=index, source="orders") for index in range(3)])
    failing = broken(execution, fault)

    with contextlib.suppress(Panic, RuntimeError):
        task_of(failing).apply((str(events[0].id),) if named else ())

    assert [account.rows for account in failing.slots.list_accounts()] == [[]]
    # The one whose handler ran waits for the end of its lease.
    assert dict(rows.all(STATES)) == {"running": 1, "pending": 2}


@pytest.mark.parametrize("named", [True, False])
def test_a_failed_run_is_retried_though_its_broker_was_lost(
    named: bool,
    make_bus: MakeBus,
    worker: MakeWorker,
    rows: Rows,
    valkey: EmbeddedValkey,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whether or not a message names it, also in a worker that shows Flower what it does, and had a connection for that."""
    bus = make_bus(broker_url=valkey.url)
    bus.subscribe("order.created", group="a", handler=fail)
    task = equip(bus, worker(bus), shows_events=True)
    task.app.conf.broker_url = valkey.url
    bus.publish("order.created", 1, source="orders")
    before = run_in_worker(task)
    rows.all("UPDATE eventbus.delivery SET due_at = due_at + interval '1 h'")
    event = bus.publish("order.created", 2, source="orders")
    valkey.stop()

    state, result = run_in_worker(task, *([str(event.id)] if named else []))

    assert before == ("SUCCESS", {"done": 0, "retried": 1, "dead": 0})
    assert state == ("RETRY" if named else "SUCCESS"), result
    assert dict(rows.all(STATES)) == {"retrying": 2}
    assert [record.message for record in caplog.records if record.levelno > logging.WARNING] == []
    said = {record.message for record in caplog.records}
    assert said >= ({"retry_not_announced"} if named else {"retry_not_announced", "task_events_not_sent"})


@pytest.fixture
def retrying(bus: EventBus, worker: MakeWorker) -> Task:
    """The task of a group that retries more often than Celery does of its own accord."""
    # Not longer than a message may wait for: the sixth wait is 32 s at most.
    bus.subscribe("order.created", group="a", handler=fail, max_retries=9, backoff=timedelta(seconds=1))
    return equip(bus, worker(), shows_events=True)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of tasks that Flower is shown, as Celery's dispatcher sends them."""
    found: list[str] = []
    monkeypatch.setattr(EventDispatcher, "_publish", lambda self, event, *_, **__: found.append(event["uuid"]))
    return found


@pytest.mark.parametrize("named", [True, False])
def test_a_retrys_message_says_which_event_it_is_for_and_how_often_it_failed(
    named: bool,
    bus: EventBus,
    retrying: Task,
    rows: Rows,
    redis_client: Any,
    messages: Messages,
    shown: list[str],
) -> None:
    """Under the id of the task that shows the failure: its own if its message named the event, else a new one."""
    event = bus.publish("order.created", 1, source="orders")
    redis_client.delete(bus.settings.queue("a"))
    if named:
        rows.all("UPDATE eventbus.delivery SET attempts = 5, state = 'retrying'")

    state, _ = run_in_worker(retrying, *([str(event.id)] if named else []))

    [message] = messages("a")
    headers = message["headers"]
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert state == ("RETRY" if named else "SUCCESS")
    assert (headers["task"], args, kwargs) == (retrying.name, [str(event.id)], {})
    assert (headers["argsrepr"], headers["kwargsrepr"]) == (f"order.created {event.id}", "{}")
    assert headers["retries"] == (6 if named else 1)
    assert {headers["id"]} == ({"id-1"} if named else set(shown))
    assert datetime.fromisoformat(headers["eta"]) > rows.value("SELECT due_at FROM eventbus.delivery")


@pytest.mark.parametrize("named", [True, False])
def test_a_long_wait_has_no_message(
    named: bool,
    bus: EventBus,
    retrying: Task,
    rows: Rows,
    redis_client: Any,
    messages: Messages,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would sit in the memory of one worker; PostgreSQL keeps it."""
    monkeypatch.setattr("eventbus.worker.task.LONGEST_ETA_SECONDS", 0)
    event = bus.publish("order.created", 1, source="orders")
    redis_client.delete(bus.settings.queue("a"))

    state, _ = run_in_worker(retrying, *([str(event.id)] if named else []))

    assert state == ("RETRY" if named else "SUCCESS")
    assert dict(rows.all(STATES)) == {"retrying": 1}
    assert messages("a") == []


@pytest.mark.parametrize("named", [True, False])
def test_what_is_dead_is_settled_once_and_has_no_message(
    named: bool,
    bus: EventBus,
    execution: SingleRuns,
    rows: Rows,
    redis_client: Any,
    messages: Messages,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A task that names it has failed; one that found it in a batch goes on with the others."""
    events = bus.publish_many([Draft(type="order.created", data=index, source="orders") for index in range(2)])
    redis_client.delete(bus.settings.queue("a"))
    task = equip(bus, execution)

    state, result = run_in_worker(task, *([str(events[0].id)] if named else []))

    assert (state, dict(rows.all(STATES))) == (
        ("FAILURE", {"dead": 1, "pending": 1}) if named else ("SUCCESS", {"dead": 2})
    )
    assert named or result == {"done": 0, "retried": 0, "dead": 2}
    assert [message["headers"]["argsrepr"] for message in messages("a")] == [f"order.created {events[1].id}"] * named
    assert "delivery_fenced" not in [record.message for record in caplog.records]


@pytest.mark.parametrize("strange", [(), ("no uuid",), (7,), (None,), ([],), ({},)])
def test_a_message_that_names_no_event_still_is_a_wake_up(
    strange: tuple[Any, ...], bus: EventBus, worker: MakeWorker
) -> None:
    """Somebody's mistake keeps nobody's events waiting."""
    bus.subscribe("order.created", group="a", handler=print)
    task = equip(bus, worker())
    bus.publish("order.created", 1, source="orders")

    assert run_in_worker(task, *strange) == ("SUCCESS", {"done": 1, "retried": 0, "dead": 0})


def test_a_delivery_that_was_replayed_while_it_ran_alone_has_a_message_again(
    bus: EventBus, worker: MakeWorker, rows: Rows, redis_client: Any, messages: Messages
) -> None:
    """What the replay has sent came too early."""
    bus.subscribe(
        "order.created", group="a", handler=lambda event: rows.all("UPDATE eventbus.delivery SET rerun = true")
    )
    task = equip(bus, worker())
    event = bus.publish("order.created", 1, source="orders")
    redis_client.delete(bus.settings.queue("a"))

    run_in_worker(task, str(event.id))

    assert [message["headers"]["argsrepr"] for message in messages("a")] == [f"order.created {event.id}"]


@pytest.mark.parametrize("when", ["claiming", "closing"])
def test_a_database_that_is_lost_costs_a_wake_up_and_no_slot(
    when: str,
    bus: EventBus,
    make_bus: MakeBus,
    worker: MakeWorker,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No handler has failed, so no task has."""
    monkeypatch.setattr("eventbus.lifecycle.slices.SLICE_SECONDS", 0)
    with FaultProxy(database_url) as proxy:
        far = make_bus(database_url=proxy.url)
        far.subscribe("order.created", group="a", handler=print)
        execution = worker(far)
        task = equip(far, execution)
        states = []
        for _ in range(2):
            [event, *_] = bus.publish_many([Draft(type="order.created", data=1, source="orders") for _ in range(2)])
            proxy.lose(Fault.BEFORE, CLAIM_NAMED if when == "claiming" else FIND_DUE)
            states.append(run_in_worker(task, str(event.id))[0])

    assert states == ["IGNORED" if when == "claiming" else "SUCCESS"] * 2
    assert [account.rows for account in execution.slots.list_accounts()] == [[]]
    assert [record.message for record in caplog.records].count("wake_up_dropped") == 2


def test_a_group_is_not_what_its_app_says_of_tasks_in_general(
    bus: EventBus, redis_client: Any, messages: Messages
) -> None:
    """What is right for the app's own tasks would repeat wake-ups, keep a result for each, or send them where nobody serves."""
    bus.app.conf.update(task_acks_late=True, task_ignore_result=False, task_default_queue="elsewhere")
    bus.app.finalize()
    bus.subscribe("order.created", group="a", handler=print)
    task = bus.app.tasks[bus.settings.queue("a")]
    bus.app.conf.broker_url = bus.settings.broker_url

    task.delay("named without the bus")

    assert (task.acks_late, task.ignore_result) == (False, True)
    assert len(messages("a")) == 1
