"""What a delivery costs a worker, counted: statements, which are round trips, commands to Redis, bytes of write-ahead log."""

from collections.abc import Iterator

import pytest
import redis
from celery import Celery
from sqlalchemy import text
from sqlalchemy.orm import Session

from eventbus import Draft, Event, EventBus
from eventbus.embedded import EmbeddedPostgres
from eventbus.lifecycle import holding
from eventbus.lifecycle.attending import Attendant
from eventbus.lifecycle.pace import Pace
from eventbus.lifecycle.slices import Slice
from tests.integration.conftest import MakeBus, MakeWorker
from tests.integration.test_broker_writes import commands
from tests.integration.test_publish_costs import DATA
from tests.support.fault_proxy import FaultProxy
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns

#: Of one delivery of DATA, claimed and marked a hundred at a time. Record it anew when tables or indexes change, and say why in
#: that commit.
WAL_BYTES = 792


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine a batch would be marked in several parts."""
    monkeypatch.setattr(holding, "FLUSH_SECONDS", 60)


@pytest.fixture
def wire(database_url: str) -> Iterator[FaultProxy]:
    """What goes to the database."""
    with FaultProxy(database_url) as proxy:
        yield proxy


def insert(event: Event, session: Session) -> None:
    """One row."""
    session.execute(text("INSERT INTO public.effect VALUES (:id)"), {"id": event.id})


def subscribed(bus: EventBus) -> EventBus:
    """The bus, with a group of each kind of handler."""
    bus.subscribe("order.*", group="plain", handler=lambda event: None)
    bus.subscribe("order.*", group="session", handler=insert)
    return bus


@pytest.fixture
def execution(make_bus: MakeBus, worker: MakeWorker, wire: FaultProxy, rows: Rows) -> SingleRuns:
    """A worker with warm connections."""
    rows.all("CREATE TABLE public.effect (id uuid)")
    bus = subscribed(make_bus(database_url=wire.url))
    made = worker(bus)
    for hinted in (publish(bus, 3)[0], publish(bus, 1)[0]):
        for group in ("plain", "session"):
            run(made, group, hinted)
    return made


def publish(bus: EventBus, count: int) -> list[Event]:
    """Some orders."""
    return bus.publish_many([Draft(type="order.created", data=DATA, source="orders") for _ in range(count)])


def run(execution: SingleRuns, group: str, hint: Event | None = None) -> int:
    """What a worker does for one wake-up, of a new event if of any; how many deliveries that was."""
    pace = Pace()
    pace.note(group, deliveries=1000, seconds=0.01)
    turn = Slice(execution, group, task_id="task", attendant=Attendant(execution.slots), pace=pace)
    assert turn.run_alone(hint and hint.id, everywhere=False) is None
    turn.run_batches(lambda *_: pytest.fail("a handler failed"))
    turn.close()
    return turn.done


def sent(wire: FaultProxy, start: int) -> list[str]:
    """How each statement since *start* begins."""
    return [statement.split()[0] for statement in wire.statements[start:]]


def test_a_wake_up_for_one_event_is_two_statements(
    execution: SingleRuns, bus: EventBus, wire: FaultProxy, redis_client: "redis.Redis[bytes]"
) -> None:
    """Claimed, and marked; the marking tells that nothing else is due. Redis is not asked."""
    [event] = publish(bus, 1)
    start = len(wire.statements)

    with commands(redis_client) as seen:
        done = run(execution, "plain", event)

    assert (done, sent(wire, start), seen) == (1, ["EXECUTE"] * 2, [])


def test_a_hundred_deliveries_are_two_statements(
    execution: SingleRuns, bus: EventBus, wire: FaultProxy, redis_client: "redis.Redis[bytes]"
) -> None:
    """Beside the looks for what was tried, and for more."""
    publish(bus, 200)
    start = len(wire.statements)

    with commands(redis_client) as seen:
        done = run(execution, "plain")

    assert (done, sent(wire, start), seen) == (200, ["EXECUTE"] * (1 + 2 * 2 + 1), [])


def test_a_delivery_with_a_session_is_one_statement_more_than_the_handlers_own(
    execution: SingleRuns, bus: EventBus, wire: FaultProxy
) -> None:
    """It marks, commits, and begins the next transaction; the batch ends the one that nobody needs, and waits for the disk."""
    publish(bus, 3)
    start = len(wire.statements)

    done = run(execution, "session")

    looks, marking = ["EXECUTE"], "SAVEPOINT"
    runs = ["BEGIN", "INSERT", marking, "INSERT", marking, "INSERT", marking, "ROLLBACK"]
    waits = ["SELECT"]
    assert (done, sent(wire, start)) == (3, [*looks * 2, *runs, *waits, *looks])
    [command] = {part for text in wire.statements[start:] if text.startswith(marking) for part in [verbs(text)]}
    assert command == ("SAVEPOINT", "SET", "SET", "EXECUTE", "COMMIT", "BEGIN", "SET")


def verbs(command: str) -> tuple[str, ...]:
    """How each statement of *command* begins."""
    return tuple(statement.split()[0] for statement in command.split("; "))


def test_a_delivery_writes_so_many_bytes_of_log(
    postgres: EmbeddedPostgres, broker_url: str, prefix: str, worker: MakeWorker
) -> None:
    """Within 5 % of what was recorded: an index more, or an update that no longer stays on its page, is a decision."""
    rows = Rows(postgres.url)
    for setting in ("full_page_writes", "autovacuum"):
        rows.all(f"ALTER SYSTEM SET {setting} = off")
    rows.all("SELECT pg_reload_conf()")
    bus = subscribed(EventBus(Celery("t"), database_url=postgres.url, broker_url=broker_url, prefix=prefix))
    execution = worker(bus)
    publish(bus, 100)
    run(execution, "plain")
    publish(bus, 1000)
    rows.all("CHECKPOINT")
    before = rows.value("SELECT pg_current_wal_insert_lsn()")

    done = sum(iter(lambda: run(execution, "plain"), 0))
    written = float(rows.value("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", before)) / done
    bus.database.dispose()
    rows.close()

    assert done == 1000
    assert written == pytest.approx(WAL_BYTES, rel=0.05)
