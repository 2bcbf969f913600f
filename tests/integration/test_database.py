"""Connections: what happens when the server drops them, when there are too few, and after a fork."""

import os
import threading
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from eventbus import EventBus
from eventbus.embedded import EmbeddedPostgres
from eventbus.errors import DatabaseBusy, DatabaseUnreachable
from eventbus.storage import database as storage
from eventbus.storage import preparing
from eventbus.storage.database import Database
from tests.integration.conftest import MakeBus
from tests.support.forks import Fork
from tests.support.rows import Rows


def test_a_connection_that_the_server_closed_is_replaced(bus: EventBus, rows: Rows) -> None:
    """A restart of PostgreSQL, or a proxy that drops idle connections, costs no publish."""
    bus.publish("order.created", 1, source="orders")
    rows.all(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    bus.publish("order.created", 2, source="orders")

    assert rows.count("event_log") == 2


def test_a_connection_that_the_process_closed_is_replaced(bus: EventBus, rows: Rows) -> None:
    """Whoever closed it."""
    with bus.database.engine.connect() as raw:
        driver_connection = raw.connection.driver_connection
    assert driver_connection is not None
    driver_connection.close()

    bus.publish("order.created", 1, source="orders")

    assert rows.count("event_log") == 1


def test_a_connection_is_kept_between_two_statements(bus: EventBus) -> None:
    """Neither another one is opened, nor the pool asked; what cannot be kept goes back to the pool."""
    database = bus.database
    with database.autocommit() as connection:
        first = connection.backend_pid
    with database.autocommit() as connection:
        second = connection.backend_pid
    kept = pool_of(database).checkedout()
    database.dispose()

    assert (first, kept) == (second, 1)
    assert pool_of(database).checkedout() == 0


def test_no_more_than_a_few_connections_are_kept(bus: EventBus) -> None:
    """The others are there for sessions."""
    small = Database(bus.settings.database_url, pool_size=2)

    with small.autocommit(), small.autocommit(), small.autocommit():
        pass

    assert pool_of(small).checkedout() == 1
    small.dispose()


def test_a_connection_that_was_interrupted_is_not_used_again(bus: EventBus) -> None:
    """What it was sent may still run, and its answer would be taken for another's."""
    database = bus.database
    with database.autocommit() as connection:
        first = connection.backend_pid
        connection.change("BEGIN")
    with database.autocommit() as connection:
        second = connection.backend_pid

    assert first != second


def pool_of(database: Database) -> sqlalchemy.QueuePool:
    """The pool below."""
    assert isinstance(database.engine.pool, sqlalchemy.QueuePool)
    return database.engine.pool


def test_a_server_that_comes_back_is_used_again(make_bus: MakeBus, postgres: EmbeddedPostgres) -> None:
    """While it is away each publish says so, and records nothing."""
    bus = make_bus(database_url=postgres.url)
    bus.publish("order.created", 1, source="orders")
    postgres.kill()

    with pytest.raises(DatabaseUnreachable):
        bus.publish("order.created", 2, source="orders")
    postgres.start()
    bus.publish("order.created", 3, source="orders")

    with bus.database.autocommit() as connection:
        assert connection.value("SELECT count(*) FROM eventbus.event_log") == 2


def test_too_few_connections_are_one_clear_error(bus: EventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than waiting for ever."""
    monkeypatch.setattr(storage, "_POOL_SECONDS", 0.05)
    url = bus.settings.database_url
    small = Database(url, pool_size=1)

    with small.autocommit(), small.autocommit(), pytest.raises(DatabaseUnreachable, match="raise the pool size"):
        with small.autocommit():
            pytest.fail("a third connection was opened")

    small.dispose()


def test_a_lock_that_is_not_granted_in_time_is_busy(bus: EventBus, rows: Rows) -> None:
    """A repeat may succeed."""
    bus.groups()

    with rows.transaction() as other:
        other.execute("LOCK TABLE eventbus.event_log")
        with bus.database.transaction() as connection, Session(connection.raw) as session:
            connection.change("SET LOCAL lock_timeout = '50ms'")
            with pytest.raises(DatabaseBusy, match="a lock was not granted in time"):
                bus.publish("order.created", 1, source="orders", session=session)


def test_an_error_in_a_statement_passes_as_it_is(bus: EventBus) -> None:
    """It is not the server's fault."""
    with pytest.raises(sqlalchemy.exc.DataError, match="division by zero"), bus.database.autocommit() as connection:
        connection.value("SELECT 1 / 0")


def test_a_connection_that_nobody_gave_back_is_of_no_use_to_sessions(database: Database) -> None:
    """It was collected, as after an interrupt between two lines, and still commits each statement by itself."""
    with database.autocommit() as connection:
        lost = connection.backend_pid
    kept = database._keeping._kept.pop()
    kept._pooled.close()
    del kept

    with database.transaction() as other:
        used = other.value("SELECT pg_backend_pid()")

    assert used != lost


def test_an_interrupt_while_a_connection_is_given_back_closes_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a handler's time limit: what is half reset is nobody's."""

    def interrupted(cursor: Any, *, known: Any) -> None:
        raise KeyboardInterrupt

    with database.autocommit() as connection:
        pass
    monkeypatch.setattr(preparing, "leave", interrupted)

    with pytest.raises(KeyboardInterrupt):
        database._keeping.release()

    assert connection.driver.closed


def test_threads_share_a_bus(bus: EventBus, rows: Rows) -> None:
    """Each statement on a connection of its own."""
    threads = [
        threading.Thread(target=lambda: [bus.publish("order.created", 1, source="orders") for _ in range(10)])
        for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert rows.count("event_log") == 40


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_opens_connections_of_its_own(bus: EventBus, rows: Rows) -> None:
    """A preloading server or a pool forks after a publish; neither disturbs the other."""
    bus.publish("order.created", 1, source="orders")

    if (child := os.fork()) == 0:
        try:
            bus.publish("order.created", 2, source="orders")
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    bus.publish("order.created", 3, source="orders")

    assert status == 0
    assert rows.count("event_log") == 3


def test_a_forked_child_shares_no_connection(database: Database) -> None:
    """Neither one that is kept nor one of the pool: each would read the other's answers, and either could end it."""

    def backends() -> set[int]:
        with database.autocommit() as kept, database.transaction() as pooled:
            return {kept.backend_pid, pooled.value("SELECT pg_backend_pid()")}

    ours = backends()
    with Fork(lambda fork: fork.report(" ".join(map(str, backends())))) as fork:
        theirs = {int(number) for number in fork.hear().split()}
        fork.join()

    assert (len(theirs), theirs & ours) == (2, set())
    assert backends() == ours


def test_a_value_without_a_row_is_none(bus: EventBus) -> None:
    """A question that finds nothing has no answer, and is no error."""
    for way in (bus.database.autocommit, bus.database.transaction):
        with way() as connection:
            found = [ask("SELECT 1 WHERE false") for ask in (connection.value, connection.values, connection.row)]

        assert found == [None, None, None]


def test_every_text_can_be_sent_whatever_encoding_the_database_prefers(make_bus: MakeBus, rows: Rows) -> None:
    """An error of a handler's with an arrow in it could not be settled."""
    rows.all(f"ALTER DATABASE {rows.value('SELECT current_database()')} SET client_encoding = 'LATIN1'")

    with make_bus().database.autocommit() as connection:
        found = connection.value("SELECT CAST(:text AS text)", text="→ there")

    assert found == "→ there"
