"""Leasing: what living processes hold stays theirs, and only that."""

import time
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from eventbus import Draft, Event, EventBus
from eventbus.errors import DatabaseBusy, DatabaseUnreachable
from eventbus.lifecycle.alerting import Alerting
from eventbus.lifecycle.leasing import renew_leases
from eventbus.lifecycle.relaying import Relay
from eventbus.lifecycle.slots import Status
from eventbus.storage.database import Database
from eventbus.worker.attendance import Attendance
from eventbus.worker.children import Children
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.forks import Fork
from tests.support.holdings import hold
from tests.support.rows import Rows
from tests.support.silent_proxy import SilentProxy
from tests.support.single_runs import SingleRuns

LEASE = timedelta(minutes=5)
NEARLY_ENDED = "UPDATE eventbus.delivery SET due_at = clock_timestamp() + interval '1 s'"
ENDED = "UPDATE eventbus.delivery SET due_at = clock_timestamp() - interval '1 s'"
#: Which deliveries have a new lease.
RENEWED = "SELECT event_id FROM eventbus.delivery WHERE due_at > clock_timestamp() + interval '4 min' ORDER BY event_id"


def handle(event: Any) -> None: ...


@pytest.fixture
def execution(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of the group ``a``."""
    bus.subscribe("#", group="a", handler=handle)
    return worker(lease=LEASE)


def publish(bus: EventBus, number: int) -> list[Event]:
    """Some events."""
    return bus.publish_many([Draft(type="order.created", data=index, source="orders") for index in range(number)])


def renew(execution: SingleRuns) -> int:
    """Renew what all slots hold."""
    return renew_leases(execution.database, execution.slots.list_accounts(), lease=LEASE)


def renewed(rows: Rows) -> list[str]:
    """The events whose deliveries have a new lease."""
    return [id for (id,) in rows.all(RENEWED)]


def test_what_is_held_is_renewed_and_nothing_else(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Released rows are nobody's, settled ones PostgreSQL's, and what nobody has claimed needs no lease."""
    owned = (Status.CLAIMED, Status.STARTED, Status.RETURNED, Status.FAILED, Status.FOUND_DEAD)
    events = publish(bus, 8)
    held = hold(execution, "a", limit=7)
    for row, status in enumerate((*owned, Status.RELEASED, Status.SETTLED)):
        held.slot.set(row, status)
    rows.all(NEARLY_ENDED)

    count = renew(execution)

    assert count == len(owned)
    assert renewed(rows) == [str(event.id) for event in events[: len(owned)]]


def test_only_the_living_are_renewed(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """What a dead process held comes back when its lease ends, at the latest; slots that hold nothing ask for nothing."""
    events = publish(bus, 3)
    attendance = attend(bus, execution)
    execution.slots.take()
    hold(execution, "a", limit=1)

    def child(fork: Fork) -> None:
        hold(execution, "a", limit=1)
        fork.report("holds")
        fork.wait()

    with Fork(child) as living:
        living.hear()
        with Fork(child) as dying:
            dying.hear()
            dying.kill()
            rows.all(NEARLY_ENDED)
            attendance.renew()

    assert renewed(rows) == [str(event.id) for event in events[:2]]


def attend(bus: EventBus, execution: SingleRuns, *, renewing: Database | None = None) -> Attendance:
    """What the main process does, without its threads."""
    relay = Relay(
        database=bus.database,
        broker=bus.broker,
        subscriptions=execution.known.all_ids(),
        own_queue="own",
        is_idle=lambda: True,
        restart_consumer=lambda: None,
    )
    alerting = Alerting(database=bus.database, settings=bus.settings)
    return Attendance(execution, relay, Children(None), alerting, renewing=renewing or bus.database)


def test_a_row_that_somebody_locks_costs_the_others_nothing(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """A handler's session may be about to settle it; waiting for that would cost all the others their leases."""
    events = publish(bus, 3)
    hold(execution, "a")
    rows.all(NEARLY_ENDED)

    with rows.transaction() as cursor:
        cursor.execute("SELECT FROM eventbus.delivery WHERE event_id = %s FOR UPDATE", (str(events[1].id),))
        count = renew(execution)

    assert count == 2
    assert renewed(rows) == [str(events[0].id), str(events[2].id)]


def test_an_ended_lease_that_nobody_took_over_is_renewed(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """The main process was frozen, the handler runs on: it is still the only one. What was taken over stays so."""
    taken, kept = publish(bus, 2)
    hold(execution, "a")
    rows.all(ENDED)
    other = execution.take("a", taken.id)
    rows.all(ENDED)

    count = renew(execution)

    assert other is not None
    assert count == 1
    assert renewed(rows) == [str(kept.id)]
    assert rows.delivery(taken.id, "a")["claim"] == other.claim


def test_nothing_held_asks_nothing(make_bus: MakeBus, execution: SingleRuns) -> None:
    """An idle worker does not even need its database."""
    nowhere = make_bus(database_url="postgresql://127.0.0.1:1/nowhere")
    execution.slots.take()

    assert renew_leases(nowhere.database, execution.slots.list_accounts(), lease=LEASE) == 0


def test_a_renewal_that_hangs_is_given_up_in_time(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """The next one has a chance before the lease ends."""
    publish(bus, 1)
    hold(execution, "a")

    with rows.transaction() as cursor, pytest.raises(DatabaseBusy, match="longer than its limit"):
        # Without the limit the test would wait for itself.
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '20s'")
        cursor.execute("LOCK TABLE eventbus.delivery IN ACCESS EXCLUSIVE MODE")
        renew_leases(execution.database, execution.slots.list_accounts(), lease=timedelta(seconds=0.4))


def test_a_renewal_of_which_nothing_is_heard_is_given_up_in_time(
    make_bus: MakeBus, bus: EventBus, execution: SingleRuns, database_url: str
) -> None:
    """A frozen server, or a proxy before one, ends no statement by itself."""
    publish(bus, 1)
    hold(execution, "a")
    with SilentProxy(database_url) as proxy:
        far = make_bus(database_url=proxy.url)
        renew_leases(far.database, execution.slots.list_accounts(), lease=LEASE)
        began = time.monotonic()

        with proxy.silence(), pytest.raises(DatabaseUnreachable):
            renew_leases(far.database, execution.slots.list_accounts(), lease=timedelta(seconds=6))

    # Before the lease would end.
    assert time.monotonic() - began < 6


def test_handlers_that_have_all_connections_keep_what_they_hold(
    bus: EventBus, execution: SingleRuns, rows: Rows, make_bus: MakeBus
) -> None:
    """In the pools of threads and greenlets they run beside what renews their leases."""
    publish(bus, 1)
    hold(execution, "a")
    rows.all(NEARLY_ENDED)
    engine = bus.database.engine
    attendance = attend(bus, execution, renewing=make_bus().database)

    with ExitStack() as stack:
        while engine.pool.checkedout() < engine.pool.size() + engine.pool._max_overflow:
            stack.enter_context(engine.connect())
        attendance.renew()

    assert len(renewed(rows)) == 1
