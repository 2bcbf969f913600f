"""Migrations: safe to repeat and to race, clear about what they find, and equal to the definitions that queries use."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy
from celery import Celery
from psycopg2 import errors
from sqlalchemy.engine import make_url

from eventbus import EventBus
from eventbus.errors import DatabaseUnreachable, NotMigrated, WrongDatabase
from eventbus.lifecycle import settlement
from eventbus.retry import RetryPolicy
from eventbus.storage import monitoring_tables, operations_tables, tables
from eventbus.storage.database import Database
from eventbus.storage.migrations import upgrade
from eventbus.storage.revision import HEAD, require_server
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.catalog import describe
from tests.support.rows import Rows
from tests.support.waiting import wait_until


def driver_url(url: str) -> str:
    """The URL with SQLAlchemy's name of the driver."""
    return url.replace("postgresql://", "postgresql+psycopg2://")


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Rows]:
    """A database without our tables."""
    found = Rows(empty_database_url)
    yield found
    found.close()


def test_upgrading_again_changes_nothing(empty: Rows, empty_database_url: str) -> None:
    """Every deploy may run it; it says what it found."""
    url = driver_url(empty_database_url)

    found = [upgrade(url), upgrade(url)]

    assert found == [None, HEAD]
    assert empty.all("SELECT version_num FROM eventbus.alembic_version") == [(HEAD,)]


def test_two_hosts_may_upgrade_at_once(empty_database_url: str) -> None:
    """One does it, the other waits and finds it done."""
    barrier, found = threading.Barrier(3), []

    def host() -> None:
        barrier.wait()
        found.append(upgrade(driver_url(empty_database_url)))

    hosts = [threading.Thread(target=host) for _ in range(3)]
    for thread in hosts:
        thread.start()
    for thread in hosts:
        thread.join()

    assert sorted(found, key=str) == [HEAD, HEAD, None]


def test_an_upgrade_that_fails_leaves_nothing(empty: Rows, empty_database_url: str) -> None:
    """One transaction: a database is never half migrated."""
    empty.all("CREATE SCHEMA eventbus")
    empty.all("CREATE TABLE eventbus.attempt (id integer)")

    with pytest.raises(sqlalchemy.exc.ProgrammingError, match="already exists"):
        upgrade(driver_url(empty_database_url))

    assert empty.all("SELECT tablename FROM pg_tables WHERE schemaname = 'eventbus'") == [("attempt",)]


def test_the_migrated_tables_are_the_defined_ones(rows: Rows, empty: Rows, empty_database_url: str) -> None:
    """Columns, types, defaults, keys, checks, indexes and partitioning, in PostgreSQL's own words."""
    empty.all("CREATE SCHEMA eventbus")
    engine = sqlalchemy.create_engine(driver_url(empty_database_url))
    assert monitoring_tables.metadata is operations_tables.metadata
    monitoring_tables.metadata.create_all(engine)
    engine.dispose()

    migrated, defined = describe(rows), describe(empty)

    assert migrated == defined
    assert len(migrated["partitioning"]) == len(tables.metadata.tables)


def test_another_schema_has_the_same_tables_and_works(
    empty: Rows, empty_database_url: str, broker_url: str, prefix: str, rows: Rows
) -> None:
    """EVENTBUS_SCHEMA lets several buses live in one database; nothing of ours lands elsewhere."""
    upgrade(driver_url(empty_database_url), schema="bus_2")
    bus = EventBus(
        Celery("test", set_as_current=False),
        database_url=empty_database_url,
        broker_url=broker_url,
        prefix=prefix,
        schema="bus_2",
    )
    bus.subscribe("order.*", group="a", handler=lambda event: None)
    bus.sync()

    event = bus.publish("order.created", {"eventbus.text": "eventbus.delivery"}, source="orders")
    swept = bus.sweep()
    bus.database.dispose()

    assert swept == {"a": 1}
    assert event.data == empty.value("SELECT data FROM bus_2.event_log") == {"eventbus.text": "eventbus.delivery"}
    assert describe(empty, "bus_2") == describe(rows)
    assert empty.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
    assert empty.value("SELECT to_regnamespace('eventbus')") is None


def asked(url: str, **options: Any) -> str:
    """What a query says about the database at *url*."""
    database = Database(driver_url(url), **options)
    try:
        with database.autocommit() as connection:
            return str(connection.value("SELECT 1"))
    finally:
        database.dispose()


def test_a_database_without_our_tables_is_named_with_what_to_do(empty_database_url: str) -> None:
    """The reader knows the command."""
    with pytest.raises(
        NotMigrated, match=rf"has no eventbus tables \(revision {HEAD} .* run 'eventbus migrate'"
    ) as caught:
        asked(empty_database_url)

    assert (caught.value.found, caught.value.expected) == (None, HEAD)


