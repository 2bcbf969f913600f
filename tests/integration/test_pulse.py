"""The pulse: the whole bus at a moment says what every other view says, and what happened in each minute of the last hour."""

import json
from datetime import timedelta

import pytest

from eventbus import Event, EventBus
from eventbus.delivery import State
from eventbus.durations import BUCKETS, Histogram
from eventbus.storage import runs
from eventbus.storage.overview import rates as overview_rates
from tests.integration.conftest import MakeWorker, Run
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns


def refuse(event: Event) -> None:
    if event.data == "bad":
        raise ValueError(event.type)


@pytest.fixture
def execution(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of ``stock``, whose handler fails at bad events, and of ``mail``, which nobody runs."""
    bus.subscribe("order.*", group="stock", handler=refuse)
    bus.subscribe("order.created", group="mail", handler=refuse)
    return worker()


def run(execution: SingleRuns, event: Event) -> None:
    """Let ``stock`` handle *event*, well or not."""
    claimed = execution.take("stock", event.id)
    assert claimed is not None
    result = execution.run(claimed)
    if isinstance(result, BaseException):
        execution.fail(claimed, result)


def test_it_says_what_every_other_view_says(bus: EventBus, execution: SingleRuns) -> None:
    """Its numbers are those of `stats`, its groups those of `group_details`: no view disagrees with another."""
    run(execution, bus.publish("order.created", "good", source="tests"))
    run(execution, bus.publish("order.paid", "bad", source="tests"))
    bus.pause_group("mail")

    pulse = bus.pulse()

    assert pulse.stats == bus.stats()
    assert (pulse.stats.published, pulse.stats.consumed, pulse.retrying) == (2, 1, 1)
    assert pulse.open == {"stock": {State.RETRYING: 1}, "mail": {State.PENDING: 1}}
    assert {name: dict(states) for name, states in pulse.open.items()} == {
        name: dict(bus.group_details(name).open) for name in ("stock", "mail")
    }
    assert [(group.name, group.paused) for group in pulse.groups] == [("mail", True), ("stock", False)]
    assert pulse.oldest_lag == max(group.lag for group in pulse.groups) > timedelta()
    assert [wish.pattern for wish in pulse.wishes] == ["order.created", "order.*"]
    assert (pulse.workers, pulse.repairs) == ([], {})


def test_each_minute_says_what_happened_in_it(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Counted minutes, tallies that wait to be moved, and what nobody has counted yet are one series."""
    run(execution, bus.publish("order.created", "good", source="tests"))
    run(execution, bus.publish("order.created", "bad", source="tests"))
    rows.all("UPDATE eventbus.attempt SET failed_at = failed_at - interval '3 minutes'")
    rows.all(
        "INSERT INTO eventbus.traffic (minute, type, group_name, published, consumed) "
        "SELECT date_trunc('minute', clock_timestamp(), 'UTC') - ago, 'order.created', name, "
        "CASE name WHEN '' THEN 5 ELSE 0 END, CASE name WHEN '' THEN 0 ELSE 4 END "
        "FROM unnest(ARRAY[interval '10 minutes', interval '2 hours']) AS ago CROSS JOIN unnest(ARRAY['', 'stock']) AS name"
    )

    rates = bus.pulse().rates

    assert len(rates.minutes) == 61
    assert rates.minutes[-1] - rates.minutes[0] == timedelta(hours=1)
    shown = (rates.published["order.created"], rates.handled["stock"], rates.failed["stock"])
    assert [sum(series) for series in shown] == [7, 5, 1]
    # The minute may have changed since it was read.
    assert all(5 in series[49:51] for series in shown[:1])
    assert all(sum(series[-3:]) >= 1 for series in shown[:2])
    assert shown[2][-5:].index(1) in (1, 0)


def test_a_minute_of_a_group_is_that_of_all_its_types(bus: EventBus, execution: SingleRuns) -> None:
    """What it handled is one number, however many types it came in."""
    for type in ("order.created", "order.paid", "order.sent"):
        run(execution, bus.publish(type, "good", source="tests"))

    handled = bus.pulse().rates.handled

    assert sum(handled["stock"]) == 3


def test_of_very_many_failures_the_newest_are_shown(
    bus: EventBus, execution: SingleRuns, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails now is never hidden by what failed before."""
    monkeypatch.setattr(overview_rates, "MOST_FAILURES", 2)
    run(execution, bus.publish("order.created", "bad", source="tests"))
    rows.all("UPDATE eventbus.attempt SET group_name = 'early'")
    for _ in range(2):
        run(execution, bus.publish("order.created", "bad", source="tests"))

    failed = bus.pulse().rates.failed

    assert {group: sum(series) for group, series in failed.items()} == {"stock": 2}


def test_it_tells_how_long_handlers_ran(bus: EventBus, rows: Rows) -> None:
    """The last hour's percentiles of each group, as `durations` tells them."""
    with bus.database.autocommit() as connection:
        runs.add_durations(
            connection,
            {("stock", "order.created"): Histogram(counts=(0, 90, 0, 0, 0, 10, *(0,) * (BUCKETS - 6)), seconds=1.0)},
        )

    found = bus.pulse().durations

    assert found == bus.durations()
    assert (found["stock"].runs, found["stock"].p95 > found["stock"].p50 > timedelta()) == (100, True)


def test_a_minute_outside_is_left_out(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Such as one of a host whose clock is ahead."""
    rows.all(
        "INSERT INTO eventbus.traffic (minute, type, group_name, consumed) "
        "VALUES (date_trunc('minute', now() + interval '1 hour', 'UTC'), 'order.created', 'stock', 4)"
    )

    assert bus.pulse().rates.handled == {}


def test_an_empty_bus_has_a_pulse(bus: EventBus) -> None:
    """Nothing published, nobody subscribed."""
    pulse = bus.pulse()

    assert (pulse.stats.published, pulse.open, pulse.groups, pulse.oldest_lag) == (0, {}, [], timedelta())
    assert (pulse.rates.published, pulse.rates.handled, pulse.rates.failed) == ({}, {}, {})


def test_space_is_what_the_server_says(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Tables with their partitions, the largest first; dead rows and vacuums as PostgreSQL keeps them."""
    rows.all("INSERT INTO eventbus.audit (who, action, filter) SELECT 'me', 'test', '{}' FROM generate_series(1, 50)")
    rows.all("DELETE FROM eventbus.audit WHERE id % 2 = 0")
    rows.all("SELECT pg_stat_force_next_flush()")  # else what was deleted may be counted after VACUUM has counted
    rows.all("VACUUM ANALYZE eventbus.audit")

    space = bus.space()

    tables = {table.name: table for table in space.tables}
    audit, log = tables["audit"], tables["event_log"]
    assert [table.bytes for table in space.tables] == sorted((table.bytes for table in space.tables), reverse=True)
    assert (audit.bytes, space.bytes) == (
        rows.value("SELECT pg_total_relation_size('eventbus.audit')"),
        sum(table.bytes for table in space.tables),
    )
    assert (audit.live_rows, audit.dead_rows, [part.name for part in audit.parts]) == (25, 0, ["audit"])
    assert audit.vacuumed_at is not None
    assert len(log.parts) > 4
    assert {part.name for part in log.parts} >= {"event_log_default"}
    assert log.vacuumed_at is None


def test_space_names_who_holds_a_snapshot(bus: EventBus, rows: Rows) -> None:
    """The oldest transaction that keeps vacuum from its work; nobody else's."""
    assert bus.space().snapshot is None

    with rows.transaction() as cursor:
        cursor.execute("SET application_name = 'report'; SELECT pg_current_xact_id()")
        snapshot = bus.space().snapshot

    assert snapshot is not None
    assert "of report (idle in transaction)" in snapshot.holder


def test_storage_is_listed_on_the_command_line(bus: EventBus, environment: object, run_here: Run, rows: Rows) -> None:
    """Table by table, or partition by partition, with the same numbers; who holds a snapshot stands beside them."""
    tables = [json.loads(line) for line in run_here("storage", "--json").stdout.splitlines()]
    parts = [json.loads(line) for line in run_here("storage", "--parts", "--json").stdout.splitlines()]
    with rows.transaction() as cursor:
        cursor.execute("SELECT pg_current_xact_id()")
        told = run_here("storage")

    assert [row["name"] for row in tables] == [table.name for table in bus.space().tables]
    assert sum(row["bytes"] for row in tables) == sum(row["table_bytes"] + row["index_bytes"] for row in parts)
    assert {row["name"] for row in parts if row["table"] == "event_log"} >= {"event_log_default"}
    assert "oldest snapshot: backend" in told.stderr
    assert told.stdout.startswith(tables[0]["name"] + "\t")
