"""`doctor`: each fault that it names is caused, and found; a bus without a fault has none."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg2
import pytest

from eventbus import EventBus
from eventbus.embedded.server import free_port
from eventbus.lifecycle import diagnosing
from eventbus.lifecycle.diagnosing import Level
from eventbus.storage import repairs, workers
from eventbus.storage.database import Database
from eventbus.storage.migrations import upgrade
from eventbus.storage.overview.condition import read_snapshot
from eventbus.storage.workers import Worker
from tests.integration.conftest import MakeBus, Run
from tests.support import keep_clear_of_the_turn_of_the_hour, wait_until
from tests.support.rows import Rows

Sick = Callable[[EventBus, Rows], None]


def beat(bus: EventBus, *groups: str, version: str = "0.1.0") -> None:
    """Let a worker of *groups* say that it lives."""
    worker = Worker(
        id=uuid4(), name="w1@host", host="host", pid=1, pool="prefork", concurrency=2, version=version, groups=groups
    )
    with bus.database.autocommit() as connection:
        workers.beat(connection, worker)


@pytest.fixture
def well(bus: EventBus, environment: object) -> EventBus:
    """A bus with one group, a worker of it, and an event that was handled."""
    bus.subscribe("order.*", group="stock", handler=lambda event: None)
    bus.sync()
    beat(bus, "stock")
    bus.publish("order.created", {}, source="tests")
    return bus


def found(run_here: Run) -> list[tuple[str, str]]:
    """The checks that are not ok, with their levels."""
    lines = run_here("doctor", "--quiet", "--json").stdout.splitlines()
    assert all(json.loads(line)["advice"] for line in lines)
    return [(json.loads(line)["check"], json.loads(line)["level"]) for line in lines]


def test_a_bus_that_is_well_has_no_fault(well: EventBus, run_here: Run) -> None:
    """Each line says what was looked at."""
    done = run_here("doctor")

    assert done.returncode == 0, done.stdout
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"ok"}
    checks = [line.split()[1] for line in done.stdout.splitlines()]
    assert checks == ["broker", "database", "clock", "server", "snapshot", "partitions", "worker", "group"]
    assert "w1@host (prefork x 2, version 0.1.0) serves stock." in done.stdout
    assert run_here("doctor", "--quiet").stdout == ""


def no_worker(bus: EventBus, rows: Rows) -> None:
    rows.all("DELETE FROM eventbus.worker")


def group_without_worker(bus: EventBus, rows: Rows) -> None:
    bus.subscribe("order.created", group="mail", handler=lambda event: None)
    bus.sync()


def worker_without_group(bus: EventBus, rows: Rows) -> None:
    beat(bus)


def namesakes(bus: EventBus, rows: Rows) -> None:
    beat(bus, "stock")
    rows.all("UPDATE eventbus.worker SET seen_at = clock_timestamp()")


def only_a_worker_without_group(bus: EventBus, rows: Rows) -> None:
    no_worker(bus, rows)
    beat(bus)


def late(bus: EventBus, rows: Rows) -> None:
    rows.all("UPDATE eventbus.delivery SET due_at = now() - interval '61 s'")


def paused(bus: EventBus, rows: Rows) -> None:
    late(bus, rows)
    bus.pause_group("stock")


def parked(bus: EventBus, rows: Rows) -> None:
    rows.all("UPDATE eventbus.delivery SET state = 'parked', due_at = 'infinity', last_error = 'no step'")


def dead_letters(bus: EventBus, rows: Rows) -> None:
    # Those of one group are no other's.
    bus.subscribe("order.created", group="mail", handler=lambda event: None)
    bus.sync()
    beat(bus, "mail")
    rows.all(
        "INSERT INTO eventbus.dead_letter (event_id, group_name, type, attempts, deaths, error_type, error_message, traceback, "
        "fingerprint) SELECT event_id, group_name, 'order.created', 1, 0, 'E', 'm', 't', 'f' FROM eventbus.delivery"
    )


def other_version(bus: EventBus, rows: Rows) -> None:
    rows.all("UPDATE eventbus.worker SET version = '0.0.9'")


def unconsumed_type(bus: EventBus, rows: Rows) -> None:
    bus.publish("user.seen", {}, source="tests")


def unsubscribed(bus: EventBus, rows: Rows) -> None:
    # A group that wants nothing needs no worker, consumes nothing, and misspelt nothing.
    for pattern in ("user.*", "oder.created"):
        bus.subscribe(pattern, group="mail", handler=lambda event: None)
    bus.sync()
    bus.remove_group("mail")
    unconsumed_type(bus, rows)


def removed_beside_its_worker(bus: EventBus, rows: Rows) -> None:
    # Its pause does not hide that.
    bus.pause_group("stock")
    bus.remove_group("stock")


def never_matched(bus: EventBus, rows: Rows) -> None:
    bus.subscribe("oder.created", group="stock", handler=lambda event: None)
    bus.sync()


def no_partition(bus: EventBus, rows: Rows) -> None:
    for table in ("event_log", "delivery"):
        rows.all(
            f"DO $$ BEGIN EXECUTE 'ALTER TABLE eventbus.{table}_' || to_char((now() + interval '168 hours') AT TIME ZONE 'UTC', "
            f"'IYYY_IW') || ' RENAME TO {table}_gone'; END $$"
        )


def strays(bus: EventBus, rows: Rows) -> None:
    rows.all(
        "INSERT INTO eventbus.event_log (id, type, version, source, data, metadata, created_at) VALUES "
        "(eventbus.uuid_v7('2001-01-01Z', gen_random_uuid()), 'order.created', 1, 's', '{}', '{\"correlation_id\": \"c\"}', now())"
    )


def stray_delivery(bus: EventBus, rows: Rows) -> None:
    rows.all(
        "INSERT INTO eventbus.delivery (event_id, group_name, subscription_id, state, due_at, finished_at) "
        "SELECT eventbus.uuid_v7('2001-01-01Z', gen_random_uuid()), group_name, id, 'done', now(), now() FROM eventbus.subscription"
    )


def many_repairs(bus: EventBus, rows: Rows) -> None:
    keep_clear_of_the_turn_of_the_hour()
    with bus.database.autocommit() as connection:
        repairs.note(connection, {"mail": 3, "stock": 1})
        repairs.note(connection, {"stock": 1000})


FAULTS: list[tuple[Sick, list[tuple[str, str]]]] = [
    (no_worker, [("workers", "fault"), ("group", "fault")]),
    (group_without_worker, [("group", "fault")]),
    (worker_without_group, [("worker", "notice")]),
    (namesakes, [("worker", "notice")]),
    (only_a_worker_without_group, [("workers", "fault"), ("worker", "notice"), ("group", "fault")]),
    (late, [("group", "fault")]),
    (paused, [("group", "notice")]),
    (dead_letters, [("dead", "notice")]),
    (parked, [("parked", "notice")]),
    (other_version, [("worker", "notice")]),
    (unconsumed_type, [("type", "notice")]),
    (unsubscribed, [("type", "notice")]),
    (removed_beside_its_worker, [("group", "notice"), ("type", "notice")]),
    (never_matched, [("subscription", "notice")]),
    (no_partition, [("partitions", "fault")]),
    (strays, [("partitions", "notice")]),
    (stray_delivery, [("partitions", "notice")]),
    (many_repairs, [("relay", "fault")]),
]


@pytest.mark.parametrize(("sick", "findings"), FAULTS, ids=[item[0].__name__ for item in FAULTS])
def test_each_fault_is_caused_and_found(
    well: EventBus, rows: Rows, run_here: Run, sick: Sick, findings: list[tuple[str, str]]
) -> None:
    """It, and nothing else; with what to do. A fault is an exit code, a notice is none."""
    sick(well, rows)

    try:
        assert found(run_here) == findings
        assert run_here("doctor").returncode == int("fault" in dict(findings).values())
    finally:
        if sick is no_partition:
            undo_partition(rows)


def undo_partition(rows: Rows) -> None:
    for table in ("event_log", "delivery"):
        rows.all(
            f"DO $$ BEGIN EXECUTE 'ALTER TABLE eventbus.{table}_gone RENAME TO {table}_' || "
            "to_char((now() + interval '168 hours') AT TIME ZONE 'UTC', 'IYYY_IW'); END $$"
        )


def test_repairs_of_another_hour_are_none_of_this(well: EventBus, rows: Rows) -> None:
    """They stay in the total."""
    many_repairs(well, rows)
    rows.all("UPDATE eventbus.repair SET hour = hour - interval '1 h'")
    with well.database.autocommit() as connection:
        before = repairs.read(connection)["stock"]
        repairs.note(connection, {"stock": 5})
        after = repairs.read(connection)["stock"]

    assert before.last_at < after.last_at
    assert (before.wake_ups, before.in_hour) == (1001, 0)
    assert (after.wake_ups, after.in_hour) == (1006, 5)


def test_an_old_transaction_is_named(
    well: EventBus, rows: Rows, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With who holds it."""
    monkeypatch.setattr(diagnosing, "OLD_SNAPSHOT", timedelta())
    with rows.transaction() as cursor:
        cursor.execute("SET application_name = 'report'")
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT 1")

        done = run_here("doctor")

    assert done.returncode == 1
    shown = r"of report \(idle in transaction\) has been in a transaction for [\d.]+ m?s; vacuum"
    assert re.search(shown, done.stdout), done.stdout


