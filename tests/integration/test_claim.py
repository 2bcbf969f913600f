"""Claiming: one delivery, one holder; what is due, what is not, and who finds out about a death."""

import threading
from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from eventbus import Event, EventBus
from eventbus.embedded import EmbeddedPostgres
from eventbus.storage import claiming, settling, subscriptions
from eventbus.storage.claiming import Claimant
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns

PAST = "UPDATE eventbus.delivery SET due_at = clock_timestamp() - interval '1 second'"


def handle(event: Any) -> None: ...


@pytest.fixture
def one(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker that knows the group ``a``, which wants everything."""
    bus.subscribe("#", group="a", handler=handle)
    return worker()


@pytest.fixture
def two(one: SingleRuns, worker: MakeWorker) -> SingleRuns:
    """Another worker of the same code."""
    return worker(name="worker-2")


def publish(bus: EventBus, number: int = 1) -> list[Event]:
    """Some events."""
    return [bus.publish("order.created", index, source="orders") for index in range(number)]


def test_the_hinted_delivery_is_claimed_first(bus: EventBus, one: SingleRuns, rows: Rows) -> None:
    """Its row says who has it, for how long, and under which fence."""
    _, hinted = publish(bus, 2)

    claimed = one.take("a", hinted.id, task_id="task-1")

    row = rows.delivery(hinted.id, "a")
    assert claimed is not None
    assert claimed.event == hinted
    assert (row["state"], row["claim"], row["worker"], row["task_id"]) == (
        "running",
        claimed.claim,
        "worker-1",
        "task-1",
    )
    assert (row["started_at"], row["suspect"], claimed.runs_alone, claimed.died) == (None, False, False, False)
    lease = rows.value("SELECT due_at - clock_timestamp() FROM eventbus.delivery WHERE state = 'running'")
    assert timedelta(seconds=28) < lease <= timedelta(seconds=30)


@pytest.mark.parametrize("hint", ["none", "unknown", "taken"])
def test_a_hint_that_leads_nowhere_leaves_the_oldest_due_one(
    hint: str, bus: EventBus, one: SingleRuns, two: SingleRuns
) -> None:
    """Any wake-up is good for any delivery of the group."""
    first, second, third = publish(bus, 3)
    two.take("a", third.id, task_id=None)

    claimed = one.take("a", {"none": None, "unknown": uuid4(), "taken": third.id}[hint], task_id=None)

    assert claimed is not None
    assert claimed.event.id == first.id
    assert second.id != claimed.event.id


def test_a_delivery_has_one_holder_at_a_time(bus: EventBus, one: SingleRuns, two: SingleRuns) -> None:
    """A repeated message finds nothing."""
    [event] = publish(bus)

    first, second = one.take("a", event.id, task_id=None), two.take("a", event.id, task_id=None)

    assert first is not None
    assert second is None


def test_claims_that_race_share_the_work_without_waiting(bus: EventBus, one: SingleRuns, two: SingleRuns) -> None:
    """SKIP LOCKED: while one transaction holds a row, another takes the next, by name and by age."""
    first, second = publish(bus, 2)
    claimant = Claimant(worker="w", task_id=None, lease=timedelta(seconds=30))
    ids = one.known.ids("a")

    with bus.database.transaction() as holding, bus.database.transaction() as racing:
        held = claiming.claim_fresh(holding, group="a", subscriptions=ids, claimant=claimant, limit=1)
        racing.change("SET LOCAL lock_timeout = '1s'")
        named = claiming.claim_named(racing, first.id, group="a", subscriptions=ids, claimant=claimant)
        rest = claiming.claim_fresh(racing, group="a", subscriptions=ids, claimant=claimant, limit=10)

    assert [item.event.id for item in held] == [first.id]
    assert named is None
    assert [item.event.id for item in rest] == [second.id]


def test_a_claim_locks_no_more_than_it_takes(bus: EventBus, worker: MakeWorker) -> None:
    """What one worker leaves, of whichever subscription, another can have at that moment; the oldest goes first."""
    for pattern in ("order.paid", "order.created"):
        bus.subscribe(pattern, group="a", handler=handle)
    ids = worker().known.ids("a")
    events = [bus.publish(type, 1, source="orders") for type in ("order.created", "order.paid", "order.created")]
    claimant = Claimant(worker="w", task_id=None, lease=timedelta(seconds=30))

    with bus.database.transaction() as holding, bus.database.transaction() as racing:
        held = claiming.claim_fresh(holding, group="a", subscriptions=ids, claimant=claimant, limit=1)
        rest = claiming.claim_fresh(racing, group="a", subscriptions=ids, claimant=claimant, limit=10)

    assert [item.event.id for item in held] == [events[0].id]
    assert [item.event.id for item in rest] == [events[1].id, events[2].id]


def test_many_workers_claim_each_delivery_once(bus: EventBus, one: SingleRuns, two: SingleRuns) -> None:
    """Four threads, no event twice, none left."""
    events = publish(bus, 40)
    taken: list[Any] = []

    def drain(execution: SingleRuns) -> None:
        while claimed := execution.take("a", None, task_id=None):
            taken.append(claimed.event.id)

    threads = [threading.Thread(target=drain, args=(execution,)) for execution in (one, two, one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(taken) == [event.id for event in events]


def test_each_claim_draws_a_fence_of_its_own(bus: EventBus, one: SingleRuns) -> None:
    """Two claims of one delivery are never mistaken for each other."""
    publish(bus)
    drawn = []

    for _ in range(20):
        claimed = one.take("a", None, task_id=None)
        assert claimed is not None
        drawn.append(claimed.claim)
        with bus.database.autocommit() as connection:
            settling.give_back(connection, [claimed.event.id], group="a", claim=claimed.claim)

    assert len(set(drawn)) == 20


def test_the_oldest_due_ones_are_taken_up_to_the_limit(bus: EventBus, one: SingleRuns, rows: Rows) -> None:
    """Due first, claimed first; what is not due yet is left."""
    first, second, third, later = publish(bus, 4)
    rows.all(f"{PAST} WHERE event_id = %s", str(third.id))
    rows.all("UPDATE eventbus.delivery SET due_at = now() + interval '1 h' WHERE event_id = %s", str(later.id))
    claimant = Claimant(worker="w", task_id=None, lease=timedelta(seconds=30))

    with bus.database.autocommit() as connection:
        batch = [
            [item.event.id for item in claiming.claim_fresh(connection, **wanted, limit=limit)]
            for wanted in [{"group": "a", "subscriptions": one.known.ids("a"), "claimant": claimant}]
            for limit in (2, 5)
        ]

    assert batch == [[first.id, third.id], [second.id]]


def test_a_paused_group_has_nothing_to_claim(bus: EventBus, one: SingleRuns) -> None:
    """Pausing stops new claims, by name and by age; resuming brings them back."""
    [event] = publish(bus)
    with bus.database.autocommit() as connection:
        changed = [subscriptions.set_paused(connection, "a", paused=True) for _ in range(2)]
        paused = one.take("a", event.id, task_id=None)
        subscriptions.set_paused(connection, "a", paused=False)

    resumed = one.take("a", event.id, task_id=None)

    assert changed == [True, False]
    assert paused is None
    assert resumed is not None


def test_deliveries_of_unknown_subscriptions_are_left_to_code_that_knows_them(
    bus: EventBus, make_bus: MakeBus, worker: MakeWorker
) -> None:
    """An older deployment does not take what only the newer one can handle."""
    old, new = bus, make_bus()
    old.subscribe("order.created", group="a", handler=handle)
    new.subscribe("order.paid", group="a", handler=handle)
    old_worker, new_worker = worker(old), worker(new)
    event = old.publish("order.paid", 1, source="orders")

    refused = old_worker.take("a", event.id, task_id=None)
    stranger = old_worker.take("nobody", event.id, task_id=None)
    taken = new_worker.take("a", None, task_id=None)

    assert (refused, stranger) == (None, None)
    assert taken is not None
    assert taken.event.id == event.id


@pytest.mark.parametrize("state", ["done", "dead", "skipped", "cancelled", "parked"])
def test_what_is_final_or_parked_is_not_claimed(state: str, bus: EventBus, one: SingleRuns, rows: Rows) -> None:
    """Only open deliveries that somebody is to run."""
    [event] = publish(bus)
    rows.all(
        "UPDATE eventbus.delivery SET state = %s, finished_at = CASE WHEN %s = 'parked' THEN NULL ELSE now() END",
        state,
        state,
    )

    assert one.take("a", event.id, task_id=None) is None


def test_a_claim_whose_lease_ended_is_taken_over_as_a_suspect(
    bus: EventBus, one: SingleRuns, two: SingleRuns, rows: Rows
) -> None:
    """Its worker may have died of it, so it runs alone from now on; nothing is charged."""
    [event] = publish(bus)
    first = one.take("a", event.id, task_id=None)
    rows.all(PAST)

    second = two.take("a", None, task_id=None)

    assert first is not None
    assert second is not None
    assert (first.suspect, second.suspect, second.runs_alone, second.died) == (False, True, True, False)
    assert (second.attempts, second.deaths) == (0, 0)
    assert second.claim != first.claim


def test_giving_back_charges_nothing_and_keeps_the_suspicion(
    bus: EventBus, one: SingleRuns, two: SingleRuns, rows: Rows
) -> None:
    """A handler that never started is no attempt; a suspect stays one until it is through."""
    [event] = publish(bus)
    one.take("a", event.id, task_id=None)
    rows.all(PAST)
    suspect = two.take("a", None, task_id=None)
    assert suspect is not None

    with bus.database.autocommit() as connection:
        given = settling.give_back(connection, [event.id], group="a", claim=suspect.claim)
    row = rows.delivery(event.id, "a")
    again = one.take("a", event.id, task_id=None)

    assert given == {event.id}
    assert (row["state"], row["claim"], row["attempts"], row["deaths"]) == ("retrying", None, 0, 0)
    assert again is not None
    assert again.suspect


def test_a_committed_start_renews_the_lease(bus: EventBus, one: SingleRuns, rows: Rows) -> None:
    """The handler has its full time from there."""
    [event] = publish(bus)
    claimed = one.take("a", event.id, task_id=None)
    assert claimed is not None
    rows.all(PAST)

    with bus.database.autocommit() as connection:
        started = claiming.commit_start(connection, claimed, lease=timedelta(seconds=30))

    assert started
    assert rows.value("SELECT started_at <= clock_timestamp() AND due_at > clock_timestamp() FROM eventbus.delivery")


def test_a_death_after_a_committed_start_is_found_by_exactly_one_of_two(
    bus: EventBus, one: SingleRuns, two: SingleRuns, rows: Rows
) -> None:
    """Whoever finds it charges it; the other finds nothing."""
    [event] = publish(bus)
    claimed = one.take("a", event.id, task_id=None)
    assert claimed is not None
    with bus.database.autocommit() as connection:
        claiming.commit_start(connection, claimed, lease=timedelta(seconds=30))
    rows.all(PAST)
    barrier, found = threading.Barrier(2), []

    def look(execution: SingleRuns) -> None:
        barrier.wait()
        found.append(execution.take("a", event.id, task_id=None))

    threads = [threading.Thread(target=look, args=(execution,)) for execution in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    [finder] = [item for item in found if item is not None]
    assert finder.died
    assert rows.delivery(event.id, "a")["started_at"] is not None


def test_a_death_whose_finder_dies_too_is_found_again(
    bus: EventBus, one: SingleRuns, two: SingleRuns, rows: Rows
) -> None:
    """The start stays on record until the death is charged."""
    [event] = publish(bus)
    claimed = one.take("a", event.id, task_id=None)
    assert claimed is not None
    with bus.database.autocommit() as connection:
        claiming.commit_start(connection, claimed, lease=timedelta(seconds=30))
    rows.all(PAST)
    two.take("a", None, task_id=None)
    rows.all(PAST)

    found = one.take("a", None, task_id=None)

    assert found is not None
    assert found.died


@pytest.mark.parametrize("has_started", [True, False])
def test_what_was_replayed_before_its_death_is_still_to_run(
    has_started: bool, bus: EventBus, one: SingleRuns, two: SingleRuns, rows: Rows
) -> None:
    """Whoever finds the death keeps the note of it, for nothing runs now; whoever runs it has run what it was replayed for."""
    [event] = publish(bus)
    claimed = one.take("a", event.id, task_id=None)
    assert claimed is not None
    if has_started:
        with bus.database.autocommit() as connection:
            claiming.commit_start(connection, claimed, lease=timedelta(seconds=30))
    rows.all("UPDATE eventbus.delivery SET rerun = true")
    rows.all(PAST)

    found = two.take("a", None, task_id=None)

    assert found is not None
    assert found.died is has_started
    assert rows.delivery(event.id, "a")["rerun"] is has_started


def test_a_replay_id_is_known_to_the_run(bus: EventBus, one: SingleRuns, rows: Rows) -> None:
    """Handlers may ask what made them run."""
    publish(bus)
    replay = uuid4()
    rows.all("UPDATE eventbus.delivery SET replay_id = %s", str(replay))

    claimed = one.take("a", None, task_id=None)

    assert claimed is not None
    assert claimed.replay_id == replay


@pytest.mark.parametrize("way", ["batch", "alone"])
def test_a_claim_survives_a_server_that_crashes_right_after_it(
    way: str, postgres: EmbeddedPostgres, make_bus: MakeBus, worker: MakeWorker
) -> None:
    """Forgotten, the delivery would run beside the run that has begun; how a run ends may be forgotten, and costs a repeat."""
    bus = make_bus(database_url=postgres.url)
    bus.subscribe("#", group="a", handler=handle)
    execution = worker(bus)
    [event] = publish(bus)
    with closing(Rows(postgres.url)) as rows:
        # Whatever need not reach the disk does not, for as long as this test takes.
        rows.all("ALTER SYSTEM SET wal_writer_delay = '10s'")
        rows.all("SELECT pg_reload_conf()")
        if way == "alone":
            rows.all("UPDATE eventbus.delivery SET state = 'retrying', attempts = 1")

    claimant = execution.claimant(task_id=None)
    if way == "batch":
        [claimed] = execution.claim_batch("a", claimant, limit=1)
    else:
        found = execution.claim("a", None, claimant)
        assert found is not None
        claimed = found
    postgres.kill()
    bus.database.dispose()
    postgres.start()

    with closing(Rows(postgres.url)) as rows:
        row = rows.delivery(event.id, "a")
    assert (row["state"], row["claim"]) == ("running", claimed.claim)
