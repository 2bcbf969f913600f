"""Holding and attending: rows that a slow handler keeps its slice from settling are settled all the same, each once."""

import logging
import os
import threading
from typing import Any

import pytest

from eventbus import Draft, Event, EventBus
from eventbus.errors import DatabaseUnreachable
from eventbus.lifecycle import attending, holding
from eventbus.lifecycle.attending import Attendant
from eventbus.lifecycle.slots import Status
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.forks import Fork
from tests.support.holdings import Held, hold
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns
from tests.support.statements import statements
from tests.support.waiting import wait_until

STATES = "SELECT state, count(*)::int FROM eventbus.delivery GROUP BY 1"
#: Parts of statements that only one kind of settlement has.
DONE, GIVE_BACK = "set_config('synchronous_commit'", "least(clock_timestamp(), eventbus.uuid_time"


def handle(event: Any) -> None: ...


@pytest.fixture
def execution(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of the group ``a``."""
    bus.subscribe("#", group="a", handler=handle)
    return worker()


@pytest.fixture
def distant(make_bus: MakeBus, worker: MakeWorker, execution: SingleRuns, proxy: FaultProxy) -> SingleRuns:
    """The same worker, with a proxy before its database."""
    far = make_bus(database_url=proxy.url)
    far.subscribe("#", group="a", handler=handle)
    return worker(far)


def publish(bus: EventBus, number: int) -> list[Event]:
    """Some events."""
    return bus.publish_many([Draft(type="order.created", data=index, source="orders") for index in range(number)])


def states(rows: Rows) -> dict[str, int]:
    """How many deliveries are in each state."""
    return dict(rows.all(STATES))


def statuses(held: Held) -> list[Status]:
    """How the rows of a slot stand."""
    by_claim = {account.claim: [status for _, status in account.rows] for account in held.slots.list_accounts()}
    return by_claim[held.holding.claimed[0].claim]


def test_what_returned_is_marked_while_a_slow_handler_runs(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Nothing that is done waits to be known as that; what waits behind the slow one is given back to others, uncharged."""
    first, slow, waiting = publish(bus, 3)
    held = hold(execution, "a")

    with Attendant(execution.slots).watching(held.holding):
        held.holding.start(0)
        held.holding.returned(0)
        held.holding.start(1)
        wait_until(lambda: rows.delivery(first.id, "a")["state"] == "done")
        wait_until(lambda: rows.delivery(waiting.id, "a")["state"] == "pending")
        started = held.holding.start(2)

    row = rows.delivery(waiting.id, "a")
    assert not started
    assert rows.delivery(slow.id, "a")["state"] == "running"
    assert (row["claim"], row["attempts"], row["deaths"], row["suspect"]) == (None, 0, 0, False)
    assert statuses(held) == [Status.SETTLED, Status.STARTED, Status.SETTLED]
    assert held.holding.done == 1


def test_neither_happens_at_once(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """One statement for each row, or a claim for each, is what batches are there to spare."""
    publish(bus, 3)
    held = hold(execution, "a")
    held.holding.start(0)
    held.holding.returned(0)
    held.holding.start(1)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(holding, "FLUSH_SECONDS", 3600)
        patched.setattr(holding, "PATIENCE_SECONDS", 60)
        held.holding.attend(stopping=False)
    before = states(rows)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(holding, "FLUSH_SECONDS", 0)
        # A second may pass on a busy machine.
        patched.setattr(holding, "PATIENCE_SECONDS", 60)
        held.holding.attend(stopping=False)

    assert before == {"running": 3}
    assert states(rows) == {"done": 1, "running": 2}


def test_a_worker_that_stops_gives_back_at_once(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """The handler that runs has its time; what would come after it is not this worker's any more."""
    publish(bus, 3)
    held = hold(execution, "a")
    attendant = Attendant(execution.slots)

    with pytest.MonkeyPatch.context() as patched, attendant.watching(held.holding):
        patched.setattr(holding, "PATIENCE_SECONDS", 3600)
        held.holding.start(0)
        execution.slots.stop()
        wait_until(lambda: states(rows) == {"running": 1, "pending": 2})


@pytest.mark.parametrize("status", [Status.RETURNED, Status.FAILED, Status.SETTLED], ids=lambda status: status.name)
def test_between_two_handlers_nothing_is_given_back(
    status: Status, bus: EventBus, execution: SingleRuns, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slice is about to start the next; it looks itself whether the worker stops."""
    monkeypatch.setattr(holding, "FLUSH_SECONDS", 3600)
    publish(bus, 2)
    held = hold(execution, "a")
    held.holding.start(0)
    match status:
        case Status.RETURNED:
            held.holding.returned(0)
        case Status.FAILED:
            held.holding.failed(0, "KeyError")
        case _:
            held.holding.settled(0)

    held.holding.attend(stopping=True)

    assert statuses(held) == [status, Status.CLAIMED]
    assert states(rows) == {"running": 2}


def test_what_returned_waits_no_longer_for_what_returns_after_it(
    bus: EventBus, execution: SingleRuns, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handlers that return one soon after the other would put it off for ever; those that follow wait anew."""
    monkeypatch.setattr(holding, "FLUSH_SECONDS", 3600)
    publish(bus, 3)
    held = hold(execution, "a")

    def end(row: int) -> None:
        held.holding.start(row)
        held.holding.returned(row)

    end(0)
    assert held.holding._returned_seconds is not None
    held.holding._returned_seconds -= 3600
    end(1)
    held.holding.attend(stopping=False)
    end(2)
    held.holding.attend(stopping=False)

    assert statuses(held) == [Status.SETTLED, Status.SETTLED, Status.RETURNED]
    assert states(rows) == {"done": 2, "running": 1}


def test_what_is_given_back_is_never_started(restless: None, bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Two threads, each row to one of them: a handler that ran on a row that others may take would run twice."""
    publish(bus, 400)

    for _ in range(4):
        held = hold(execution, "a", limit=100)
        barrier, started = threading.Barrier(2), []

        def start(held: Held = held, barrier: threading.Barrier = barrier, started: list[int] = started) -> None:
            barrier.wait()
            started.extend(row for row in range(100) if held.holding.start(row))

        thread = threading.Thread(target=start)
        thread.start()
        barrier.wait()
        held.holding.release()
        thread.join()
        running = rows.all(
            "SELECT event_id::text FROM eventbus.delivery WHERE claim = %s", held.holding.claimed[0].claim
        )

        assert sorted(id for (id,) in running) == sorted(str(held.holding.claimed[row].event.id) for row in started)
        rows.all(
            "UPDATE eventbus.delivery SET state = 'done', claim = NULL, finished_at = now() WHERE state = 'running'"
        )


def test_what_is_given_back_keeps_its_place_in_the_line(bus: EventBus, execution: SingleRuns) -> None:
    """Behind the backlog it would wait for having been claimed too early."""
    first, second = publish(bus, 2)
    held = hold(execution, "a", limit=1)
    held.holding.release()

    again = hold(execution, "a", limit=1)

    assert held.holding.claimed[0].event == again.holding.claimed[0].event == first
    assert second != first


def test_there_is_nothing_to_release_or_to_flush_twice(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Slice and attendant both do it, one after the other; the second tells PostgreSQL nothing."""
    publish(bus, 2)
    held = hold(execution, "a")
    held.holding.start(0)
    held.holding.returned(0)

    with statements(execution.database) as sent:
        for _ in range(2):
            held.holding.flush()
            held.holding.release()

    assert states(rows) == {"done": 1, "pending": 1}
    assert held.holding.done == 1
    assert len([statement for statement in sent if not statement.startswith("PREPARE")]) == 2


def test_who_attends_late_leaves_the_next_holding_alone(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """The slot is the same, the rows are not: what the next holds would be lost until its lease ends."""
    publish(bus, 3)
    late = hold(execution, "a", limit=1)
    late.holding.start(0)
    late.holding.returned(0)
    late.holding.flush()
    held = hold(execution, "a", slot=late.slot)
    held.holding.start(0)
    held.holding.returned(0)

    late.holding.flush()
    late.holding.release()

    assert statuses(held) == [Status.RETURNED, Status.CLAIMED]
    assert states(rows) == {"done": 1, "running": 2}


def test_what_was_replayed_while_it_ran_is_known(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """It is fresh again, and its own wake-up came too early."""
    event, other = publish(bus, 2)
    held = hold(execution, "a")
    rows.all("UPDATE eventbus.delivery SET rerun = true WHERE event_id = %s", str(event.id))
    for row in (0, 1):
        held.holding.start(row)
        held.holding.returned(row)

    held.holding.flush()

    assert [claimed.event for claimed in held.holding.again] == [event]
    assert held.holding.done == 2
    assert rows.delivery(event.id, "a")["state"] == "pending"
    assert rows.delivery(other.id, "a")["state"] == "done"


def test_what_was_taken_over_is_not_counted(
    bus: EventBus, execution: SingleRuns, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else has the delivery, and settles it; the others of the same flush are done."""
    lost, kept = publish(bus, 2)
    held = hold(execution, "a")
    rows.all("UPDATE eventbus.delivery SET claim = 7 WHERE event_id = %s", str(lost.id))
    for row in (0, 1):
        held.holding.start(row)
        held.holding.returned(row)

    held.holding.flush()

    assert held.holding.done == 1
    assert rows.delivery(lost.id, "a")["state"] == "running"
    assert rows.delivery(kept.id, "a")["state"] == "done"
    assert "delivery_fenced" in [record.message for record in caplog.records]


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.ANSWERED])
def test_a_flush_that_fails_is_repeated(
    fault: Fault,
    bus: EventBus,
    distant: SingleRuns,
    proxy: FaultProxy,
    rows: Rows,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing that a handler did is forgotten because a connection broke."""
    publish(bus, 2)
    held = hold(distant, "a")
    proxy.lose(fault, DONE)

    with Attendant(distant.slots).watching(held.holding):
        held.holding.start(0)
        held.holding.returned(0)
        held.holding.start(1)
        wait_until(lambda: statuses(held)[0] is Status.SETTLED)

    assert proxy.lost == 1
    assert states(rows).get("done") == 1
    assert "settlement_repeated" in [record.message for record in caplog.records]


def test_what_could_not_be_given_back_is_not_started_and_given_back_later(
    bus: EventBus, distant: SingleRuns, proxy: FaultProxy, rows: Rows
) -> None:
    """It was offered to others: maybe they have it."""
    publish(bus, 2)
    held = hold(distant, "a")
    held.holding.start(0)
    proxy.lose(Fault.BEFORE, GIVE_BACK)

    with pytest.raises(DatabaseUnreachable):
        held.holding.release()
    started = held.holding.start(1)
    held.holding.release()

    assert not started
    assert states(rows) == {"running": 1, "pending": 1}


def test_a_fault_while_attending_to_one_leaves_the_others_attended_to(
    bus: EventBus, execution: SingleRuns, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread goes on, whatever happens: it is the only one."""
    publish(bus, 2)
    broken, sound = hold(execution, "a", limit=1), hold(execution, "a", limit=1)
    attendant = Attendant(execution.slots)
    broken.holding._returned_seconds = "no number"  # type: ignore[assignment]

    with attendant.watching(broken.holding), attendant.watching(sound.holding):
        sound.holding.start(0)
        sound.holding.returned(0)
        wait_until(lambda: states(rows) == {"done": 1, "running": 1})

    assert "attending_failed" in [record.message for record in caplog.records if record.levelno == logging.ERROR]


def test_an_attendant_rests_while_there_is_nothing_and_wakes_for_the_next(
    bus: EventBus, execution: SingleRuns, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle worker costs nothing, and a busy one a single thread in each process."""
    publish(bus, 2)
    monkeypatch.setattr(attending, "_LINGER_SECONDS", 0)
    attendant = Attendant(execution.slots)
    threads = set()
    for number in (1, 2):
        held = hold(execution, "a", limit=1)

        with attendant.watching(held.holding):
            held.holding.start(0)
            held.holding.returned(0)
            wait_until(lambda number=number: states(rows).get("done") == number)  # type: ignore[misc]
        wait_until(lambda: attendant._is_waiting)
        threads.add(attendant._thread)

    assert len(threads) == 1


def test_a_child_has_an_attendant_of_its_own(
    bus: EventBus, execution: SingleRuns, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads do not survive a fork; what the parent held at that moment is the parent's."""
    monkeypatch.setattr(holding, "FLUSH_SECONDS", 3600)
    publish(bus, 2)
    attendant = Attendant(execution.slots)

    def child(fork: Fork) -> None:
        monkeypatch.setattr(holding, "FLUSH_SECONDS", 0)
        held = hold(execution, "a", limit=1)
        with attendant.watching(held.holding):
            held.holding.start(0)
            held.holding.returned(0)
            wait_until(lambda: statuses(held) == [Status.SETTLED])
        fork.report(str(os.getpid()))

    held = hold(execution, "a", limit=1)
    held.holding.start(0)
    held.holding.returned(0)
    with attendant.watching(held.holding), Fork(child) as forked:
        reported = forked.hear()
        forked.join()

    assert reported == str(forked.pid)
    assert states(rows) == {"done": 1, "running": 1}
