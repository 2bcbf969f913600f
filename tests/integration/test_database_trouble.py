"""Trouble with PostgreSQL: a publish raises an error that names it, or succeeds; never is half of it recorded."""

import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from eventbus import Draft, EventBus
from eventbus.errors import DatabaseBusy, DatabaseError, DatabaseUnreachable
from eventbus.storage.database import Database
from tests.integration.conftest import MakeBus
from tests.support import wait_until
from tests.support.rows import Rows

Publish = Callable[[EventBus], Any]


@pytest.fixture
def bus(make_bus: MakeBus) -> EventBus:
    """A bus with a group that wants everything."""
    bus = make_bus()
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    return bus


def alone(bus: EventBus) -> None:
    """One event."""
    bus.publish("order.created", 1, source="orders", idempotency_key="k")


def many(bus: EventBus) -> None:
    """Two events."""
    bus.publish_many(
        Draft(type="order.created", data=n, source="orders", idempotency_key=key) for n, key in enumerate(["k", None])
    )


def in_session(bus: EventBus) -> None:
    """One event in a transaction."""
    with Session(bus.database.engine) as session:
        bus.publish("order.created", 1, source="orders", session=session)
        session.commit()


WAYS = pytest.mark.parametrize("publish", [alone, many, in_session], ids=lambda function: function.__name__)


def assert_nothing_is_there(rows: Rows) -> None:
    """No event, no delivery, no key."""
    assert [rows.count(table) for table in ("event_log", "delivery", "publish_key")] == [0, 0, 0]


def fail_with(rows: Rows, table: str, code: str) -> None:
    """Have each insert into *table* end with the error of that SQLSTATE."""
    rows.all(
        "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$"
    )
    rows.all(f"CREATE TRIGGER fail AFTER INSERT ON eventbus.{table} FOR EACH ROW EXECUTE FUNCTION public.fail()")


@WAYS
@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        ("53100", DatabaseUnreachable, "has a full disk"),
        ("53200", DatabaseUnreachable, "is out of memory"),
        ("40001", DatabaseBusy, "another transaction changed the same rows"),
        ("40P01", DatabaseBusy, "deadlock"),
    ],
    ids=["disk full", "out of memory", "serialization failure", "deadlock"],
)
def test_a_failure_at_the_last_row_leaves_nothing(
    bus: EventBus, rows: Rows, publish: Publish, code: str, error: type[DatabaseError], says: str
) -> None:
    """The event was written when its delivery failed: neither exists, and a repeat succeeds once the trouble is over."""
    fail_with(rows, "delivery", code)

    with pytest.raises(error, match=says):
        publish(bus)
    assert_nothing_is_there(rows)
    rows.all("DROP TRIGGER fail ON eventbus.delivery")
    publish(bus)

    assert rows.count("event_log") == rows.count("delivery") > 0


@WAYS
@pytest.mark.parametrize(
    ("setting", "says"),
    [("statement_timeout", "the statement took longer than its limit"), ("lock_timeout", "a lock was not granted")],
)
def test_a_statement_that_waits_too_long_is_busy(
    bus: EventBus, rows: Rows, publish: Publish, setting: str, says: str
) -> None:
    """As whoever runs the server has limited it."""
    bus.database.dispose()
    rows.all(f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {setting} = ''100ms''', current_database()); END $$")

    with rows.transaction() as other:
        other.execute("LOCK TABLE eventbus.delivery IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseBusy, match=says):
            publish(bus)

    assert_nothing_is_there(rows)


@WAYS
def test_a_read_only_server_is_named(bus: EventBus, rows: Rows, publish: Publish) -> None:
    """Such as a standby after a failover; later publishes reach the new primary."""
    rows.all(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$"
    )
    bus.database.dispose()

    with pytest.raises(DatabaseUnreachable, match="is read-only"):
        publish(bus)

    assert_nothing_is_there(rows)


@WAYS
def test_a_backend_that_is_terminated_in_mid_statement_recorded_nothing(
    bus: EventBus, rows: Rows, publish: Publish
) -> None:
    """An operator ended it, or the server went down: the error says so, and it is true; with a key there is none."""
    publish(bus)
    rows.all("TRUNCATE eventbus.event_log, eventbus.delivery, eventbus.publish_key")
    raised: list[BaseException] = []

    def attempt() -> None:
        try:
            publish(bus)
        except DatabaseError as error:
            raised.append(error)

    with rows.transaction() as other:
        other.execute("LOCK TABLE eventbus.delivery IN ACCESS EXCLUSIVE MODE")
        thread = threading.Thread(target=attempt)
        thread.start()
        waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        [(pid,)] = wait_until(lambda: rows.all(waiting))
        rows.all("SELECT pg_terminate_backend(%s, 5000)", pid)
    thread.join(10)

    if publish is alone:  # a key makes it safe to publish again
        assert (raised, rows.count("event_log"), rows.count("delivery")) == ([], 1, 1)
    else:
        assert [type(error) for error in raised] == [DatabaseUnreachable]
        assert_nothing_is_there(rows)


def test_after_a_lost_connection_older_ones_are_not_trusted(bus: EventBus, rows: Rows) -> None:
    """Where a network has gone silent, each pooled connection would cost its whole time limit."""
    database = bus.database
    with database.autocommit() as first, database.autocommit() as second:
        pids = {first.backend_pid, second.backend_pid}
        rows.all("SELECT pg_terminate_backend(%s, 5000)", first.backend_pid)
        with pytest.raises(DatabaseUnreachable), database.translated():
            first.value("SELECT 1")

    with database.autocommit() as third, database.autocommit() as fourth:
        assert not pids & {third.backend_pid, fourth.backend_pid}


def test_a_network_that_goes_silent_is_given_up(database: Database, database_url: str) -> None:
    """The kernel asks the peer for signs of life, and ends what nobody acknowledges; the URL may say how patiently."""
    with database.autocommit() as connection:
        with socket.socket(fileno=os.dup(connection.driver.fileno())) as found:
            usual = [
                found.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            ]
            alive = found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    patient = Database(f"{database_url.replace('postgresql:', 'postgresql+psycopg2:')}?tcp_user_timeout=60000")
    with patient.autocommit() as connection:
        with socket.socket(fileno=os.dup(connection.driver.fileno())) as found:
            asked = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    patient.dispose()

    assert (usual, alive, asked) == ([10, 5, 3, 15000], 1, 60000)