#: How many backends wait for a lock of this database.
WAITING = """
SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_database AS d ON d.oid = database
WHERE NOT granted AND datname = current_database()
"""


@pytest.mark.parametrize("table", ["event_log", "subscription"])
def test_a_forgotten_lock_is_told_with_its_holder(
    well: EventBus, rows: Rows, run_here: Run, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """At once, though what it would look at is locked; whoever waits for the lock, and holds up others, is not to blame."""
    monkeypatch.setattr(diagnosing, "LOCKED", timedelta())

    with ThreadPoolExecutor() as threads, rows.transaction() as cursor:
        cursor.execute("SET application_name = 'forgotten'")
        cursor.execute(f"LOCK eventbus.{table} IN ACCESS SHARE MODE")
        waiting = [threads.submit(lock_exclusively, rows, table)]
        wait_until(lambda: rows.value(WAITING) == 1, message="somebody to wait")
        waiting.append(threads.submit(well.publish, "order.created", {}, source="tests"))
        wait_until(lambda: rows.value(WAITING) == 2, message="others to wait behind")

        done = run_here("doctor")

    for each in waiting:
        each.result()
    assert done.returncode == 1
    (told,) = [line for line in done.stdout.splitlines() if not line.startswith("ok")]
    shown = r"fault +lock +backend \d+ of forgotten \(idle in transaction\) holds up"
    assert re.match(
        shown
        + rf" 2 others who wait for a lock on eventbus\.{table}\w*, the first for [\d.]+ m?s now\. end it: pg_terminate_backend",
        told,
    ), told
    assert run_here("doctor", "--quiet").stdout == ""


def test_who_waits_is_not_to_blame(well: EventBus, rows: Rows, run_here: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of a chain is named, though it holds no lock on a table of the bus; and rows alone are nobody's fault."""
    monkeypatch.setattr(diagnosing, "LOCKED", timedelta())
    rows.all("CREATE TABLE public.other (id int)")
    with ThreadPoolExecutor() as threads, rows.transaction() as root, rows.transaction() as middle:
        for cursor, name in ((root, "root"), (middle, "middle")):
            cursor.execute(f"SET application_name = '{name}'")
        root.execute("LOCK public.other")
        middle.execute("LOCK eventbus.event_log IN ACCESS EXCLUSIVE MODE")
        waiting = [threads.submit(middle.execute, "SELECT FROM public.other")]
        waiting.append(threads.submit(lock_exclusively, rows, "event_log"))
        wait_until(lambda: rows.value(WAITING) == 2, message="both to wait")

        done = run_here("doctor")

        root.connection.rollback()
        waiting[0].result()
        middle.connection.rollback()
        waiting[1].result()

    (told,) = [line for line in done.stdout.splitlines() if not line.startswith("ok")]
    assert re.search(r"of root \(idle in transaction\) holds up .* eventbus\.event_log", told), told


def lock_exclusively(rows: Rows, table: str) -> None:
    """As an ALTER TABLE would; and let go."""
    with rows.transaction() as cursor:
        cursor.execute(f"LOCK eventbus.{table} IN ACCESS EXCLUSIVE MODE")
        cursor.connection.rollback()


def test_the_oldest_transaction_counts_from_its_own_begin(well: EventBus, rows: Rows) -> None:
    """Of several the one that holds vacuum up the longest; not from when its connection was made."""
    with rows.transaction() as old, rows.transaction() as young:
        for cursor, name in ((old, "old"), (young, "young")):
            cursor.execute(f"SET application_name = '{name}'")
            cursor.connection.commit()
        made_at = rows.value("SELECT clock_timestamp()")
        for cursor in (old, young):
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT 1")
        with well.database.autocommit() as connection:
            found = read_snapshot(connection)

    assert found is not None
    assert "of old (idle in transaction)" in found.holder
    assert found.age < rows.value("SELECT clock_timestamp()") - made_at


def test_a_vacuum_holds_up_no_other(well: EventBus, rows: Rows) -> None:
    """Whoever ended it, as an old transaction, would bring about what that one does."""
    rows.all("CREATE TABLE public.large AS SELECT generate_series(1, 100000) AS n")
    with closing(psycopg2.connect(rows.url)) as connection, ThreadPoolExecutor() as threads:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SET vacuum_cost_delay = '100ms'; SET vacuum_cost_limit = 1")
        vacuum = threads.submit(cursor.execute, "VACUUM public.large")
        process = connection.info.backend_pid
        try:
            wait_until(lambda: rows.all("SELECT pid FROM pg_stat_progress_vacuum WHERE pid = %s", process))
            with well.database.autocommit() as asking:
                found = read_snapshot(asking)
        finally:
            ended = rows.value("SELECT pg_cancel_backend(%s)", process)
        with pytest.raises(psycopg2.errors.QueryCanceled):
            vacuum.result()

    assert found is None
    assert ended


def test_a_lock_is_told_in_any_schema(
    empty_database_url: str, make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only those of the bus's own: another bus in the same database has its own troubles."""
    monkeypatch.setattr(diagnosing, "LOCKED", timedelta())
    for schema in ("first", "second"):
        upgrade(empty_database_url.replace("postgresql://", "postgresql+psycopg2://"), schema)
    first, second = (make_bus(database_url=empty_database_url, schema=schema) for schema in ("first", "second"))
    rows = Rows(empty_database_url)
    with closing(rows), ThreadPoolExecutor() as threads, rows.transaction() as cursor:
        cursor.execute("LOCK second.event_log IN ACCESS EXCLUSIVE MODE")
        waiting = threads.submit(lambda: second.publish("order.created", {}, source="tests"))
        wait_until(lambda: rows.value(WAITING) == 1, message="somebody to wait")

        told = [[found for found in bus.diagnose() if found.check == "lock"] for bus in (first, second)]

        cursor.connection.rollback()
        waiting.result()

    assert [len(found) for found in told] == [0, 1]
    assert "second.event_log" in told[1][0].sentence


def test_ages_are_told_in_words(well: EventBus, rows: Rows) -> None:
    """A time of day is none: whoever reads it at night takes it for one."""
    rows.all("UPDATE eventbus.delivery SET due_at = now() - interval '3723 s'")
    [behind] = [finding for finding in well.diagnose() if finding.check == "group"]
    no_worker(well, rows)
    [unserved] = [finding for finding in well.diagnose() if finding.check == "group"]
    rows.all("UPDATE eventbus.delivery SET due_at = now() + interval '1 h'")
    [waiting] = [finding for finding in well.diagnose() if finding.check == "group"]

    assert behind.sentence == "stock is 1 h 2 min late."
    assert unserved.sentence == "stock has no worker; its oldest due delivery has waited for 1 h 2 min."
    assert waiting.sentence == "stock has no worker; nothing of it is due."
    # What waits would be cancelled with the group.
    removes = "eventbus groups remove stock"
    assert [removes in str(finding.advice) for finding in (behind, unserved, waiting)] == [False, False, True]


def test_a_worker_in_the_place_of_one_that_was_killed_has_no_namesake(well: EventBus, run_here: Run) -> None:
    """The old one counts as living for a while, but was not seen since the new one started."""
    beat(well, "stock")

    assert found(run_here) == []
    assert len(well.workers()) == 2


@pytest.mark.parametrize("off", [timedelta(seconds=9), timedelta(seconds=-9)])
def test_a_clock_that_is_off_is_noticed(well: EventBus, off: timedelta) -> None:
    """In either direction."""
    findings = diagnosing.diagnose(well.database, well.broker, version="0.1.0", clock=lambda: datetime.now(UTC) + off)

    [clock] = [item for item in findings if item.check == "clock"]
    assert (clock.level, "9 s off" in clock.sentence) == (Level.NOTICE, True)


def test_a_bus_without_groups_needs_no_worker(bus: EventBus, environment: object, run_here: Run) -> None:
    """It is new."""
    assert found(run_here) == [("workers", "notice")]


def test_without_a_database_only_the_servers_are_told_of(
    run_here: Run, environment: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an exit code of its own."""
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", f"postgresql://me:secret@127.0.0.1:{free_port()}/x")

    done = run_here("doctor")

    assert done.returncode == 4
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["ok", "broker"], ["fault", "database"]]
    assert "secret" not in done.stdout


def test_a_broker_that_is_away_is_a_fault_beside_the_rest(
    well: EventBus, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is looked at all the same."""
    monkeypatch.setenv("EVENTBUS_BROKER_URL", f"redis://127.0.0.1:{free_port()}/0")

    done = run_here("doctor")

    assert done.returncode == 4
    assert len(done.stdout.splitlines()) == 8


def test_tables_of_another_revision_are_a_fault(run_here: Run, bus: EventBus, environment: object, rows: Rows) -> None:
    """The sentence says how to mend it; the server itself is well."""
    database: Database = bus.database
    rows.all("UPDATE eventbus.alembic_version SET version_num = '0000'")

    done = run_here("doctor", "--quiet")

    assert database is not None
    assert done.returncode == 1
    assert "eventbus migrate" in done.stdout
