"""Slices: what one wake-up sets going, in which order, and what it leaves to others."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from eventbus import Draft, Event, EventBus
from eventbus.errors import DatabaseBusy, DatabaseUnreachable
from eventbus.lifecycle import holding, slices
from eventbus.lifecycle.attending import Attendant
from eventbus.lifecycle.pace import Pace
from eventbus.lifecycle.settlement import Dead, Outcome, Retrying
from eventbus.lifecycle.slices import Slice
from eventbus.lifecycle.slots import Account, Slots, Status
from eventbus.storage import claiming, subscriptions
from eventbus.storage.claiming import Claimed
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.forks import Fork
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns
from tests.support.statements import noted
from tests.support.waiting import wait_until

TRIED = (
    "UPDATE eventbus.delivery SET state = 'retrying', attempts = 1, due_at = now() - interval '1 s' WHERE event_id = %s"
)
SUSPECT = "UPDATE eventbus.delivery SET state = 'retrying', suspect = true, due_at = now() - interval '1 s' WHERE event_id = %s"
STATES = "SELECT state, count(*)::int FROM eventbus.delivery GROUP BY 1"
#: Parts of statements that only one kind of claim, or of settlement, has.
NAMED, FRESH, DONE = (
    "d.state IN ('pending', 'running', 'retrying')",
    "VALUES ('pending')",
    "set_config('synchronous_commit'",
)
GIVE_BACK, GIVE_BACK_ROWS = "d.event_id <> ALL", "least(clock_timestamp(), eventbus.uuid_time"


class Behaviour:
    """What the handler of the group ``a`` does; notes what it was called with."""

    def __init__(self) -> None:
        self.ran: list[Event] = []
        self.act: Callable[[Event], Any] = lambda event: None

    def __call__(self, event: Event) -> None:
        self.ran.append(event)
        self.act(event)


behaviour = Behaviour()


def handle(event: Event) -> None:
    behaviour(event)


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Each test's own behaviour."""
    behaviour.__init__()  # type: ignore[misc]


