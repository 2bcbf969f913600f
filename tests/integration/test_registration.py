"""Registration: what code declares is what every publisher sees; nothing is lost when code changes."""

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from eventbus import EventBus
from eventbus.errors import InvalidPattern, SubscriptionConflict, UnknownGroup
from eventbus.lifecycle import registration, sweeping
from eventbus.storage import deliveries
from eventbus.storage.database import Connection
from eventbus.storage.deliveries import Orphan
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.rows import Rows


def handle(event: Any) -> None: ...


def other(event: Any) -> None: ...


def stored(rows: Rows) -> list[tuple[Any, ...]]:
    """The living subscriptions."""
    return rows.all(
        "SELECT group_name, pattern, handler FROM eventbus.subscription WHERE removed_at IS NULL ORDER BY 1, 2"
    )


def test_declarations_are_stored_with_their_policy(bus: EventBus, prefix: str) -> None:
    """Group, queue, pattern, handler: what anyone may ask the database."""
    bus.subscribe("order.*", group="b", handler=handle)
    bus.subscribe("order.created", group="a", handler=handle)

    found = bus.sync()

    assert [(item.group, item.pattern, item.queue, item.paused) for item in found] == [
        ("a", "order.created", f"{prefix}.a", False),
        ("b", "order.*", f"{prefix}.b", False),
    ]
    assert found[0].handler == f"{__name__}.handle"
    assert found[0].created_at.utcoffset() == found[0].last_seen_at.utcoffset()


def test_registering_again_changes_nothing_but_when_it_was_seen(bus: EventBus) -> None:
    """Every worker that starts does it."""
    bus.subscribe("order.created", group="a", handler=handle)

    [first], [second] = bus.sync(), bus.sync()

    assert (second.id, second.created_at) == (first.id, first.created_at)
    assert second.last_seen_at > first.last_seen_at


def test_a_policy_that_changed_is_rewritten(make_bus: MakeBus, rows: Rows) -> None:
    """The database shows what runs."""
    for retries in (1, 7):
        bus = make_bus()
        bus.subscribe("order.created", group="a", handler=handle, max_retries=retries)
        bus.sync()

    assert rows.value("SELECT policy ->> 'max_retries' FROM eventbus.subscription") == "7"


def test_a_queue_that_changed_is_rewritten(make_bus: MakeBus) -> None:
    """Sweeps push where workers of the new prefix listen."""
    for name in ("one", "two"):
        bus = make_bus(prefix=name)
        bus.subscribe("order.created", group="a", handler=handle)
        bus.sync()

    assert [item.queue for item in bus.groups()] == ["two.a"]