@pytest.mark.parametrize(
    ("revision", "says"),
    [("0000", "older than .* run 'eventbus migrate'"), ("9999", "newer than .* upgrade eventbus")],
)
def test_tables_of_another_revision_are_refused_naming_both(
    revision: str, says: str, rows: Rows, database_url: str
) -> None:
    """Code never works on tables that it does not know; publishing in a session asks too."""
    rows.all("UPDATE eventbus.alembic_version SET version_num = %s", revision)

    with pytest.raises(NotMigrated, match=f"revision {revision}, {says}") as caught:
        asked(database_url)

    assert (caught.value.found, caught.value.expected) == (revision, HEAD)


def test_tables_that_are_newer_are_never_migrated(rows: Rows, database_url: str) -> None:
    """An old host must not touch what a new one has made."""
    rows.all("UPDATE eventbus.alembic_version SET version_num = '9999'")

    with pytest.raises(NotMigrated, match="newer than"):
        upgrade(driver_url(database_url))

    assert rows.value("SELECT version_num FROM eventbus.alembic_version") == "9999"


@pytest.mark.parametrize("ask", [asked, lambda url: upgrade(driver_url(url))], ids=["use", "migrate"])
def test_a_server_that_refuses_connections_is_unreachable(ask: Any) -> None:
    """One sentence, no password."""
    with pytest.raises(DatabaseUnreachable, match="cannot be reached") as caught:
        ask("postgresql://user:s3cr3t@127.0.0.1:1/db")

    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [lambda url: url + "_missing", lambda url: make_url(url).set(username="nobody-known").render_as_string(False)],
)
def test_a_database_or_a_login_that_does_not_exist_is_refused_as_such(change: Any, database_url: str) -> None:
    """PostgreSQL is there, but the URL is wrong."""
    with pytest.raises(WrongDatabase, match="refuses us: .* check EVENTBUS_DATABASE_URL"):
        asked(change(database_url))


def test_a_server_that_is_too_old_is_refused() -> None:
    """Nothing half works on it."""

    class Old:
        """The connection to a PostgreSQL 14, which no test can start."""

        def execute(self, _statement: Any) -> Any:
            return self

        def scalar(self) -> str:
            return "140011 UTF8"

    with pytest.raises(WrongDatabase, match="PostgreSQL 14: eventbus needs 15"):
        require_server(Old(), where="here")  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [lambda url: upgrade(driver_url(url)), asked], ids=["migrate", "ask"])
def test_a_database_that_cannot_hold_every_text_is_refused(step: Any, database_url: str, rows: Rows) -> None:
    """Before there is an event, or the error of a handler, that cannot be written."""
    name = make_url(database_url).database
    url = make_url(database_url).set(database=f"{name}_latin").render_as_string(False)
    rows.all(f"CREATE DATABASE {name}_latin ENCODING 'LATIN1' TEMPLATE template0")

    with pytest.raises(WrongDatabase, match="encoding LATIN1, .* create one with ENCODING 'UTF8'"):
        step(url)

    rows.all(f"DROP DATABASE {name}_latin")


WEEK = "to_char(date_trunc('week', now(), 'UTC') AT TIME ZONE 'UTC', 'IYYY_IW')"


def drop_partitions(rows: Rows) -> None:
    """As if housekeeping had never run."""
    for (name,) in rows.all(
        "SELECT oid::regclass::text FROM pg_class WHERE relispartition AND relkind = 'r' AND relname !~ 'default' "
        "AND relnamespace = 'eventbus'::regnamespace"
    ):
        rows.all(f"DROP TABLE {name}")


def partitions(rows: Rows, table: str) -> list[str]:
    """Where the rows of a table are."""
    return [
        name
        for (name,) in rows.all(
            f"SELECT DISTINCT relname FROM eventbus.{table} AS t JOIN pg_class AS r ON r.oid = t.tableoid ORDER BY 1"
        )
    ]


def test_a_missing_week_fails_no_publish_and_is_made_up_for(bus: EventBus, worker: MakeWorker, rows: Rows) -> None:
    """The default partition takes the rows; ensure_partitions moves them, dead ones and their letters included."""
    bus.subscribe("#", group="a", handler=lambda event: None)
    execution = worker()
    drop_partitions(rows)
    events = [bus.publish("order.created", number, source="orders") for number in range(3)]
    claimed = execution.take("a", events[0].id, task_id=None)
    assert claimed is not None
    settlement.settle_failed(bus.database, claimed, KeyError(), policy=RetryPolicy(max_retries=0), worker="w")
    before = partitions(rows, "event_log"), partitions(rows, "delivery")

    created = rows.value("SELECT eventbus.ensure_partitions()")

    week = rows.value(f"SELECT {WEEK}")
    assert before == (["event_log_default"], ["delivery_default"])
    assert created >= 10
    assert partitions(rows, "event_log") == [f"event_log_{week}"]
    assert partitions(rows, "delivery") == [f"delivery_{week}"]
    assert bus.retry_dead_letters(group="a") == 1
    assert execution.take("a", events[0].id, task_id=None) is not None


