"""Accounting: what a dead process held is settled by what its slot says, once, and nothing is charged that had not begun."""

import dataclasses
import os
import signal
from collections.abc import Sequence
from typing import Any

import pytest

from eventbus import Draft, Event, EventBus
from eventbus.errors import DatabaseUnreachable
from eventbus.lifecycle.accounting import settle_account
from eventbus.lifecycle.attending import Attendant
from eventbus.lifecycle.holding import Holding
from eventbus.lifecycle.pace import Pace
from eventbus.lifecycle.slices import Slice
from eventbus.lifecycle.slots import Account, Slots, Status
from eventbus.storage import claiming
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.forks import Fork
from tests.support.holdings import hold
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns

STATES = "SELECT state, count(*)::int FROM eventbus.delivery GROUP BY 1"
ROWS = "SELECT state, attempts, deaths, claim, last_error FROM eventbus.delivery ORDER BY event_id"
REASON = "its process was killed by SIGKILL while the handler ran"


def handle(event: Event) -> None:
    if event.data == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def execution(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of the group ``a``."""
    bus.subscribe("#", group="a", handler=handle, max_retries=1)
    return worker()


@pytest.fixture
def distant(make_bus: MakeBus, worker: MakeWorker, execution: SingleRuns, proxy: FaultProxy) -> SingleRuns:
    """The main process of the same worker, with a proxy before its database."""
    far = make_bus(database_url=proxy.url)
    far.subscribe("#", group="a", handler=handle, max_retries=1)
    return dataclasses.replace(worker(far), slots=execution.slots)


def publish(bus: EventBus, *data: Any) -> list[Event]:
    """Some events."""
    return bus.publish_many([Draft(type="order.created", data=item, source="orders") for item in data])


def die_holding(execution: SingleRuns, statuses: Sequence[Status]) -> Account:
    """What is left of a process that claimed as many rows, got so far with them, and was killed."""

    def child(fork: Fork) -> None:
        held = hold(execution, "a", limit=len(statuses))
        for row, status in enumerate(statuses):
            if status is Status.FAILED:
                held.slot.fail(row, "KeyError: 'sku'")
            else:
                held.slot.set(row, status)
        fork.report("holds")
        fork.wait()

    with Fork(child) as forked:
        assert forked.hear() == "holds"
    return only_dead(execution.slots)


def only_dead(slots: Slots) -> Account:
    """The account of the only process that is dead."""
    [account] = [account for account in slots.list_accounts() if slots.is_dead(account)]
    return account


def states(rows: Rows) -> dict[str, int]:
    """How many deliveries are in each state."""
    return dict(rows.all(STATES))


def test_a_handler_whose_time_was_up_has_failed(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """That its process had to be ended for it is no death: as many runs as any other failure."""
    publish(bus, 1, 2)
    account = die_holding(execution, [Status.STARTED, Status.CLAIMED])

    settle_account(execution, account, reason="it did not listen", is_timeout=True)

    error = "eventbus.errors.HandlerTimeout: the handler ran longer than its timeout of 900 s: it did not listen."
    assert rows.all(ROWS) == [("retrying", 1, 0, None, error), ("pending", 0, 0, None, None)]
    assert rows.all("SELECT kind FROM eventbus.attempt") == [("error",)]


def test_each_row_is_settled_by_how_far_it_got(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Only the one whose handler ran is charged the death, only the one that failed an attempt."""
    publish(bus, *range(5))
    account = die_holding(execution, [Status.STARTED, Status.RETURNED, Status.FAILED, Status.CLAIMED, Status.RELEASED])

    settle_account(execution, account, reason=REASON)

    died = f"eventbus.errors.HandlerDied: {REASON} (run 1)"
    assert rows.all(ROWS) == [
        ("retrying", 0, 1, None, died),
        ("done", 0, 0, None, None),
        ("retrying", 1, 0, None, "KeyError: 'sku'"),
        ("pending", 0, 0, None, None),
        ("pending", 0, 0, None, None),
    ]
    assert rows.all("SELECT kind, error_type, worker FROM eventbus.attempt ORDER BY event_id") == [
        ("death", "eventbus.errors.HandlerDied", "worker-1"),
        ("error", "KeyError", "worker-1"),
    ]
    assert execution.slots.list_accounts() == []


@pytest.mark.parametrize(
    ("status", "charged", "error_type"),
    [(Status.STARTED, "deaths = 2", "eventbus.errors.HandlerDied"), (Status.FAILED, "attempts = 1", "KeyError")],
)
def test_the_last_run_ends_as_a_dead_letter(
    status: Status, charged: str, error_type: str, bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """Also when nobody but the slot could tell how it ended."""
    publish(bus, 1)
    account = die_holding(execution, [status])
    rows.all(f"UPDATE eventbus.delivery SET {charged}")

    settle_account(execution, account, reason=REASON)

    assert states(rows) == {"dead": 1}
    assert rows.all("SELECT error_type, status FROM eventbus.dead_letter") == [(error_type, "open")]


def test_what_was_settled_before_the_death_is_left_alone(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """The process had no time to note it, or somebody has taken over since: the claim says so."""
    publish(bus, *range(4))
    account = die_holding(execution, [Status.STARTED, Status.FAILED, Status.RETURNED, Status.CLAIMED])
    rows.all("UPDATE eventbus.delivery SET claim = 7")
    before = rows.all(ROWS)

    settle_account(execution, account, reason=REASON)

    assert rows.all(ROWS) == before
    assert rows.count("attempt") == 0
    assert execution.slots.list_accounts() == []


def test_rows_that_were_claimed_and_not_noted_are_given_back(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """The claim is noted before it is made, so that no death between the two costs a lease."""
    publish(bus, *range(3))

    def child(fork: Fork) -> None:
        slot = execution.slots.take()
        claimant = execution.claimant(task_id=None)
        slot.expect("a", claimant.claim)
        execution.claim_batch("a", claimant, limit=3)
        fork.report("claimed")
        fork.wait()

    with Fork(child) as forked:
        forked.hear()
    account = only_dead(execution.slots)
    before = states(rows)

    settle_account(execution, account, reason=REASON)

    assert account.rows == []
    assert before == {"running": 3}
    assert states(rows) == {"pending": 3}
    assert rows.value("SELECT bool_or(suspect) FROM eventbus.delivery") is False


def test_a_process_that_held_nothing_costs_nothing(execution: SingleRuns, make_bus: MakeBus) -> None:
    """Not even a database that answers: processes come and go."""
    nowhere = dataclasses.replace(
        execution, database=make_bus(database_url="postgresql://127.0.0.1:1/nowhere").database
    )

    def child(fork: Fork) -> None:
        execution.slots.put_back(execution.slots.take())
        fork.report("took")
        fork.wait()

    with Fork(child) as forked:
        forked.hear()

    settle_account(nowhere, only_dead(execution.slots), reason=REASON)

    assert execution.slots.list_accounts() == []


def test_what_happened_between_a_look_and_the_death_counts(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """A slot is read, then its process is found dead: in between it may have gone on, even to its next claim."""
    publish(bus, *range(3))

    def child(fork: Fork) -> None:
        held = hold(execution, "a", limit=1)
        held.holding.start(0)
        fork.report("holds")
        fork.wait()
        held.holding.returned(0)
        held.holding.flush()
        held = hold(execution, "a", slot=held.slot)
        held.holding.start(1)
        fork.report("holds others")
        fork.wait()

    with Fork(child) as forked:
        forked.hear()
        [account] = execution.slots.list_accounts()
        forked.go_on()
        forked.hear()

    settle_account(execution, account, reason=REASON)

    assert [row[:3] for row in rows.all(ROWS)] == [("done", 0, 0), ("pending", 0, 0), ("retrying", 0, 1)]


def test_a_subscription_that_was_replaced_meanwhile_is_left_to_those_who_know_the_new_one(
    bus: EventBus, make_bus: MakeBus, execution: SingleRuns, rows: Rows
) -> None:
    """What ran is left to its lease, and the rest of the account is settled: such rows must not hold up all that die after."""
    publish(bus, *range(3))
    account = die_holding(execution, [Status.STARTED, Status.FAILED, Status.CLAIMED])
    newer = make_bus()
    newer.subscribe("order.*", group="a", handler=handle)
    newer.sync(replace=True)

    settle_account(execution, account, reason=REASON)

    assert states(rows) == {"running": 2, "pending": 1}
    assert execution.slots.list_accounts() == []


@pytest.mark.parametrize(
    ("fault", "statement"),
    [
        (Fault.BEFORE, "d.event_id <> ALL"),
        (Fault.ANSWERED, "d.event_id <> ALL"),
        (Fault.ANSWERED, "set_config('synchronous_commit'"),
        (Fault.BEFORE, "INSERT INTO eventbus.attempt"),
    ],
    ids=["before the rest", "after the rest", "after what returned", "in the first charge"],
)
def test_a_repeat_completes_what_the_database_interrupted(
    fault: Fault,
    statement: str,
    bus: EventBus,
    execution: SingleRuns,
    distant: SingleRuns,
    proxy: FaultProxy,
    rows: Rows,
) -> None:
    """Each row is charged once, however often it takes."""
    publish(bus, *range(4))
    account = die_holding(execution, [Status.STARTED, Status.FAILED, Status.RETURNED, Status.CLAIMED])
    proxy.lose(fault, statement)

    with pytest.raises(DatabaseUnreachable):
        settle_account(distant, account, reason=REASON)
    kept = execution.slots.list_accounts()
    settle_account(distant, account, reason=REASON)

    assert kept == [account]
    assert [row[:3] for row in rows.all(ROWS)] == [
        ("retrying", 0, 1),
        ("retrying", 1, 0),
        ("done", 0, 0),
        ("pending", 0, 0),
    ]
    assert rows.count("attempt") == 2
    assert execution.slots.list_accounts() == []


def test_an_event_that_kills_its_process_costs_its_neighbours_nothing(
    bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """Fifty in one batch, one of them a killer: 24 are done, one is charged, 25 are as if never claimed."""
    publish(bus, *[*range(24), "kill", *range(25)])

    def child(fork: Fork) -> None:
        pace = Pace()
        pace.note("a", deliveries=1000, seconds=0.1)
        turn = Slice(execution, "a", task_id=None, attendant=Attendant(execution.slots), pace=pace)
        turn.run_alone(None)
        turn.run_batches(lambda *_: None)

    with Fork(child) as forked:
        forked.join()

    settle_account(execution, only_dead(execution.slots), reason=REASON)

    assert states(rows) == {"done": 24, "retrying": 1, "pending": 25}
    assert rows.all("SELECT attempts, deaths, suspect FROM eventbus.delivery WHERE state = 'retrying'") == [
        (0, 1, False)
    ]
    assert rows.value("SELECT sum(attempts + deaths) FROM eventbus.delivery WHERE state <> 'retrying'") == 0


def found_dead(bus: EventBus, execution: SingleRuns, rows: Rows) -> Event:
    """An event whose run has died after its start was committed, and was not charged for it."""
    [event] = publish(bus, "x")
    claimed = execution.take("a", event.id)
    assert claimed is not None
    with execution.database.autocommit() as connection:
        claiming.commit_start(connection, claimed, lease=execution.lease)
    rows.all("UPDATE eventbus.delivery SET due_at = clock_timestamp() - interval '1 second'")
    return event


def test_a_death_whose_finder_dies_is_charged_by_its_main_process(
    bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """The finder had claimed the row and not charged it yet: it is not given back as if nothing had happened."""
    event = found_dead(bus, execution, rows)

    def child(fork: Fork) -> None:
        claimant = execution.claimant(task_id=None)
        slot = execution.slots.take()
        slot.expect("a", claimant.claim)
        claimed = execution.claim("a", event.id, claimant)
        assert claimed is not None
        assert claimed.died
        Holding(execution.database, slot, [claimed])
        fork.report("found")
        fork.wait()

    with Fork(child) as forked:
        assert forked.hear() == "found"
    settle_account(execution, only_dead(execution.slots), reason=REASON)

    assert rows.all("SELECT state, deaths FROM eventbus.delivery") == [("retrying", 1)]


def test_a_death_that_was_found_by_a_claim_whose_answer_was_lost_is_found_again(
    bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """What was claimed is given back, but its committed start stays on record: the next one charges it."""
    event = found_dead(bus, execution, rows)
    claimant = execution.claimant(task_id=None)
    assert execution.claim("a", event.id, claimant) is not None

    given_back = execution.give_back("a", claimant.claim)
    again = execution.take("a", event.id)

    assert given_back == 1
    assert again is not None
    assert again.died