def test_many_threads_register_at_once(make_bus: MakeBus, rows: Rows) -> None:
    """Groups in any order of declaration: nobody waits for ever, nothing is doubled."""
    barrier, errors = threading.Barrier(4), []

    def start(bus: EventBus) -> None:
        barrier.wait()
        try:
            for _ in range(5):
                bus.sync()
        except Exception as error:
            errors.append(error)

    buses = [make_bus() for _ in range(4)]
    for index, bus in enumerate(buses):
        for group in "abc" if index % 2 else "cba":
            bus.subscribe("order.created", group=group, handler=handle)
    threads = [threading.Thread(target=start, args=(bus,)) for bus in buses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert [row[0] for row in stored(rows)] == ["a", "b", "c"]


def register_in_child(settings: dict[str, str], pattern: str, outcome: Any) -> None:
    """What a deploying process does."""
    bus = EventBus(Celery("child", set_as_current=False), **settings)
    bus.subscribe(pattern, group="a", handler=handle)
    try:
        bus.sync()
        outcome.put("stored")
    except SubscriptionConflict:
        outcome.put("conflict")


def test_of_two_processes_that_conflict_one_is_refused(
    database_url: str, broker_url: str, prefix: str, rows: Rows
) -> None:
    """They see each other's declarations, however close together they start."""
    context = multiprocessing.get_context("spawn")
    outcome = context.Queue()
    settings = {"database_url": database_url, "broker_url": broker_url, "prefix": prefix}
    children = [
        context.Process(target=register_in_child, args=(settings, pattern, outcome))
        for pattern in ("order.*", "*.created")
    ]

    for child in children:
        child.start()
    outcomes = sorted(outcome.get(timeout=30) for _ in children)
    for child in children:
        child.join()
    outcome.close()
    outcome.join_thread()

    assert outcomes == ["conflict", "stored"]
    assert len(stored(rows)) == 1


def test_a_conflict_across_codebases_names_both_and_changes_nothing(make_bus: MakeBus, rows: Rows) -> None:
    """The second service learns who is in its way, and what it can do; not even its other groups are written."""
    one, two = make_bus(), make_bus()
    one.subscribe("order.created", group="b", handler=handle)
    one.sync()
    two.subscribe("order.paid", group="a", handler=other)
    two.subscribe("order.*", group="b", handler=other)

    with pytest.raises(SubscriptionConflict, match=r"'eventbus -A MODULE sync --replace'") as caught:
        two.sync()

    assert caught.value.group == "b"
    assert caught.value.declared == ("order.*", f"{__name__}.other")
    assert caught.value.existing[0] == "order.created"
    assert caught.value.existing[1].startswith(f"{__name__}.handle (declared last at ")
    assert stored(rows) == [("b", "order.created", f"{__name__}.handle")]


def test_another_handler_for_the_same_pattern_is_a_conflict_too(make_bus: MakeBus) -> None:
    """A service does not take over another one's group by accident."""
    one, two = make_bus(), make_bus()
    one.subscribe("order.created", group="a", handler=handle)
    one.sync()
    two.subscribe("order.created", group="a", handler=other)

    with pytest.raises(SubscriptionConflict):
        two.sync()


def test_codebases_whose_patterns_share_no_event_share_a_group(make_bus: MakeBus, rows: Rows) -> None:
    """sync never deletes what another codebase has declared."""
    for pattern in ("order.created", "order.paid"):
        bus = make_bus()
        bus.subscribe(pattern, group="a", handler=handle)
        bus.sync()
    make_bus().sync()

    assert [row[1] for row in stored(rows)] == ["order.created", "order.paid"]


def test_replacing_hands_the_open_deliveries_over(make_bus: MakeBus, worker: MakeWorker, rows: Rows) -> None:
    """A deploy that widens `order.created` to `order.*` loses nothing that waits, and repeats nothing that is done."""
    old, new = make_bus(), make_bus()
    old.subscribe("order.created", group="a", handler=handle)
    old_worker = worker(old)
    done, waiting = (old.publish("order.created", number, source="orders") for number in range(2))
    finished = old_worker.take("a", done.id, task_id=None)
    assert finished is not None
    old_worker.run(finished)
    new.subscribe("order.*", group="a", handler=other)

    new.sync(replace=True)

    assert stored(rows) == [("a", "order.*", f"{__name__}.other")]
    assert old_worker.take("a", waiting.id, task_id=None) is None
    taken = worker(new).take("a", None, task_id=None)
    assert taken is not None
    assert taken.event.id == waiting.id
    assert new.publish("order.created", 1, source="orders") is not None
    assert rows.value("SELECT count(*) FROM eventbus.delivery WHERE finished_at IS NULL") == 2


def test_a_pattern_that_is_split_hands_each_delivery_to_the_one_that_takes_its_type(
    make_bus: MakeBus, worker: MakeWorker, rows: Rows
) -> None:
    """What none takes any more is an orphan, and cancelled: no handler is given an event that it never asked for."""
    before, after = make_bus(), make_bus()
    before.subscribe("order.*", group="a", handler=handle)
    before.sync()
    ids = {name: before.publish(f"order.{name}", 1, source="orders").id for name in ("created", "paid", "gone")}
    seen = []
    for name in ("created", "paid"):
        after.subscribe(f"order.{name}", group="a", handler=lambda event, name=name: seen.append((name, event.id)))

    after.sync(replace=True)
    execution = worker(after)
    while (claimed := execution.take("a")) is not None:
        execution.run(claimed)
    after.sweep()

    assert sorted(seen) == sorted((name, ids[name]) for name in ("created", "paid"))
    assert rows.delivery(ids["gone"], "a")["state"] == "cancelled"


def test_a_sweep_leaves_a_group_that_comes_back_what_it_is_owed(
    make_bus: MakeBus, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it comes back after the sweep has looked; while somebody registers it the sweep leaves it alone."""
    bus, again = make_bus(), make_bus()
    for each in (bus, again):
        each.subscribe("order.created", group="a", handler=handle)
    bus.sync()
    owed = bus.publish("order.created", 1, source="orders")
    rows.all("UPDATE eventbus.subscription SET removed_at = now()")
    list_orphans, found = deliveries.list_orphans, []

    def list_then_sync(connection: Connection, *, limit: int) -> list[Orphan]:
        found.extend(list_orphans(connection, limit=limit))
        again.sync()
        return found

    with rows.transaction() as cursor:
        cursor.execute("SELECT FROM eventbus.consumer_group FOR UPDATE")
        assert sweeping.settle_orphans(bus.database) == 0
    monkeypatch.setattr(deliveries, "list_orphans", list_then_sync)
    assert sweeping.settle_orphans(bus.database) == 0

    assert [orphan.event_id for orphan in found] == [owed.id]
    assert rows.delivery(owed.id, "a")["state"] == "pending"


def test_replacing_the_handler_of_a_pattern_keeps_its_row(make_bus: MakeBus, rows: Rows) -> None:
    """Its deliveries stay where they are."""
    old, new = make_bus(), make_bus()
    old.subscribe("order.created", group="a", handler=handle)
    [before] = old.sync()
    new.subscribe("order.created", group="a", handler=other)

    [after] = new.sync(replace=True)

    assert after.id == before.id
    assert after.handler == f"{__name__}.other"


def test_removing_a_group_cancels_what_is_open_and_nothing_else(
    bus: EventBus, worker: MakeWorker, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches; running deliveries lose their claim; what is done stays done."""
    monkeypatch.setattr(registration, "_CANCEL_BATCH", 2)
    bus.subscribe("order.created", group="a", handler=handle)
    bus.subscribe("#", group="b", handler=handle)
    execution = worker()
    for number in range(6):
        bus.publish("order.created", number, source="orders")
    done, running = (execution.take("a", None, task_id=None) for _ in range(2))
    assert done is not None
    execution.run(done)

    counted = bus.open_deliveries("a")
    cancelled = bus.remove_group("a")

    assert running is not None
    assert counted == cancelled == 5
    assert rows.all("SELECT group_name, state, count(*) FROM eventbus.delivery GROUP BY 1, 2 ORDER BY 1, 2") == [
        ("a", "cancelled", 5),
        ("a", "done", 1),
        ("b", "pending", 6),
    ]
    assert [row[0] for row in stored(rows)] == ["b"]


def test_a_group_that_comes_back_while_it_is_removed_is_owed_what_comes_then(
    bus: EventBus, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what the removal had not reached: a worker that starts revives the subscription."""
    monkeypatch.setattr(registration, "_CANCEL_BATCH", 2)
    bus.subscribe("order.created", group="a", handler=handle)
    bus.sync()
    for number in range(5):
        bus.publish("order.created", number, source="orders")
    late = []

    def come_back(_cancelled: int) -> None:
        bus.sync()
        late.append(bus.publish("order.created", "late", source="orders"))

    cancelled = bus.remove_group("a", watch=come_back)

    assert (cancelled, len(late)) == (2, 2)
    assert {rows.delivery(event.id, "a")["state"] for event in late} == {"pending"}
    assert rows.value("SELECT count(*) FROM eventbus.delivery WHERE state = 'pending'") == 5


def test_one_pattern_of_a_group_can_be_removed(bus: EventBus, rows: Rows) -> None:
    """The others go on."""
    for pattern in ("order.created", "order.paid"):
        bus.subscribe(pattern, group="a", handler=handle)
    bus.sync()
    for type in ("order.created", "order.paid", "order.paid"):
        bus.publish(type, 1, source="orders")

    assert bus.open_deliveries("a", pattern="order.paid") == 2
    assert bus.remove_group("a", pattern="order.paid") == 2
    assert [row[1] for row in stored(rows)] == ["order.created"]
    assert bus.open_deliveries("a") == 1


def test_a_removed_subscription_stays_as_a_tombstone_and_can_come_back(bus: EventBus, rows: Rows) -> None:
    """Why a group did not get an event stays known; it counts from its return."""
    bus.subscribe("order.created", group="a", handler=handle)
    [before] = bus.sync()
    bus.remove_group("a")
    missed = bus.publish("order.created", 1, source="orders")
    buried = rows.one("SELECT id, removed_at IS NOT NULL FROM eventbus.subscription")

    [after] = bus.sync()

    assert buried == (before.id, True)
    assert after.id == before.id
    assert after.created_at > missed.created_at
    assert rows.count("delivery") == 0


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda bus: bus.remove_group("nobody"), UnknownGroup, "known groups are a"),
        (lambda bus: bus.open_deliveries("nobody"), UnknownGroup, "known groups are a"),
        (lambda bus: bus.remove_group("a", pattern="order.paid"), UnknownGroup, "its patterns are order.created"),
        (lambda bus: bus.remove_group("a", pattern="#.#"), InvalidPattern, "not a pattern"),
    ],
)
def test_what_is_not_subscribed_cannot_be_removed(
    call: Callable[[EventBus], Any], error: type[Exception], says: str, bus: EventBus, rows: Rows
) -> None:
    """The error names what is."""
    bus.subscribe("order.created", group="a", handler=handle)
    bus.sync()

    with pytest.raises(error, match=says):
        call(bus)

    assert len(stored(rows)) == 1