def test_ensuring_partitions_again_creates_none(rows: Rows) -> None:
    """It may run as often as anyone likes."""
    assert rows.value("SELECT eventbus.ensure_partitions()") == 0


def test_two_may_ensure_partitions_at_once(rows: Rows, database_url: str) -> None:
    """Each week is created once."""
    drop_partitions(rows)
    barrier, created = threading.Barrier(2), []

    def ensure() -> None:
        own = Rows(database_url)
        barrier.wait()
        created.append(own.value("SELECT eventbus.ensure_partitions()"))
        own.close()

    threads = [threading.Thread(target=ensure) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(created)[0] == 0
    assert sorted(created)[1] >= 10


def test_making_partitions_ends_nobody_else_in_a_deadlock(
    bus: EventBus, worker: MakeWorker, rows: Rows, database_url: str
) -> None:
    """Publishers, claims and whoever reads a story go on while a bus makes the tables of a week; if anybody gives up, it does."""
    bus.subscribe("#", group="a", handler=lambda event: None)
    execution = worker()
    event = bus.publish("order.created", 1, source="orders")
    is_over, done = threading.Event(), [0, 0, 0]

    def repeat(number: int, action: Callable[[], object]) -> None:
        while not is_over.is_set():
            action()
            done[number] += 1

    def publish() -> None:
        bus.publish("order.created", 1, source="orders")

    with ThreadPoolExecutor(3) as others, closing(Rows(database_url)) as own:
        actions = [publish, lambda: execution.take("a"), lambda: bus.story(event.correlation_id)]
        running = [others.submit(repeat, number, action) for number, action in enumerate(actions)]
        try:
            wait_until(lambda: min(done) > 5, message="others at work")
            for weeks in range(6, 30, 2):
                with suppress(errors.LockNotAvailable):
                    own.value(f"SELECT eventbus.ensure_partitions('{weeks} weeks')")
        finally:
            is_over.set()
        for one in running:
            one.result()

    rows.value("SELECT eventbus.ensure_partitions('28 weeks')")
    assert rows.value("SELECT eventbus.ensure_partitions('28 weeks')") == 0


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Auckland", "America/St_Johns"])
def test_weeks_follow_each_other_without_a_gap_whatever_the_time_zone(zone: str, rows: Rows) -> None:
    """A session's zone, and its changes to and from summer time, leave no week out and none doubled."""
    rows.all(f"SET TIME ZONE '{zone}'")

    rows.all("SELECT eventbus.ensure_partitions('60 weeks')")

    bounds = rows.all(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname ~ '^delivery_[0-9_]+$' ORDER BY relname"
    )
    edges = [tuple(UUID(part) for part in bound.split("'")[1::2]) for (bound,) in bounds]
    starts = [datetime.fromtimestamp((low.int >> 80) / 1000, UTC) for low, _ in edges]
    assert len(edges) >= 61
    assert all(one[1] == other[0] for one, other in zip(edges, edges[1:], strict=False))
    assert {(start.weekday(), start.hour, start.minute) for start in starts} == {(0, 0, 0)}
    assert starts[-1] - starts[0] == timedelta(weeks=len(starts) - 1)


def test_a_look_up_by_id_reads_one_partition(bus: EventBus, rows: Rows) -> None:
    """An id is a time, so the other weeks are not even opened."""
    event = bus.publish("order.created", 1, source="orders")

    for table, column in (("event_log", "id"), ("delivery", "event_id")):
        plan = rows.value(f"EXPLAIN (FORMAT JSON) SELECT * FROM eventbus.{table} WHERE {column} = %s", str(event.id))
        assert len(set(re.findall(r"'Relation Name': '(\w+)'", str(plan)))) == 1


def test_a_later_revision_check_is_made_once_per_process(bus: EventBus, make_bus: MakeBus, rows: Rows) -> None:
    """Publishing costs no extra round trip after the first."""
    bus.groups()
    rows.all("UPDATE eventbus.alembic_version SET version_num = '9999'")

    assert bus.groups() == []
    with pytest.raises(NotMigrated):
        make_bus().groups()


def test_a_check_that_fails_is_made_again(rows: Rows, database: Database) -> None:
    """A service that starts before the migration works after it."""
    rows.all("UPDATE eventbus.alembic_version SET version_num = '0000'")
    with pytest.raises(NotMigrated), database.transaction():
        pytest.fail("the block was entered")

    rows.all("UPDATE eventbus.alembic_version SET version_num = %s", HEAD)

    with database.transaction() as connection:
        assert connection.value("SELECT 1") == 1
