"""Sessions of one batch wait for the disk together: a server that crashes first forgets effects and completions alike."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from eventbus import Event, EventBus
from eventbus.embedded import EmbeddedPostgres
from eventbus.lifecycle import holding, slices
from eventbus.lifecycle.attending import Attendant
from eventbus.lifecycle.pace import Pace
from eventbus.lifecycle.slices import Slice
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns
from tests.support.waiting import wait_until

Body = Callable[[Event, Session], object]

DELIVERIES = "FROM eventbus.delivery WHERE event_id IN (SELECT id FROM eventbus.event_log WHERE type = 'order.created')"


class Orders:
    """Six orders that wait for one batch, on a server that writes nothing to its disk before somebody waits for it."""

    def __init__(self, postgres: EmbeddedPostgres, bus: EventBus, worker: MakeWorker) -> None:
        self._postgres = postgres
        self.bus = bus
        #: By the number of an order: what its handler does beside inserting it.
        self.bodies: dict[int, Body] = {}
        bus.subscribe("order.created", group="a", handler=self._handle)
        bus.subscribe("parcel.sent", group="a", handler=lambda event: None)
        self.execution: SingleRuns = worker(bus)
        self.query("CREATE TABLE public.effect (number integer)")
        self.query("ALTER SYSTEM SET wal_writer_delay = '10s'")
        self.query("SELECT pg_reload_conf()")
        for number in range(1, 7):
            bus.publish("order.created", number, source="orders")

    def _handle(self, event: Event, session: Session) -> None:
        session.execute(text("INSERT INTO effect VALUES (:number)"), {"number": event.data})
        body = self.bodies.pop(event.data, None)
        if body is not None:
            body(event, session)

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """What a statement finds, on a connection of its own."""
        with closing(Rows(self._postgres.url)) as rows:
            return rows.all(statement)

    def take(self) -> Slice:
        """A slice."""
        return Slice(self.execution, "a", task_id="task", attendant=Attendant(self.execution.slots), pace=Pace())

    def drain(self) -> list[str]:
        """Run all in one batch; what became of those that failed."""
        failed: list[str] = []
        batch = self.execution.claim_batch("a", self.execution.claimant(task_id="task"), limit=10)
        # PostgreSQL 15 writes a page of its log as soon as it is full: there is none in what follows.
        self.query("SELECT pg_switch_wal()")
        turn = self.take()
        turn._run_batch(batch, lambda claimed, error, outcome: failed.append(type(outcome).__name__))
        turn.close()
        return failed

    def crash(self, *_: object) -> None:
        """Whatever is not on the disk is gone."""
        self._postgres.kill()
        self._postgres.start()

    def effects(self) -> list[object]:
        """The numbers of the orders that were inserted."""
        return [number for (number,) in self.query("SELECT number FROM public.effect ORDER BY 1")]

    def states(self) -> list[object]:
        """Where their deliveries stand."""
        return [state for (state,) in self.query(f"SELECT state {DELIVERIES} ORDER BY event_id")]


@pytest.fixture
def orders(
    postgres: EmbeddedPostgres, make_bus: MakeBus, worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Orders]:
    """Six orders; nothing is given back behind one whose handler waits until a crashed server is there again."""
    monkeypatch.setattr(holding, "PATIENCE_SECONDS", 3600.0)
    monkeypatch.setattr(slices, "SLICE_SECONDS", 3600.0)
    bus = make_bus(database_url=postgres.url)
    yield Orders(postgres, bus, worker)
    bus.database.dispose()


def test_what_a_crash_forgets_of_a_batch_runs_again_and_takes_effect_once(orders: Orders) -> None:
    """Effect and completion of a run are one transaction, whether or not it waited for the disk."""
    orders.bodies[5] = orders.crash

    failed = orders.drain()
    forgotten = orders.effects(), orders.states()
    orders.query("UPDATE eventbus.delivery SET due_at = clock_timestamp() WHERE state IN ('running', 'retrying')")
    for _ in range(4):
        turn = orders.take()
        assert turn.run_alone(None) is None
        turn.close()

    assert (failed, *forgotten) == (["Retrying"], [1, 6], ["done", *["running"] * 3, "retrying", "done"])
    assert (orders.effects(), orders.states()) == ([1, 2, 3, 4, 5, 6], ["done"] * 6)


def test_a_batch_that_has_ended_is_on_the_disk(orders: Orders) -> None:
    """It waits, for all."""
    failed = orders.drain()
    orders.crash()

    assert (failed, orders.effects(), orders.states()) == ([], [1, 2, 3, 4, 5, 6], ["done"] * 6)


def test_a_run_that_has_published_waits_for_the_disk(orders: Orders) -> None:
    """Whoever was told of its event finds it, whatever becomes of the server."""
    orders.bodies[3] = lambda event, session: orders.bus.publish("order.shipped", 3, source="a")
    orders.bodies[5] = orders.crash

    orders.drain()

    assert (orders.effects(), orders.states()[:4]) == ([1, 2, 3, 6], ["done", "done", "done", "running"])
    assert orders.query("SELECT data FROM eventbus.event_log WHERE type = 'order.shipped'") == [(3,)]


def test_a_handler_may_ask_that_its_commit_waits_for_the_disk(orders: Orders) -> None:
    """As in any transaction of its own."""
    orders.bodies[3] = lambda event, session: session.execute(text("SET LOCAL synchronous_commit = on"))
    orders.bodies[5] = orders.crash

    orders.drain()

    assert orders.effects() == [1, 2, 3, 6]


def test_a_batch_that_ends_with_a_run_without_session_is_on_the_disk(orders: Orders) -> None:
    """Whose marking does not wait either."""
    orders.bus.publish("parcel.sent", {}, source="a")

    failed = orders.drain()
    orders.crash()

    assert (failed, orders.effects(), orders.states()) == ([], [1, 2, 3, 4, 5, 6], ["done"] * 6)


def test_a_batch_whose_last_run_has_lost_its_claim_is_on_the_disk(orders: Orders) -> None:
    """That one has committed nothing."""

    def lose(event: Event, session: Session) -> None:
        orders.query(f"UPDATE eventbus.delivery SET claim = 7 WHERE event_id = '{event.id}'")

    orders.bodies[6] = lose

    failed = orders.drain()
    orders.crash()

    assert (failed, orders.effects(), orders.states()) == ([], [1, 2, 3, 4, 5], [*["done"] * 5, "running"])


def test_a_batch_whose_rest_is_given_back_is_on_the_disk(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the last run that it had is committed."""

    def wait(event: Event, session: Session) -> None:
        # Not before: the first two may be slow for another reason.
        monkeypatch.setattr(holding, "PATIENCE_SECONDS", 0.05)
        wait_until(lambda: orders.states() == ["done", "done", "running", *["pending"] * 3])

    orders.bodies[3] = wait

    failed = orders.drain()
    orders.crash()

    assert (failed, orders.effects(), orders.states()) == ([], [1, 2, 3], [*["done"] * 3, *["pending"] * 3])


def test_a_batch_whose_server_has_crashed_waits_for_nothing(orders: Orders, postgres: EmbeddedPostgres) -> None:
    """What the server has forgotten runs again."""
    with orders.execution.sessions() as sessions:
        sessions._owes_disk = True
        postgres.kill()

    postgres.start()
    assert (orders.effects(), orders.states()) == ([], ["pending"] * 6)


def test_a_run_that_is_replayed_meanwhile_waits_for_the_disk_as_well(orders: Orders) -> None:
    """The last one, whose marking is refused where it would also have committed."""

    def replay(event: Event, session: Session) -> None:
        orders.query(f"UPDATE eventbus.delivery SET rerun = true WHERE event_id = '{event.id}'")

    orders.bodies[6] = replay

    failed = orders.drain()
    orders.crash()

    assert (failed, orders.effects(), orders.states()) == ([], [1, 2, 3, 4, 5, 6], [*["done"] * 5, "pending"])
