"""Runs of handlers: how they ended is counted with what they leave, how long they took is written down by the main process."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from eventbus import EventBus
from eventbus.durations import Histogram
from eventbus.errors import DatabaseUnreachable, InvalidInput
from eventbus.lifecycle import housekeeping, settlement
from eventbus.lifecycle.attending import Attendant
from eventbus.lifecycle.pace import Pace
from eventbus.lifecycle.slices import Slice
from eventbus.lifecycle.timing import Timekeeper, Timings
from eventbus.retry import RetryPolicy
from eventbus.storage import runs
from eventbus.storage.database import Database
from eventbus.storage.runs import Tally
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns
from tests.support.statements import noted

TYPE = "order.created"


@pytest.fixture
def execution(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of group ``a``, which wants everything."""
    bus.subscribe("#", group="a", handler=lambda event: None)
    return worker()


def end(bus: EventBus, execution: SingleRuns, *, retries: int = 0, death: bool = False) -> None:
    """Publish an event whose run does not end well."""
    event = bus.publish(TYPE, {}, source="tests")
    claimed = execution.take("a", event.id, task_id=None)
    assert claimed is not None
    policy = RetryPolicy(max_retries=retries)
    if death:
        settlement.settle_died(bus.database, claimed, "died", policy=policy, worker="w")
    else:
        settlement.settle_failed(bus.database, claimed, ValueError("no"), policy=policy, worker="w")


def tallies(database: Database) -> dict[tuple[str, str], Tally]:
    """What was counted."""
    with database.autocommit() as connection:
        return runs.read_tallies(connection)


def test_runs_that_do_not_end_well_are_counted_in_the_statement_that_keeps_them(
    bus: EventBus, execution: SingleRuns
) -> None:
    """Failed or died, to be retried or given up; not one statement more than before."""
    sent: list[str] = []

    end(bus, execution)
    end(bus, execution, retries=3)
    end(bus, execution, death=True)
    event = bus.publish(TYPE, {}, source="tests")
    claimed = execution.take("a", event.id, task_id=None)
    assert claimed is not None
    with noted(bus.database, lambda query, _: sent.append(query.split()[0])):
        settlement.settle_failed(bus.database, claimed, ValueError("no"), policy=RetryPolicy(max_retries=3), worker="w")

    assert tallies(bus.database) == {(TYPE, "a"): Tally(failed=3, deaths=1, retries=3, dead=1)}
    assert sent == ["UPDATE", "WITH"]


