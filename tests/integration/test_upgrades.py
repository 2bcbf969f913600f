"""Upgrades: the tables reach the revision of this code, once, whoever asks and how many at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy

from eventbus import EventBus
from eventbus.errors import DatabaseBusy, DatabaseUnreachable, NotMigrated, WrongDatabase
from eventbus.settings import load_settings
from eventbus.storage import revision
from eventbus.storage.database import Database
from eventbus.storage.migrations import upgrade, upgrading
from eventbus.storage.revision import HEAD
from tests.integration.conftest import MakeBus
from tests.support import wait_until
from tests.support.rows import Rows


def url_of(database_url: str) -> str:
    """The URL as the bus reads it."""
    return load_settings({"database_url": database_url, "broker_url": "redis://x"}, {}).database_url


def test_an_upgrade_can_be_repeated(empty_database_url: str) -> None:
    """The first one says that there was nothing, the second that there was all."""
    url = url_of(empty_database_url)

    found = [upgrade(url), upgrade(url)]

    assert found == [None, HEAD]


def test_several_hosts_may_upgrade_at_once(empty_database_url: str) -> None:
    """One of them does the work."""
    url = url_of(empty_database_url)

    with ThreadPoolExecutor(4) as hosts:
        found = list(hosts.map(lambda _: upgrade(url), range(4)))

    assert sorted(found, key=str) == [HEAD, HEAD, HEAD, None]


@pytest.fixture
def altering(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revision that is lacking, and alters a table that every publish reads."""

    def alter(connection: sqlalchemy.Connection, schema: str) -> None:
        connection.exec_driver_sql(f"ALTER TABLE {schema}.subscription ADD COLUMN more int")
        connection.exec_driver_sql(f"UPDATE {schema}.alembic_version SET version_num = '{HEAD}'")

    monkeypatch.setattr(upgrading, "_run_revisions", alter)
    monkeypatch.setattr(upgrading, "_LOCK_SECONDS", 0.3)
    monkeypatch.setattr(upgrading, "_PAUSE_SECONDS", 0.3)
    rows.all("UPDATE eventbus.alembic_version SET version_num = '0001'")


def test_an_upgrade_that_waits_holds_up_nobody_for_long(
    altering: None, database_url: str, rows: Rows, bus: EventBus
) -> None:
    """Whoever publishes meanwhile waits behind it, for no longer than it waits itself; it goes on when it can."""
    rows.all(f"UPDATE eventbus.alembic_version SET version_num = '{HEAD}'")
    bus.publish("order.created", 1, source="orders")  # has looked at the revision
    rows.all("UPDATE eventbus.alembic_version SET version_num = '0001'")
    with rows.transaction() as cursor, ThreadPoolExecutor() as threads:
        cursor.execute("SELECT FROM eventbus.subscription")
        upgrading_now = threads.submit(upgrade, url_of(database_url))
        wait_until(lambda: rows.value("SELECT count(*) FROM pg_locks WHERE NOT granted"), message="it to wait")
        published = threads.submit(bus.publish, "order.created", 2, source="orders").result(10)
        is_waiting = not upgrading_now.done()
        cursor.connection.commit()

        assert upgrading_now.result(10) == "0001"

    assert is_waiting
    assert rows.count("event_log") == 2
    assert published is not None


