"""Prepared statements: once for each connection, and never a reason for a publish to fail."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from eventbus import Draft, EventBus
from tests.integration.conftest import MakeBus
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.rows import Rows
from tests.support.statements import statements


@pytest.fixture
def bus(make_bus: MakeBus) -> EventBus:
    """A bus with a group that wants everything, and a connection on which publishing is prepared."""
    bus = make_bus()
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    publish(bus)
    return bus


#: What our connections tell the planner, and what it does by itself.
PLANNING = "SELECT current_setting('enable_seqscan'), current_setting('jit')"


def publish(bus: EventBus, key: str | None = None) -> Any:
    """A fact."""
    return bus.publish("order.created", {"id": "ü%s"}, source="orders", idempotency_key=key)


def verbs(sent: list[str]) -> list[str]:
    """How each statement begins."""
    return [statement.split()[0] for statement in sent]


def tell(bus: EventBus, command: str) -> None:
    """Run *command* on the connection that the next publish will use."""
    with bus.database.autocommit() as connection:
        connection.change(command)


def test_a_hot_statement_is_prepared_once_for_each_connection(bus: EventBus, rows: Rows) -> None:
    """Parsed and planned once, then only executed; one and many alike."""
    bus.publish_many([Draft(type="order.created", data=1, source="orders")] * 2)

    with statements(bus.database) as sent:
        publish(bus)
        bus.publish_many([Draft(type="order.created", data=n, source="orders") for n in range(2)])

    assert verbs(sent) == ["EXECUTE", "EXECUTE"]
    assert rows.count("event_log") == rows.count("delivery") == 6


def test_nothing_is_prepared_when_it_is_switched_off(make_bus: MakeBus, rows: Rows) -> None:
    """EVENTBUS_PREPARE=0 is for proxies that pool transactions."""
    bus = make_bus(prepare="0")

    with statements(bus.database) as sent:
        publish(bus)
        bus.publish_many([Draft(type="order.created", data=1, source="orders")] * 2)

    assert not {"PREPARE", "EXECUTE"} & set(verbs(sent))
    assert rows.count("event_log") == 3


@pytest.mark.parametrize("command", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_a_session_that_has_forgotten_is_told_again(bus: EventBus, rows: Rows, command: str) -> None:
    """Whoever shares the connection may discard what is prepared, and how to plan; the publish that finds out succeeds."""
    with statements(bus.database) as sent:
        publish(bus)
        tell(bus, command)
        publish(bus)
        publish(bus)
        with bus.database.autocommit() as connection:
            planning = connection.row(PLANNING)

    assert verbs(sent) == ["EXECUTE", *verbs([command]), "EXECUTE", "WITH", "PREPARE", "EXECUTE", "SELECT"]
    assert planning == ("off", "off")
    assert rows.count("event_log") == rows.count("delivery") == 4


def test_a_migration_under_way_costs_no_publish(bus: EventBus, rows: Rows) -> None:
    """PostgreSQL refuses a plan whose answer would have another type: it is made anew."""
    rows.all("ALTER TABLE eventbus.event_log ALTER COLUMN created_at TYPE timestamptz(3)")

    with statements(bus.database) as sent:
        publish(bus)
        publish(bus)

    assert verbs(sent) == ["EXECUTE", "DEALLOCATE", "WITH", "PREPARE", "EXECUTE"]
    assert rows.count("event_log") == rows.count("delivery") == 3


def test_a_new_connection_prepares_anew(bus: EventBus, rows: Rows) -> None:
    """After a restart or a failover nothing is prepared, and nothing is taken for it."""
    rows.all(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    with statements(bus.database) as sent:
        publish(bus)

    assert verbs(sent) == ["PREPARE", "EXECUTE"]
    assert rows.count("event_log") == 2


def test_what_another_client_has_prepared_on_the_backend_is_used(bus: EventBus, rows: Rows) -> None:
    """Behind a proxy that pools transactions a backend has many clients; the name of a statement is made from its text."""
    with bus.database.autocommit() as connection:
        del connection.info["eventbus_prepared"]

    with statements(bus.database) as sent:
        publish(bus)

    assert verbs(sent) == ["PREPARE", "EXECUTE"]
    assert rows.count("event_log") == 2


def test_a_session_of_the_caller_prepares_nothing(bus: EventBus, rows: Rows) -> None:
    """A refused EXECUTE would end the caller's transaction."""
    with Session(bus.database.engine) as session, statements(bus.database) as sent:
        bus.publish("order.created", 1, source="orders", session=session)
        session.commit()

    assert verbs(sent) == ["WITH"]
    assert rows.count("event_log") == 2


def test_an_error_that_is_about_the_data_passes(bus: EventBus, rows: Rows) -> None:
    """A statement that fails when it is executed is not repeated."""
    rows.all("ALTER TABLE eventbus.event_log ADD CONSTRAINT refuse CHECK (source <> 'orders') NOT VALID")

    with statements(bus.database) as sent, pytest.raises(Exception, match="refuse"):
        publish(bus)

    assert verbs(sent) == ["EXECUTE"]


def test_a_connection_that_is_lost_while_preparing_recorded_nothing(
    database_url: str, make_bus: MakeBus, rows: Rows
) -> None:
    """The publisher is told so."""
    with FaultProxy(database_url) as proxy:
        bus = make_bus(database_url=proxy.url)
        bus.sync()
        proxy.lose(Fault.ANSWERED, "PREPARE eventbus_")

        with pytest.raises(Exception, match="nothing was recorded"):
            publish(bus)
        event = publish(bus)

        assert proxy.lost == 1
        assert rows.all("SELECT id FROM eventbus.event_log") == [(str(event.id),)]


def test_a_connection_that_goes_back_to_the_pool_plans_as_usual(bus: EventBus, rows: Rows) -> None:
    """Handlers' sessions take theirs from there."""
    with bus.database.autocommit() as connection:
        ours = connection.row(PLANNING)

    bus.database._keeping.release()
    with bus.database.engine.connect() as raw:
        theirs = raw.execute(text(PLANNING)).one()
    publish(bus)
    with bus.database.autocommit() as connection:
        again = connection.row(PLANNING)

    assert (ours, again) == (("off", "off"), ("off", "off"))
    assert [theirs] == rows.all(PLANNING)
    assert theirs[0] == "on"


def test_a_connection_that_cannot_go_back_to_the_pool_is_closed(bus: EventBus, rows: Rows) -> None:
    """The server ended it since it was used."""
    rows.all(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    bus.database._keeping.release()

    publish(bus)
    assert rows.count("event_log") == 2