def test_a_run_that_was_replayed_meanwhile_has_failed_and_is_neither_retried_nor_dead(
    bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """Its delivery is as if new."""
    event = bus.publish(TYPE, {}, source="tests")
    claimed = execution.take("a", event.id, task_id=None)
    assert claimed is not None
    rows.all("UPDATE eventbus.delivery SET rerun = true")

    settlement.settle_failed(bus.database, claimed, ValueError("no"), policy=RetryPolicy(max_retries=0), worker="w")

    assert tallies(bus.database) == {(TYPE, "a"): Tally(failed=1, deaths=0, retries=0, dead=0)}


def test_what_connections_have_left_is_added_up(
    bus: EventBus, execution: SingleRuns, make_bus: MakeBus, rows: Rows
) -> None:
    """Nothing is lost, or counted twice, also while others count; what is being written is left for the next time."""
    end(bus, execution)
    rows.all("INSERT INTO eventbus.run_tally VALUES (99, 'order.created', 'a', 1, 2, 3, 4), (98, 'x', 'b', 1, 0, 1, 0)")
    before = tallies(bus.database)
    with bus.database.transaction() as connection:
        connection.change("UPDATE eventbus.run_tally SET failed = failed WHERE backend = 98")
        housekeeping.forget_old(make_bus().database)
        kept = rows.all("SELECT backend FROM eventbus.run_tally ORDER BY 1")
    assert tallies(bus.database) == before

    for _ in range(2):
        housekeeping.forget_old(bus.database)
        end(bus, execution)

    assert kept == [(0,), (98,)]
    assert tallies(bus.database) == {
        (TYPE, "a"): Tally(failed=4, deaths=2, retries=3, dead=7),
        ("x", "b"): Tally(failed=1, deaths=0, retries=1, dead=0),
    }
    assert rows.value("SELECT count(*) FROM eventbus.run_tally WHERE backend = 0") == 2


def test_only_what_is_new_is_written(database: Database, rows: Rows) -> None:
    """By several workers at once; a time without runs costs no statement."""
    workers = [Timekeeper(database=database, timings=Timings(2)) for _ in range(3)]
    sent: list[str] = []

    def work(keeper: Timekeeper) -> None:
        for _ in range(10):
            keeper.timings.timer(0).note("a", TYPE, 0.002)
            keeper.timings.timer(1).note("a", "order.paid", 2)
            keeper.timings.timer(1).note("b", TYPE, 0.002)
            keeper.write()

    with ThreadPoolExecutor() as threads:
        list(threads.map(work, workers))
    with noted(database, lambda query, _: sent.append(query)):
        workers[0].write()

    with database.autocommit() as connection:
        found = runs.read_durations(connection)
        recent = runs.read_recent(connection, since=timedelta(hours=1))
    assert sent == []
    assert {name: item.runs for name, item in found.items()} == {
        (TYPE, "a"): 30,
        ("order.paid", "a"): 30,
        (TYPE, "b"): 30,
    }
    assert found["order.paid", "a"] == Histogram(counts=(*(0,) * 9, 30, *(0,) * 6), seconds=60)
    assert {group: item.runs for group, item in recent.items()} == {"a": 60, "b": 30}
    assert recent["a"].seconds == pytest.approx(60.06)


def test_what_could_not_be_written_is_written_the_next_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL may be away for a while."""
    keeper = Timekeeper(database=database, timings=Timings(1))
    keeper.timings.timer(0).note("a", TYPE, 1)

    def refuse(*_: Any) -> None:
        raise DatabaseUnreachable("away")

    with monkeypatch.context() as patched:
        patched.setattr(runs, "add_durations", refuse)
        with pytest.raises(DatabaseUnreachable):
            keeper.write()
    keeper.timings.timer(0).note("a", TYPE, 1)
    keeper.write()

    with database.autocommit() as connection:
        assert runs.read_durations(connection)[TYPE, "a"].runs == 2


def test_percentiles_are_those_of_the_time_that_is_asked_for(bus: EventBus, database: Database, rows: Rows) -> None:
    """By group; minutes are deleted when they are old, the sum of all runs is not."""
    keeper = Timekeeper(database=database, timings=Timings(1))
    for seconds in (*(0.002,) * 95, *(2.0,) * 5):
        keeper.timings.timer(0).note("a", TYPE, seconds)
    keeper.write()
    rows.all(
        "INSERT INTO eventbus.run_minute SELECT minute - interval '2 h', 'b', counts, seconds FROM eventbus.run_minute"
    )
    rows.all(
        "INSERT INTO eventbus.run_minute SELECT minute - interval '8 d', 'c', counts, seconds FROM eventbus.run_minute"
    )

    hour, week = bus.durations(), bus.durations(since=timedelta(days=7))
    housekeeping.forget_old(database)

    assert list(hour) == ["a"]
    assert list(week) == ["a", "b"]
    assert (hour["a"].runs, hour["a"].mean) == (100, timedelta(milliseconds=101.9))
    assert timedelta(milliseconds=1) < hour["a"].p50 < hour["a"].p95 <= timedelta(milliseconds=5)
    assert timedelta(seconds=1) < hour["a"].p99 <= timedelta(seconds=2.5)
    assert rows.value("SELECT count(*) FROM eventbus.run_minute") == 2
    assert rows.count("run_duration") == 1


@pytest.mark.parametrize("since", [timedelta(0), timedelta(seconds=59), timedelta(days=8), 3600])
def test_a_time_that_is_not_kept_is_refused(bus: EventBus, since: Any) -> None:
    """In a sentence; a minute is the shortest."""
    with pytest.raises(InvalidInput, match="since="):
        bus.durations(since=since)

    assert bus.durations(since=timedelta(minutes=1)) == {}


def test_a_slice_times_each_run_of_a_handler(bus: EventBus, worker: MakeWorker) -> None:
    """In a batch or alone, whatever its end."""
    bus.subscribe("order.*", group="a", handler=lambda event: None)
    bus.subscribe("user.*", group="b", handler=lambda event: 1 / 0, max_retries=0)
    here = worker()
    alone = bus.publish("order.paid", {}, source="tests")
    for type in (TYPE, TYPE, "user.seen"):
        bus.publish(type, {}, source="tests")

    for group, hint in (("a", alone.id), ("b", None)):
        turn = Slice(here, group, task_id=None, attendant=Attendant(here.slots), pace=Pace())
        turn.run_alone(hint)
        turn.run_batches(lambda *_: None)
        turn.close()

    assert {name: item.runs for name, item in here.slots.timings.read().items()} == {
        ("a", TYPE): 2,
        ("a", "order.paid"): 1,
        ("b", "user.seen"): 1,
    }