@pytest.fixture
def execution(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of the group ``a``."""
    bus.subscribe("order.*", group="a", handler=handle, max_retries=1, give_up_on=(ZeroDivisionError,))
    return worker()


@pytest.fixture
def distant(make_bus: MakeBus, worker: MakeWorker, execution: SingleRuns, proxy: FaultProxy) -> SingleRuns:
    """The same worker, with a proxy before its database."""
    far = make_bus(database_url=proxy.url)
    far.subscribe("order.*", group="a", handler=handle, max_retries=1, give_up_on=(ZeroDivisionError,))
    return worker(far)


def publish(bus: EventBus, number: int) -> list[Event]:
    """Some events."""
    return bus.publish_many([Draft(type="order.created", data=index, source="orders") for index in range(number)])


def states(rows: Rows) -> dict[str, int]:
    """How many deliveries are in each state."""
    return dict(rows.all(STATES))


def begin(execution: SingleRuns, group: str = "a", *, pace: Pace | None = None) -> Slice:
    """A slice of *group*."""
    return Slice(execution, group, task_id="task", attendant=Attendant(execution.slots), pace=pace or quick())


def quick() -> Pace:
    """What this process knows of a handler that takes no time."""
    pace = Pace()
    pace.note("a", deliveries=1000, seconds=0.1)
    return pace


class Told:
    """Whom a slice tells of failures inside its batches."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[Event, str, Outcome]] = []

    def __call__(self, claimed: Claimed, error: BaseException, outcome: Outcome) -> None:
        self.outcomes.append((claimed.event, type(error).__name__, outcome))


def run(turn: Slice) -> Told:
    """Run all of a slice in which nothing fails alone."""
    told = Told()
    assert turn.run_alone(None) is None
    turn.run_batches(told)
    return told


def test_the_named_one_comes_first_then_a_tried_one_then_the_rest(
    bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """Whoever waited for a retry is not starved by a backlog, and what was named is what the task shows."""
    events = publish(bus, 5)
    rows.all(TRIED, str(events[1].id))
    turn = begin(execution)

    failed = turn.run_alone(events[3].id)
    turn.run_batches(Told())

    assert failed is None
    assert behaviour.ran == [events[3], events[1], events[0], events[2], events[4]]
    assert (turn.done, turn.retried, turn.dead, turn.close()) == (5, 0, 0, None)
    assert states(rows) == {"done": 5}


def test_tried_ones_never_run_beside_others(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """They may fail again, or kill their process again: each is claimed alone, and none in a batch."""
    events = publish(bus, 4)
    for event in events[:2]:
        rows.all(TRIED, str(event.id))
    held: list[int] = []
    behaviour.act = lambda event: held.append(states(rows)["running"])
    turn = begin(execution)

    run(turn)

    assert held == [1, 2, 2]
    assert states(rows) == {"done": 3, "retrying": 1}


def test_one_that_lost_its_claim_alone_keeps_no_other_from_its_turn(
    bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """Whether more is due is known only of one that was marked."""
    events = publish(bus, 3)

    def lose(event: Event) -> None:
        if event == events[1]:
            rows.all("UPDATE eventbus.delivery SET claim = 1 WHERE event_id = %s", str(event.id))

    behaviour.act = lose
    turn = begin(execution)

    assert turn.run_alone(events[1].id, everywhere=False) is None
    turn.run_batches(Told())

    assert behaviour.ran == [events[1], events[0], events[2]]
    assert states(rows) == {"running": 1, "done": 2}


@pytest.mark.parametrize("which", ["named", "tried"])
def test_a_failure_alone_ends_the_slice(which: str, bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Its task fails with it; it is settled by that, and what else is due is left to another wake-up."""
    first, second = publish(bus, 2)
    if which == "tried":
        rows.all(TRIED, str(first.id))
    error = KeyError("sku")
    behaviour.act = lambda event: _raise(error)
    turn = begin(execution)

    failed = turn.run_alone(first.id if which == "named" else None)

    assert failed is not None
    assert (failed.claimed.event, failed.error) == (first, error)
    [account] = execution.slots.list_accounts()
    assert account.error == "KeyError: 'sku'"
    before = rows.delivery(first.id, "a")["state"]
    outcome = turn.settle_failed(failed)
    assert before == "running"
    assert isinstance(outcome, Retrying if which == "named" else Dead)
    assert (turn.retried, turn.dead) == ((1, 0) if which == "named" else (0, 1))
    assert turn.close() == (second.id, second.type)


def _raise(error: BaseException) -> None:
    raise error


def test_a_failure_in_a_batch_costs_the_others_nothing(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """It is settled at once, and its own task told of it; the rest of the batch goes on."""
    events = publish(bus, 4)
    errors = {1: KeyError("sku"), 2: ZeroDivisionError()}
    behaviour.act = lambda event: _raise(errors[event.data]) if event.data in errors else None
    turn = begin(execution)

    told = run(turn)

    assert behaviour.ran == events
    assert [(event, error, type(outcome)) for event, error, outcome in told.outcomes] == [
        (events[1], "KeyError", Retrying),
        (events[2], "ZeroDivisionError", Dead),
    ]
    assert (turn.done, turn.retried, turn.dead) == (2, 1, 1)
    assert states(rows) == {"done": 2, "retrying": 1, "dead": 1}


def test_a_fault_of_ours_in_a_batch_leaves_nothing_held(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """What returned is done, what had not started is somebody else's at once, and nothing is suspected of anything."""

    def act(event: Event) -> None:
        if event.data == 2:
            raise ZeroDivisionError

    def break_down(*_: object) -> None:
        raise RuntimeError("the result backend is full")

    behaviour.act = act
    publish(bus, 5)
    turn = begin(execution)

    with pytest.raises(RuntimeError, match="is full"):
        turn.run_batches(break_down)

    assert states(rows) == {"done": 2, "dead": 1, "pending": 2}
    assert rows.value("SELECT count(*) FROM eventbus.delivery WHERE suspect") == 0
    assert [event.data for event in behaviour.ran] == [0, 1, 2]


class Panic(BaseException):
    """What is no ordinary exception."""


class Closed(Exception):
    """Nothing of it can be had."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize("way", ["alone", "batch"])
@pytest.mark.parametrize("kind", [Panic, Closed])
def test_whatever_a_handler_raises_is_a_failed_run(
    kind: type[BaseException], way: str, bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """Its neighbours are done, and the slice goes on as after any failure."""

    def act(event: Event) -> None:
        if event.data == 0:
            raise kind

    behaviour.act = act
    events = publish(bus, 3)
    turn = begin(execution)

    failed = turn.run_alone(events[0].id) if way == "alone" else None
    if failed is not None:
        assert isinstance(turn.settle_failed(failed), Retrying)
    turn.run_batches(Told())
    turn.close()

    assert states(rows) == {"done": 2, "retrying": 1}
    assert not any(account.rows for account in execution.slots.list_accounts())


def test_a_batch_that_no_ordinary_exception_ends_leaves_nothing_held(
    bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """As after any other fault of ours."""
    behaviour.act = lambda event: _raise(ZeroDivisionError())
    publish(bus, 3)
    turn = begin(execution)

    with pytest.raises(Panic):
        turn.run_batches(lambda *_: _raise(Panic()))

    assert states(rows) == {"dead": 1, "pending": 2}


def test_where_no_thread_can_be_started_nothing_is_held(
    bus: EventBus, execution: SingleRuns, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine may have no room for one; the next slice asks for it again."""
    publish(bus, 2)
    turn = begin(execution)
    attendant = turn._attendant
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="new thread"):
        patched.setattr(threading.Thread, "start", lambda _: _raise(RuntimeError("can't start new thread")))
        turn.run_batches(Told())
    before = states(rows), list(attendant._held)

    turn.run_batches(Told())

    assert before == ({"pending": 2}, [])
    assert states(rows) == {"done": 2}
    assert attendant._thread is not None
    assert attendant._thread.is_alive()


def test_the_end_of_the_process_leaves_all_to_those_who_live(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """They find in the slot what it held, and whose handler it ended in."""
    behaviour.act = lambda event: _raise(SystemExit(-241))
    publish(bus, 3)
    turn = begin(execution)

    with pytest.raises(SystemExit):
        turn.run_batches(Told())

    assert states(rows) == {"running": 3}
    [account] = execution.slots.list_accounts()
    assert [status for _, status in account.rows] == [Status.STARTED, Status.CLAIMED, Status.CLAIMED]


def test_a_slice_ends_once(execution: SingleRuns) -> None:
    """Its slot is not given to two others."""
    turn = begin(execution)

    turn.close()
    turn.close()

    assert execution.slots.take() is not execution.slots.take()


def test_a_fault_of_ours_is_told_also_where_the_database_fails_after_it(
    bus: EventBus, distant: SingleRuns, proxy: FaultProxy
) -> None:
    """It is what somebody has to mend; the leases bring back what is held."""

    def break_down(*_: object) -> None:
        proxy.lose(Fault.BEFORE, GIVE_BACK_ROWS)
        raise RuntimeError("the result backend is full")

    behaviour.act = lambda event: _raise(ZeroDivisionError())
    publish(bus, 2)
    turn = begin(distant)

    with pytest.raises(RuntimeError, match="is full"):
        turn.run_batches(break_down)

    assert proxy.lost == 1


@pytest.mark.parametrize(("lost", "left"), [(False, {"done": 3}), (True, {"running": 2, "pending": 1})])
def test_a_handler_with_a_session_settles_each_row_itself(
    lost: bool, left: dict[str, int], bus: EventBus, worker: MakeWorker, rows: Rows
) -> None:
    """Its effect and its completion are one transaction, in a batch too; a claim that was lost is not counted."""

    def write(event: Event, session: Any) -> None:
        if lost:
            rows.all("UPDATE eventbus.delivery SET claim = claim + 1 WHERE event_id = %s", str(event.id))
            execution.slots.stop() if event.data == 1 else None

    bus.subscribe("order.*", group="a", handler=write)
    execution = worker()
    events = publish(bus, 3)
    turn, told = begin(execution), Told()

    failed = turn.run_alone(events[0].id)
    turn.run_batches(told)

    assert (failed, told.outcomes) == (None, [])
    assert turn.done == (0 if lost else 3)
    assert states(rows) == left


def test_batches_are_as_large_as_the_measured_time_allows(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """One to begin with, for it may take long; then as many as fit."""
    publish(bus, 30)
    held: list[int] = []

    def look(event: Event) -> None:
        if event.data in {0, 1}:
            held.append(states(rows)["running"])

    behaviour.act = look
    pace = Pace()
    slow = Pace()
    slow.note("a", deliveries=1, seconds=0.2)

    run(begin(execution, pace=pace))
    learnt = pace.fitting("a", seconds=0.5, at_most=100)
    behaviour.ran.clear()
    publish(bus, 30)
    run(begin(execution, pace=slow))

    assert held[0] == 1
    assert 1 < learnt <= 100
    assert held[1] > 1
    assert 1 <= held[2] <= 2


def test_a_worker_that_stops_gives_the_rest_of_its_batch_back(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Uncharged and at once; the handler that runs has its time, and nothing more is claimed."""
    publish(bus, 5)
    behaviour.act = lambda event: execution.slots.stop() if event.data == 1 else None
    turn = begin(execution)

    run(turn)

    assert states(rows) == {"done": 2, "pending": 3}
    assert rows.value("SELECT count(*) FROM eventbus.delivery WHERE attempts + deaths > 0 OR claim IS NOT NULL") == 0
    assert turn.done == 2


def test_a_worker_that_stops_before_its_batch_gives_all_of_it_back(
    bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """What came between the look and the claim: no handler is called, and no time is learnt from it."""
    publish(bus, 3)
    turn, pace = begin(execution), quick()
    batch = execution.claim_batch("a", execution.claimant(task_id=None), limit=3)
    execution.slots.stop()

    turn._run_batch(batch, Told())

    assert behaviour.ran == []
    assert states(rows) == {"pending": 3}
    assert pace.fitting("a", seconds=0.5, at_most=100) == 100


def test_a_worker_that_stops_begins_nothing(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Neither what was tried nor the rest: Celery ends it when what runs has ended."""
    tried, _ = publish(bus, 2)
    rows.all(TRIED, str(tried.id))
    turn = begin(execution)
    execution.slots.stop()

    run(turn)

    assert behaviour.ran == []
    assert states(rows) == {"retrying": 1, "pending": 1}


def test_what_could_not_be_given_back_at_first_is_at_the_end_of_its_batch(
    bus: EventBus, distant: SingleRuns, proxy: FaultProxy, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would wait until its lease ends, and be a suspect for it."""
    monkeypatch.setattr(holding, "PATIENCE_SECONDS", 3600)
    publish(bus, 3)
    turn = begin(distant)
    batch = distant.claim_batch("a", distant.claimant(task_id=None), limit=3)

    def give_back_in_vain(event: Event) -> None:
        proxy.lose(Fault.BEFORE, GIVE_BACK_ROWS)
        with pytest.raises(DatabaseUnreachable):
            turn._attendant._held[0].attend(stopping=True)

    behaviour.act = give_back_in_vain

    turn._run_batch(batch, Told())

    assert [event.data for event in behaviour.ran] == [0]
    assert states(rows) == {"done": 1, "pending": 2}


def test_a_slice_that_takes_too_long_gives_back_what_it_has_not_begun(
    bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """Handlers that suddenly take longer than those before them must not hold up the rest."""
    publish(bus, 4)
    turn = begin(execution)

    def hang(event: Event) -> None:
        turn._ends_seconds -= 10

    behaviour.act = hang

    run(turn)

    assert len(behaviour.ran) == 1
    assert states(rows) == {"done": 1, "pending": 3}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("UPDATE eventbus.delivery SET due_at = due_at", True),
        ("UPDATE eventbus.delivery SET state = 'retrying', attempts = 1 WHERE state = 'pending'", True),
        ("UPDATE eventbus.delivery SET due_at = due_at + interval '1 h'", False),
        ("UPDATE eventbus.delivery SET state = 'parked' WHERE state = 'pending'", False),
        ("UPDATE eventbus.consumer_group SET paused = true", False),
        (
            "UPDATE eventbus.delivery SET subscription_id = (SELECT max(id) FROM eventbus.subscription) "
            "WHERE state = 'pending'",
            False,
        ),
    ],
    ids=["fresh", "tried", "later", "parked", "paused", "unknown"],
)
def test_one_more_wake_up_is_sent_only_for_what_this_worker_may_claim(
    change: str, wanted: bool, bus: EventBus, make_bus: MakeBus, execution: SingleRuns, rows: Rows
) -> None:
    """Anything else would have it spin: wake up, claim nothing, wake up."""
    other = make_bus()
    other.subscribe("invoice.*", group="a", handler=handle)
    other.sync()
    first, second = publish(bus, 2)
    turn = begin(execution)
    turn._ends_seconds -= 10

    turn.run_alone(first.id)
    rows.all(change)

    assert behaviour.ran == [first]
    assert turn.close() == ((second.id, second.type) if wanted else None)


def test_a_slice_that_claimed_nothing_sends_no_wake_up(bus: EventBus, execution: SingleRuns) -> None:
    """However much is due by now: whoever made it so has told of it."""
    turn = begin(execution)
    turn._ends_seconds -= 10

    turn.run_alone(uuid4())
    publish(bus, 1)

    assert turn.close() is None


def test_many_tried_ones_call_for_one_more_wake_up(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """A slice runs few of them, for each runs alone; the others' own messages may be lost."""
    events = publish(bus, 4)
    for event in events:
        rows.all(TRIED, str(event.id))
    turn = begin(execution)

    run(turn)

    assert len(behaviour.ran) == 1
    due = turn.close()
    assert due is not None
    assert due[0] in {event.id for event in events[1:]}


def test_a_slice_puts_its_slot_back(bus: EventBus, execution: SingleRuns) -> None:
    """Slice after slice, one slot, which holds nothing in between."""
    publish(bus, 3)

    for _ in range(3):
        turn = begin(execution)
        run(turn)
        turn.close()

    [account] = execution.slots.list_accounts()
    assert (account.claim, account.rows) == (0, [])


@pytest.mark.parametrize(
    "why",
    [
        "state = 'retrying', suspect = true",
        "state = 'retrying', deaths = 1",
        "state = 'running', claim = 7",
        "state = 'running', claim = 7, started_at = now()",
    ],
    ids=["suspect", "died before", "lease ended", "died at its last start"],
)
def test_a_suspect_waits_while_another_process_runs_one(
    why: str, bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """Two that kill their worker must not do it at once; what is no suspect is not held up."""
    suspect, plain = publish(bus, 2)
    rows.all(
        f"UPDATE eventbus.delivery SET {why}, due_at = now() - interval '1 s' WHERE event_id = %s", str(suspect.id)
    )

    def child(fork: Fork) -> None:
        fork.report(str(execution.slots.begin_suspect()))
        fork.wait()

    with Fork(child) as forked:
        assert forked.hear() == "True"
        named, due = begin(execution), begin(execution)
        named.run_alone(suspect.id)
        run(due)
        meanwhile = list(behaviour.ran)
        forked.kill()
        for _ in range(2):
            run(begin(execution))

    assert meanwhile == [plain]
    assert behaviour.ran == [plain, suspect]


def test_a_suspect_has_the_right_while_it_runs_and_not_longer(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Its start is committed before its handler is called; what is no suspect does not keep the right from others."""
    suspect, plain = publish(bus, 2)
    rows.all(SUSPECT, str(suspect.id))
    found: list[tuple[bool, bool]] = []

    def look(event: Event) -> None:
        found.append((may_another_run_a_suspect(execution.slots), bool(rows.delivery(event.id, "a")["started_at"])))

    behaviour.act = look

    for event in (suspect, plain):
        begin(execution).run_alone(event.id)

    assert found == [(False, True), (True, False)]
    assert may_another_run_a_suspect(execution.slots)


def test_what_is_no_suspect_leaves_the_right_to_whoever_has_it(bus: EventBus, execution: SingleRuns) -> None:
    """It gives back what it has taken itself, and nothing else: two suspects would run at once."""
    [plain] = publish(bus, 1)
    execution.slots.begin_suspect()

    begin(execution).run_alone(plain.id)

    assert behaviour.ran == [plain]
    assert not may_another_run_a_suspect(execution.slots)
    execution.slots.end_suspect()


def may_another_run_a_suspect(slots: Slots) -> bool:
    """Whether another thread of the process may run one now."""
    answers: list[bool] = []

    def ask() -> None:
        answers.append(slots.begin_suspect())
        if answers[0]:
            slots.end_suspect()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return answers[0]


def test_a_death_that_is_found_is_charged_and_nothing_is_run(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """A committed start whose lease has ended: the process, and whoever watched it, are gone."""
    [event] = publish(bus, 1)
    rows.all(
        "UPDATE eventbus.delivery SET state = 'running', claim = 7, started_at = now(), suspect = true, "
        "due_at = now() - interval '1 s'"
    )
    turn = begin(execution)
    turn._ends_seconds -= 10

    failed = turn.run_alone(event.id)

    row = rows.delivery(event.id, "a")
    assert failed is None
    assert behaviour.ran == []
    assert (row["state"], row["deaths"], row["attempts"]) == ("retrying", 1, 0)
    assert turn.retried == 1


def test_a_suspect_whose_claim_was_lost_is_not_run(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Its start cannot be committed, so its handler is not called."""
    [event] = publish(bus, 1)
    rows.all(SUSPECT, str(event.id))
    claimed = execution.take("a", event.id)
    assert claimed is not None
    rows.all("UPDATE eventbus.delivery SET claim = 7")
    turn = begin(execution)
    turn._slot.expect("a", claimed.claim)

    failed = turn._run_claimed(claimed)

    assert failed is None
    assert behaviour.ran == []
    assert (turn.done, turn.retried, turn.dead) == (0, 0, 0)


@pytest.mark.parametrize("way", ["alone", "batch"])
def test_what_was_replayed_while_it_ran_is_woken_for_again(
    way: str, bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """Its replay's own wake-up came while it was running, and found nothing to claim."""
    done, dead = publish(bus, 2)
    behaviour.act = lambda event: _replay(rows, event) or (_raise(ZeroDivisionError()) if event == dead else None)
    turn = begin(execution)

    if way == "alone":
        turn._ends_seconds -= 10
        assert turn.run_alone(done.id) is None
        failed = turn.run_alone(dead.id)
        assert failed is not None
        turn.settle_failed(failed)
    else:
        batch = execution.claim_batch("a", execution.claimant(task_id=None), limit=2)
        turn._slot.expect("a", batch[0].claim)
        turn._run_batch(batch, Told())

    assert {claimed.event.id for claimed in turn.again} == {done.id, dead.id}
    assert states(rows) == {"pending": 2}
    assert (turn.done, turn.dead) == (1, 1)


def _replay(rows: Rows, event: Event) -> None:
    rows.all("UPDATE eventbus.delivery SET rerun = true WHERE event_id = %s", str(event.id))


@pytest.mark.parametrize("way", ["named", "tried", "batch"])
def test_a_claims_fence_is_in_the_slot_before_the_claim_is_made(
    way: str, bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """Whenever its process dies after that, its worker knows what it held, and renews its lease until then."""
    [event] = publish(bus, 1)
    if way == "tried":
        rows.all(TRIED, str(event.id))
    claims: list[int] = []
    held: list[tuple[Account, int]] = []
    behaviour.act = lambda event: held.append((only(execution.slots), rows.delivery(event.id, "a")["claim"]))
    turn = begin(execution)

    with noted(execution.database, lambda *_: claims.append(only(execution.slots).claim)):
        if way == "batch":
            turn.run_batches(Told())
        else:
            turn.run_alone(event.id if way == "named" else None)

    [(account, claim)] = held
    assert claims[0] == account.claim == claim
    assert (account.group, account.rows) == ("a", [(event.id, Status.STARTED)])


@pytest.mark.parametrize("way", ["alone", "batch"])
@pytest.mark.parametrize("status", [Status.RETURNED, Status.FAILED], ids=["returned", "failed"])
def test_a_slot_says_how_a_run_ended_before_that_is_settled(
    status: Status, way: str, bus: EventBus, execution: SingleRuns
) -> None:
    """A process that dies in between is charged no death, and what returned is not run again."""
    [event] = publish(bus, 1)
    behaviour.act = lambda event: _raise(KeyError("sku")) if status is Status.FAILED else None
    accounts: list[Account] = []
    turn = begin(execution)

    with noted(execution.database, lambda *_: accounts.append(only(execution.slots))):
        if way == "batch":
            turn.run_batches(Told())
        elif failed := turn.run_alone(event.id):
            turn.settle_failed(failed)

    said = [account for account in accounts if account.rows]
    assert said
    assert {tuple(account.rows) for account in said} == {((event.id, status),)}
    assert {account.error for account in said} == {"KeyError: 'sku'" if status is Status.FAILED else ""}


def only(slots: Slots) -> Account:
    """The account of the only slot that is taken."""
    [account] = slots.list_accounts()
    return account


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.ANSWERED])
@pytest.mark.parametrize("claim", [NAMED, FRESH], ids=["named", "batch"])
def test_a_claim_whose_answer_is_lost_is_given_back_at_once(
    claim: str, fault: Fault, bus: EventBus, distant: SingleRuns, proxy: FaultProxy, rows: Rows
) -> None:
    """Nobody knows which rows it took: without that they would run out their lease, and be suspects for it."""
    events = publish(bus, 3)
    turn = begin(distant)
    proxy.lose(fault, claim)

    with pytest.raises(DatabaseUnreachable):
        if claim == NAMED:
            turn.run_alone(events[0].id)
        else:
            turn.run_batches(Told())

    assert proxy.lost == 1
    assert states(rows) == {"pending": 3}
    assert rows.value("SELECT bool_or(suspect) FROM eventbus.delivery") is False
    assert turn.close() is None


#: Whoever claims a row waits, in mid-statement, until nobody holds the lock.
SLOW_CLAIMS = (
    "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN IF NEW.state = 'running' THEN PERFORM pg_advisory_xact_lock(7); END IF; RETURN NEW; END $$",
    "CREATE TRIGGER wait BEFORE UPDATE ON eventbus.delivery FOR EACH ROW EXECUTE FUNCTION public.wait()",
)
STILL_CLAIMING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"


@pytest.mark.parametrize("claim", [NAMED, FRESH], ids=["named", "batch"])
def test_a_claim_that_still_runs_when_its_connection_is_lost_takes_nothing(
    claim: str, bus: EventBus, distant: SingleRuns, proxy: FaultProxy, rows: Rows
) -> None:
    """The server does not notice before it wants to answer: rows that it took after that would wait for their lease."""
    events = publish(bus, 3)
    turn = begin(distant)
    for statement in SLOW_CLAIMS:
        rows.all(statement)
    proxy.lose(Fault.UNANSWERED, claim, keep_server_side=True)

    with rows.transaction() as other:
        other.execute("SELECT pg_advisory_xact_lock(7)")
        with pytest.raises(DatabaseUnreachable):
            turn.run_alone(events[0].id) if claim == NAMED else turn.run_batches(Told())
    wait_until(lambda: rows.value(STILL_CLAIMING) == 0)

    assert proxy.lost == 1
    assert states(rows) == {"pending": 3}


def test_a_claim_that_the_server_refuses_ends_no_connection(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """It has answered: nothing of the claim runs, and the connection is as good as before."""
    events = publish(bus, 1)
    turn = begin(execution)
    rows.all(SLOW_CLAIMS[0].replace("PERFORM pg_advisory_xact_lock(7)", "RAISE EXCEPTION 'no' USING ERRCODE = '55P03'"))
    rows.all(SLOW_CLAIMS[1])
    with execution.database.autocommit() as connection:
        pid = connection.backend_pid

    with pytest.raises(DatabaseBusy):
        turn.run_alone(events[0].id)

    with execution.database.autocommit() as connection:
        assert connection.backend_pid == pid
    assert states(rows) == {"pending": 1}


def test_the_fence_is_in_what_the_server_shows_of_a_claim() -> None:
    """It shows the first thousand characters: where a proxy hides the server's processes, they are found by it."""
    for statement in (claiming.CLAIM_NAMED, claiming.CLAIM_FRESH, claiming.CLAIM_TRIED):
        assert statement.index(":claim") < 100


def test_giving_back_an_unknown_claim_is_insisted_on(
    bus: EventBus, distant: SingleRuns, proxy: FaultProxy, rows: Rows
) -> None:
    """The database that lost one answer may lose the next."""
    publish(bus, 3)
    turn = begin(distant)
    proxy.lose(Fault.ANSWERED, FRESH)
    proxy._faults.append((Fault.BEFORE, GIVE_BACK.encode()))

    with pytest.raises(DatabaseUnreachable):
        turn.run_batches(Told())

    assert proxy.lost == 2
    assert states(rows) == {"pending": 3}


@pytest.mark.parametrize("way", ["alone", "batch"])
def test_a_settlement_that_the_database_lost_is_repeated(
    way: str, bus: EventBus, distant: SingleRuns, proxy: FaultProxy, rows: Rows
) -> None:
    """What a handler did is not done twice for that."""
    events = publish(bus, 2)
    turn = begin(distant)
    proxy.lose(Fault.BEFORE, DONE)

    turn.run_alone(events[0].id if way == "alone" else None)
    turn.run_batches(Told())

    assert proxy.lost == 1
    assert behaviour.ran == events
    assert states(rows) == {"done": 2}


@pytest.mark.parametrize(
    ("lease", "stops"),
    [(timedelta(milliseconds=1), False), (timedelta(minutes=1), True)],
    ids=["running, for longer than a lease", "stopping, for less than one"],
)
def test_a_settlement_is_insisted_on(
    lease: timedelta,
    stops: bool,
    bus: EventBus,
    make_bus: MakeBus,
    worker: MakeWorker,
    execution: SingleRuns,
    proxy: FaultProxy,
    rows: Rows,
) -> None:
    """The main process renews the lease of what runs, and a worker that stops has as long as the lease that it still has."""
    far = make_bus(database_url=proxy.url)
    far.subscribe("order.*", group="a", handler=handle, max_retries=1, give_up_on=(ZeroDivisionError,))
    distant = worker(far, lease=lease)
    [event] = publish(bus, 1)
    behaviour.act = lambda event: distant.slots.stop() if stops else None
    proxy.lose(Fault.BEFORE, DONE)

    begin(distant).run_alone(event.id)

    assert proxy.lost == 1
    assert states(rows) == {"done": 1}


def test_a_worker_that_stops_gives_a_settlement_up_after_a_lease(
    bus: EventBus, make_bus: MakeBus, worker: MakeWorker, execution: SingleRuns, proxy: FaultProxy, rows: Rows
) -> None:
    """By then the claim is lost anyway, and the worker must come to its end."""
    far = make_bus(database_url=proxy.url)
    far.subscribe("order.*", group="a", handler=handle, max_retries=1, give_up_on=(ZeroDivisionError,))
    hasty = worker(far, lease=timedelta(milliseconds=1))
    [event] = publish(bus, 1)
    behaviour.act = lambda event: hasty.slots.stop()
    turn = begin(hasty)
    proxy.lose(Fault.BEFORE, DONE, then_refuse=True)
    raised: list[DatabaseUnreachable] = []

    def attempt() -> None:
        try:
            turn.run_alone(event.id)
        except DatabaseUnreachable as error:
            raised.append(error)

    # In a thread: the time limit of a handler takes the main thread's timer, and with it the test's own limit.
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    wait_until(lambda: raised, timeout=30)

    [account] = hasty.slots.list_accounts()
    assert account.rows[0][0] == event.id
    assert states(rows) == {"running": 1}


def test_a_slice_runs_its_own_group_alone(bus: EventBus, worker: MakeWorker, rows: Rows) -> None:
    """Two groups on one worker: each message to one queue is one group's turn, with that group's handler."""
    ran: list[str] = []

    def first(event: Event) -> None:
        ran.append("a")

    def second(event: Event) -> None:
        ran.append("b")

    bus.subscribe("#", group="a", handler=first)
    bus.subscribe("#", group="b", handler=second)
    execution = worker()
    publish(bus, 2)

    run(begin(execution))
    own = dict(rows.all("SELECT group_name, min(state) FROM eventbus.delivery GROUP BY 1"))
    run(begin(execution, "b"))

    assert own == {"a": "done", "b": "pending"}
    assert ran == ["a", "a", "b", "b"]


def test_a_paused_group_has_no_turn(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Neither what was named, nor what was tried, nor the rest."""
    events = publish(bus, 3)
    rows.all(TRIED, str(events[1].id))
    with bus.database.autocommit() as connection:
        subscriptions.set_paused(connection, "a", paused=True)
    turn = begin(execution)

    turn.run_alone(events[0].id)
    turn.run_batches(Told())

    assert behaviour.ran == []
    assert turn.close() is None


def test_a_slice_ends_in_time(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """What a message sets going is about half a second of work, whatever the backlog."""
    publish(bus, 100)
    turn = begin(execution, pace=Pace())
    behaviour.act = lambda event: setattr(turn, "_ends_seconds", turn._ends_seconds - slices.SLICE_SECONDS)

    run(turn)

    assert behaviour.ran
    assert states(rows) == {"done": 1, "pending": 99}
    assert turn.close() is not None
