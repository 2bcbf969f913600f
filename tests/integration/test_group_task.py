"""The Celery task of a group: however it ends, nothing stays held by a process that lives on."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Task
from celery.app.trace import build_tracer

from eventbus import Draft, Event, EventBus
from eventbus.embedded import EmbeddedValkey
from eventbus.lifecycle.attending import Attendant
from eventbus.lifecycle.pace import Pace
from eventbus.storage.claiming import Claimed
from eventbus.worker.task import DeliveryTask, Equipment
from eventbus.worker.task_events import TaskEvents
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns

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
    event = bus.publish("order.created", 2, source="orders")
    valkey.stop()

    state, result = run_in_worker(task, *([str(event.id)] if named else []))

    assert before == ("SUCCESS", {"done": 0, "retried": 1, "dead": 0})
    assert state == ("RETRY" if named else "SUCCESS"), result
    assert dict(rows.all(STATES)) == {"retrying": 2}
    assert [record.message for record in caplog.records if record.levelno > logging.WARNING] == []
    said = {record.message for record in caplog.records}
    assert said >= ({"retry_not_announced"} if named else {"retry_not_announced", "task_events_not_sent"})