def test_an_upgrade_that_waits_for_too_long_changes_nothing(
    altering: None, database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so; what it had done already is undone."""
    monkeypatch.setattr(upgrading, "_TRIES", 2)
    with rows.transaction() as cursor:
        cursor.execute("SELECT FROM eventbus.subscription")

        with pytest.raises(DatabaseBusy, match="a lock was not granted in time"):
            upgrade(url_of(database_url))

    assert rows.value("SELECT version_num FROM eventbus.alembic_version") == "0001"


def test_newer_tables_are_left_alone(database_url: str, rows: Rows) -> None:
    """Old code refuses tables that it does not know, and names both revisions."""
    rows.all("UPDATE eventbus.alembic_version SET version_num = '9999'")

    with pytest.raises(NotMigrated, match=rf"9999, newer than {HEAD}"):
        upgrade(url_of(database_url))


def test_a_server_that_is_too_old_is_named(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's version and the one that is needed."""
    monkeypatch.setattr(revision, "OLDEST_SERVER", 990000)

    with pytest.raises(WrongDatabase, match="eventbus needs"):
        upgrade(url_of(database_url))


def test_tables_may_live_in_another_schema(empty_database_url: str, make_bus: MakeBus) -> None:
    """EVENTBUS_SCHEMA names it; publishing and subscribing go there."""
    upgrade(url_of(empty_database_url), "messages")
    bus = make_bus(database_url=empty_database_url, schema="messages")
    bus.subscribe("#", group="a", handler=lambda event: None)

    bus.sync()
    bus.publish("order.created", 1, source="orders")

    with bus.database.autocommit() as connection:
        assert connection.value("SELECT count(*) FROM messages.delivery") == 1


def test_rows_of_a_week_without_a_partition_are_moved_when_it_is_made(bus: EventBus, rows: Rows) -> None:
    """No publish fails for want of housekeeping, and nothing stays in the default partition."""
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    for table in ("event_log", "delivery"):
        [(part,)] = rows.all(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = %s::regclass AND c.relname LIKE %s ORDER BY 1 LIMIT 1",
            f"eventbus.{table}",
            f"{table}_2%",
        )
        rows.all(f"DROP TABLE eventbus.{part}")
    event = bus.publish("order.created", 1, source="orders")
    stray = [rows.count("event_log_default"), rows.count("delivery_default")]

    made = rows.value("SELECT eventbus.ensure_partitions()")

    assert (stray, made) == ([1, 1], 2)
    assert [rows.count("event_log_default"), rows.count("delivery_default")] == [0, 0]
    assert rows.delivery(event.id, "a")["state"] == "pending"


def test_a_lost_table_is_one_sentence(bus: EventBus, rows: Rows) -> None:
    """Also when it vanishes while the service runs."""
    bus.groups()
    rows.all("DROP TABLE eventbus.event_log CASCADE")

    with pytest.raises(NotMigrated, match="eventbus migrate"):
        bus.publish("order.created", 1, source="orders")


def test_a_read_only_server_is_one_sentence(bus: EventBus, database_url: str, make_bus: MakeBus) -> None:
    """A standby after a failover refuses at once."""
    reading = make_bus(database_url=f"{database_url}?options=-cdefault_transaction_read_only%3Don")

    with pytest.raises(DatabaseUnreachable, match="is read-only"):
        reading.publish("order.created", 1, source="orders")


def test_a_lock_that_is_not_granted_is_busy(database_url: str, make_bus: MakeBus, rows: Rows) -> None:
    """It says that a repeat may succeed."""
    hasty = make_bus(database_url=f"{database_url}?options=-clock_timeout%3D50ms")
    hasty.groups()

    with rows.transaction() as cursor:
        cursor.execute("LOCK TABLE eventbus.event_log IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseBusy, match="try again"):
            hasty.publish("order.created", 1, source="orders")

    assert rows.count("event_log") == 0


def test_a_pool_without_a_free_connection_is_one_sentence(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names how long all connections have been in use."""
    monkeypatch.setattr("eventbus.storage.database._POOL_SECONDS", 0.05)
    database = Database(url_of(database_url), pool_size=1)

    with database.transaction(), database.transaction(), pytest.raises(DatabaseUnreachable, match="pool size"):
        database.transaction().__enter__()

    database.dispose()


def test_a_connection_that_the_server_closed_is_replaced(bus: EventBus, rows: Rows) -> None:
    """The next publish after a restart of PostgreSQL is no casualty of it."""
    bus.publish("order.created", 1, source="orders")
    rows.all(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )

    bus.publish("order.created", 2, source="orders")

    assert rows.count("event_log") == 2


def test_a_connection_that_we_closed_is_replaced(bus: EventBus, rows: Rows) -> None:
    """Whoever closed it."""
    with bus.database.autocommit() as connection:
        driver = connection.driver
    driver.close()

    bus.publish("order.created", 1, source="orders")

    assert rows.count("event_log") == 1


def test_a_statement_that_is_wrong_is_not_the_servers_fault(database: Database) -> None:
    """Errors of a statement pass as they are."""
    with database.autocommit() as connection, pytest.raises(sqlalchemy.exc.DataError):
        connection.value("SELECT 1 / :zero", zero=0)
