"""Reading: every handler gets its events in its own version, on every path, or they wait in sight."""

import itertools
import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from marshmallow import Schema, fields, pre_load

from eventbus import Draft, Event, EventBus, EventSchema
from eventbus.errors import (
    HandlerError,
    HandlerTimeout,
    InvalidSchema,
    InvalidSubscription,
    InvalidUpcast,
    NotMigrated,
    UnreachableVersion,
)
from eventbus.lifecycle.attending import Attendant
from eventbus.lifecycle.pace import Pace
from eventbus.lifecycle.parking import Parked, park, unpark
from eventbus.lifecycle.settlement import Done, Fenced
from eventbus.lifecycle.slices import Slice
from eventbus.schemas.refusal import DataRefused
from eventbus.schemas.rewriting import compose, default, rename
from eventbus.storage.claiming import Claimed
from tests.integration.conftest import MakeBus, MakeWorker
from tests.integration.registry.conftest import OrderV1, OrderV2, OrderV3, old_and_new
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns

TYPE = "order.created"


def run(execution: SingleRuns, group: str = "billing") -> Any:
    """What becomes of the group's oldest due delivery."""
    claimed = execution.take(group, None, task_id=None)
    assert claimed is not None
    return execution.run(claimed)


def subscribed(bus: EventBus, **options: Any) -> list[Event]:
    """What a handler of group ``billing`` gets."""
    seen: list[Event] = []
    bus.subscribe(TYPE, group="billing", handler=seen.append, **options)
    return seen


def test_a_handler_gets_what_it_asks_for_on_every_path(
    bus: EventBus, worker: MakeWorker, rows: Rows, order: dict[str, Any]
) -> None:
    """Live, retried, retried from its dead letter, and replayed: version 2, though 1 is stored."""
    old_and_new(bus)
    seen: list[tuple[int, Any]] = []
    fails = itertools.chain([True, True, False, False])

    def handle(event: Event) -> None:
        seen.append((event.version, event.data))
        if next(fails):
            raise ValueError

    bus.subscribe(TYPE, group="billing", handler=handle, version=2, max_retries=1)
    execution = worker()
    event = bus.publish(TYPE, order, source="orders", version=1)

    for _ in range(2):
        rows.all("UPDATE eventbus.delivery SET due_at = now()")
        claimed = execution.take("billing", None, task_id=None)
        assert claimed is not None
        error = execution.run(claimed)
        assert isinstance(error, ValueError)
        execution.fail(claimed, error)
    assert bus.retry_dead_letters(group="billing") == 1
    assert run(execution) == Done()
    bus.replay(TYPE, group="billing")
    assert run(execution) == Done()

    assert seen == [(2, {**order, "currency": "EUR"})] * 4
    assert event.version == 1
    assert rows.value("SELECT version FROM eventbus.event_log") == 1


def test_a_handler_of_the_old_version_gets_new_events(bus: EventBus, worker: MakeWorker, order: dict[str, Any]) -> None:
    """By its downcaster."""
    old_and_new(bus)
    seen = subscribed(bus, version=1)
    execution = worker()
    bus.publish(TYPE, {**order, "currency": "EUR"}, source="orders", version=2)

    assert run(execution) == Done()
    assert [(event.version, event.data) for event in seen] == [(1, order)]


def test_compatible_versions_need_no_steps(make_bus: MakeBus, worker: MakeWorker, order: dict[str, Any]) -> None:
    """A handler of version 1 runs on, without knowing the class of version 2, and is not troubled by its new field."""
    old = make_bus()
    old.register_schema(TYPE, 1, OrderV1)
    seen = subscribed(old, version=1)
    execution = worker(old)
    new = make_bus()
    new.register_schema(TYPE, 2, OrderV2)
    new.publish(TYPE, {**order, "channel": "web"}, source="orders")

    assert run(execution) == Done()
    assert [(event.version, event.data) for event in seen] == [(1, order)]


def test_compatible_versions_without_any_class_are_pruned_by_the_registry(
    make_bus: MakeBus, worker: MakeWorker, order: dict[str, Any]
) -> None:
    """A handler may ask for a version of which its code has no class."""
    owner = make_bus()
    owner.register_schema(TYPE, 1, OrderV1)
    owner.register_schema(TYPE, 2, OrderV2)
    owner.sync()
    bus = make_bus()
    seen = subscribed(bus, version=1)
    execution = worker(bus)
    owner.publish(TYPE, {**order, "channel": "web", "lines": [{"sku": "a"}]}, source="orders", version=2)

    assert run(execution) == Done()
    assert [event.data for event in seen] == [{**order, "lines": [{"sku": "a"}]}]


def test_what_nobody_can_read_waits_in_sight_and_goes_on_when_code_comes(
    make_bus: MakeBus, worker: MakeWorker, rows: Rows, order: dict[str, Any]
) -> None:
    """Parked: not failed, not charged, not claimed again; the worker that can read it makes it due."""
    old = make_bus()
    old.register_schema(TYPE, 1, OrderV1, compatibility="NONE")
    seen = subscribed(old, version=1)
    execution = worker(old)
    new = make_bus()
    new.register_schema(TYPE, 2, type("V2", (EventSchema,), {"total": fields.Integer(required=True)}))
    event = new.publish(TYPE, {"total": 5}, source="orders")

    outcome = run(execution)

    delivery = rows.delivery(event.id, "billing")
    assert isinstance(outcome, Parked)
    assert (delivery["state"], delivery["attempts"], delivery["due_at"], seen) == ("parked", 0, "infinity", [])
    assert delivery["last_error"] == outcome.reason == f"{TYPE} version 2 cannot become 1: there is no step 2 → 1."
    assert execution.take("billing", event.id, task_id=None) is None
    assert old.sweep() == {}
    [shown] = new.parked()
    assert (shown.group, shown.type, shown.version, shown.deliveries, shown.reason, shown.oldest_event) == (
        "billing",
        TYPE,
        2,
        1,
        outcome.reason,
        event.id,
    )
    assert new.parked("search") == []
    assert unpark(old.database, execution.known, old.reading) == 0

    old.downcaster(TYPE, 2, 1)(lambda data: {"orderId": "?", "amount": data["total"]})
    assert unpark(old.database, execution.known, old.reading) == 1
    assert rows.delivery(event.id, "billing")["state"] == "pending"
    assert run(execution) == Done()
    assert [each.data for each in seen] == [{"orderId": "?", "amount": 5}]


def take_unreadable(bus: EventBus, worker: MakeWorker, order: dict[str, Any]) -> tuple[SingleRuns, Event, Claimed]:
    """A worker that has claimed an event which it cannot bring into its handler's version."""
    subscribed(bus, version=2)
    execution = worker(bus)
    event = bus.publish(TYPE, order, source="orders")
    claimed = execution.take("billing", None, task_id=None)
    assert claimed is not None
    return execution, event, claimed


def test_parking_under_a_lost_claim_changes_nothing(
    make_bus: MakeBus, worker: MakeWorker, rows: Rows, order: dict[str, Any]
) -> None:
    """Somebody else has the delivery."""
    bus = make_bus(schema_registration="off")
    execution, event, claimed = take_unreadable(bus, worker, order)
    rows.all("UPDATE eventbus.delivery SET claim = claim + 1")

    assert execution.run(claimed) == Fenced()
    assert park(bus.database, claimed, UnreachableVersion(TYPE, 1, 2, (1, 2))) is None
    assert rows.delivery(event.id, "billing")["state"] == "running"


@pytest.mark.parametrize(
    ("rerun", "kept"),
    [(False, {"attempts": 2, "deaths": 1, "suspect": True}), (True, {"attempts": 0, "deaths": 0, "suspect": False})],
    ids=["tried before", "replayed meanwhile"],
)
def test_what_was_charged_stays_charged_unless_it_was_replayed(
    rerun: bool, kept: dict[str, Any], make_bus: MakeBus, worker: MakeWorker, rows: Rows, order: dict[str, Any]
) -> None:
    """A replay that came while it ran lets it begin anew, and once is enough; what led to its parking is forgotten with it."""
    bus = make_bus(schema_registration="off")
    execution, event, claimed = take_unreadable(bus, worker, order)
    rows.all(
        "UPDATE eventbus.delivery SET attempts = 2, deaths = 1, suspect = true, started_at = now(), rerun = %s", rerun
    )

    assert isinstance(execution.run(claimed), Parked)

    parked = rows.delivery(event.id, "billing")
    assert {name: parked[name] for name in kept} == kept
    assert (parked["state"], parked["rerun"], parked["claim"], parked["started_at"]) == ("parked", False, None, None)
    for version in (1, 2):
        bus.register_schema(TYPE, version, OrderV1)
    bus.upcaster(TYPE, 1, 2)(lambda data: data)
    assert unpark(bus.database, execution.known, bus.reading) == 1
    released = rows.delivery(event.id, "billing")
    assert {name: released[name] for name in kept} == kept
    assert (released["state"], released["last_error"]) == ("pending" if rerun else "retrying", None)
    assert rows.value("SELECT due_at <= clock_timestamp() FROM eventbus.delivery")


def test_a_suspect_that_was_parked_is_still_run_alone(
    make_bus: MakeBus, worker: MakeWorker, rows: Rows, order: dict[str, Any]
) -> None:
    """Though nothing was charged yet: its worker died while it ran."""
    bus = make_bus(schema_registration="off")
    subscribed(bus, version=2)
    execution = worker(bus)
    event = bus.publish(TYPE, order, source="orders")
    assert isinstance(run(execution), Parked)
    rows.all("UPDATE eventbus.delivery SET suspect = true")
    for version in (1, 2):
        bus.register_schema(TYPE, version, OrderV1)
    bus.upcaster(TYPE, 1, 2)(lambda data: data)

    assert unpark(bus.database, execution.known, bus.reading) == 1
    assert rows.delivery(event.id, "billing")["state"] == "retrying"


def test_many_parked_deliveries_are_released_in_batches(
    make_bus: MakeBus, worker: MakeWorker, rows: Rows, monkeypatch: pytest.MonkeyPatch, order: dict[str, Any]
) -> None:
    """Those that were tried before are due for a retry; other versions stay."""
    monkeypatch.setattr("eventbus.lifecycle.parking._BATCH", 2)
    bus = make_bus(schema_registration="off")
    subscribed(bus, version=2)
    execution = worker(bus)
    for version in (1, 1, 1, 3):
        bus.publish(TYPE, order, source="orders", version=version)
    for _ in range(4):
        assert isinstance(run(execution), Parked)
    rows.all(
        "UPDATE eventbus.delivery SET attempts = 1 WHERE event_id = (SELECT id FROM eventbus.event_log ORDER BY id LIMIT 1)"
    )
    for version in (1, 2, 3):
        bus.register_schema(TYPE, version, OrderV1)
    bus.upcaster(TYPE, 1, 2)(lambda data: data)
    bus.schemas._schemas[TYPE].pop(3)

    assert unpark(bus.database, execution.known, bus.reading) == 3
    states = rows.all("SELECT state, count(*)::int FROM eventbus.delivery GROUP BY 1 ORDER BY 1")
    assert states == [("parked", 1), ("pending", 2), ("retrying", 1)]


def test_a_step_that_fails_fails_the_run(bus: EventBus, worker: MakeWorker, rows: Rows, order: dict[str, Any]) -> None:
    """As if the handler had raised: retried, then a dead letter that names the step."""
    bus.register_schema(TYPE, 1, OrderV1, compatibility="NONE")
    bus.register_schema(TYPE, 2, OrderV3)
    bus.upcaster(TYPE, 1, 2)(lambda data: data)
    seen = subscribed(bus, version=2, max_retries=0)
    execution = worker()
    bus.publish(TYPE, order, source="orders", version=1)
    claimed = execution.take("billing", None, task_id=None)
    assert claimed is not None

    error = execution.run(claimed)

    assert isinstance(error, InvalidUpcast)
    execution.fail(claimed, error)
    [letter] = bus.dead_letters().items
    assert "currency" in letter.error_message
    assert seen == []


def test_load_gives_what_the_schema_loads(bus: EventBus, worker: MakeWorker) -> None:
    """In a handler, and on what publish returns; without a class, the data."""
    schema = type("Paid", (EventSchema,), {"amount": fields.Decimal(required=True, as_string=True)})
    bus.register_schema("order.paid", 1, schema)
    seen: list[Any] = []
    bus.subscribe("order.paid", group="billing", handler=lambda event: seen.append(event.load()["amount"] * 2))
    execution = worker()

    event = bus.publish("order.paid", {"amount": "9.90"}, source="orders")
    plain = bus.publish("order.seen", {"a": 1}, source="orders")

    assert run(execution) == Done()
    assert str(seen[0]) == "19.80"
    assert str(event.load()["amount"]) == "9.90"
    assert plain.load() == {"a": 1}
    draft = Draft(type="order.paid", data={"amount": "9.90"}, source="orders", idempotency_key="k")
    for each in (*bus.publish_many([draft, draft]), *bus.publish_many([draft])):
        assert each.load() == {"amount": Decimal("9.90")}
    assert Event(id=event.id, type="a", version=1, source="s", data={"b": 2}, created_at=event.created_at).load() == {
        "b": 2
    }


def test_load_follows_what_the_handler_reads(bus: EventBus, worker: MakeWorker, order: dict[str, Any]) -> None:
    """A partial reader schema needs no class of the whole event; what it does not name is left out."""
    reads = type("OrderForBilling", (EventSchema,), {"amount": fields.Integer(required=True)})
    seen: list[Any] = []
    bus.subscribe(TYPE, group="billing", handler=lambda event: seen.append(event.load()), reads=reads)
    execution = worker()
    bus.publish(TYPE, order, source="orders")
    bus.publish(TYPE, {"amount": "?"}, source="orders")

    assert run(execution) == Done()
    assert isinstance(run(execution), DataRefused)
    assert seen == [{"amount": 5}]


def test_contracts_are_stored_with_the_subscription(bus: EventBus, rows: Rows) -> None:
    """Whoever changes the event finds them."""
    bus.subscribe(TYPE, group="a", handler=lambda event: None, reads=["orderId", "lines[].sku"], version=2)
    bus.subscribe(TYPE, group="b", handler=lambda event: None, reads=Schema.from_dict({"x": fields.Integer()}))
    bus.sync()

    found = rows.all("SELECT group_name, reads, version FROM eventbus.subscription ORDER BY 1")
    assert found[0] == ("a", {"paths": ["lines[].sku", "orderId"]}, 2)
    assert found[1][1]["schema"]["properties"]["x"]["type"] == "integer"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"version": 0}, InvalidSubscription),
        ({"version": "2"}, InvalidSubscription),
        ({"version": True}, InvalidSubscription),
        ({"pattern": "order.*", "version": 2}, InvalidSubscription),
        ({"reads": "orderId"}, InvalidSchema),
        ({"reads": []}, InvalidSchema),
        ({"reads": [1]}, InvalidSchema),
        ({"reads": ["a..b"]}, InvalidSchema),
        ({"reads": dict}, InvalidSchema),
    ],
)
def test_a_subscription_that_cannot_be_meant_is_refused(bus: EventBus, options: Any, error: Any) -> None:
    """Where it is declared."""
    given = {"pattern": TYPE, "group": "a", "handler": lambda event: None, **options}

    with pytest.raises(error):
        bus.subscribe(given.pop("pattern"), **given)


def test_a_declared_change_converts_both_ways(bus: EventBus, worker: MakeWorker) -> None:
    """rename and default, with the derived inverse as downcaster."""
    change = compose(rename("total", "amount"), default("channel", "web"))
    one = {"total": fields.Integer(required=True)}
    two = {"amount": fields.Integer(required=True), "channel": fields.String(required=True)}
    bus.register_schema(TYPE, 1, type("V1", (EventSchema,), one))
    bus.register_schema(TYPE, 2, type("V2", (EventSchema,), two))
    bus.upcaster(TYPE, 1, 2)(change)
    bus.downcaster(TYPE, 2, 1, lossy=change.inverse.lossy)(change.inverse)
    seen: list[Any] = []
    for version in (1, 2):
        bus.subscribe(TYPE, group=f"reads-{version}", handler=lambda event: seen.append(event.data), version=version)
    execution = worker()
    bus.publish(TYPE, {"total": 5}, source="orders", version=1)
    bus.publish(TYPE, {"amount": 6, "channel": "app"}, source="orders", version=2)

    for group in ("reads-1", "reads-2"):
        assert [run(execution, group), run(execution, group)] == [Done(), Done()]
    assert seen == [{"total": 5}, {"total": 6}, {"amount": 5, "channel": "web"}, {"amount": 6, "channel": "app"}]


class Panic(BaseException):
    """What is no ordinary exception."""


class Unreadable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("raised", [Panic("x"), SystemExit(3), MemoryError(), Unreadable()])
def test_a_step_that_raises_anything_is_a_failed_run(
    raised: BaseException, bus: EventBus, worker: MakeWorker, order: dict[str, Any]
) -> None:
    """Not the end of its worker; the handler is not called."""
    old_and_new(bus)

    @bus.upcaster(TYPE, 2, 3)
    def step(data: dict[str, Any]) -> dict[str, Any]:
        raise raised

    seen = subscribed(bus, version=3)
    execution = worker()
    bus.publish(TYPE, order, source="orders", version=1)

    error = run(execution)

    assert isinstance(error, HandlerError | InvalidUpcast)
    assert error.__cause__ is raised
    assert seen == []


def test_a_step_may_not_keep_its_process_from_ending(bus: EventBus, worker: MakeWorker, order: dict[str, Any]) -> None:
    """The pool's own exit passes."""
    bus.register_schema(TYPE, 1, OrderV1)

    @bus.upcaster(TYPE, 1, 2)
    def step(data: dict[str, Any]) -> dict[str, Any]:
        raise SystemExit(-241)

    subscribed(bus, version=2)
    execution = worker()
    bus.publish(TYPE, order, source="orders", version=1)

    with pytest.raises(SystemExit):
        run(execution)


def test_a_registry_that_cannot_be_read_is_no_failure_of_the_handler(
    bus: EventBus, worker: MakeWorker, order: dict[str, Any], rows: Rows
) -> None:
    """The run did not begin, and is charged nothing."""
    old_and_new(bus)
    subscribed(bus, version=3)
    execution = worker()
    bus.publish(TYPE, order, source="orders", version=1)
    claimed = execution.take("billing", None, task_id=None)
    assert claimed is not None
    bus.catalog.clock = lambda: float("inf")
    rows.all("ALTER TABLE eventbus.event_schema RENAME TO elsewhere")

    with pytest.raises(NotMigrated):
        execution.run(claimed)


@pytest.mark.parametrize("way", ["alone", "suspect", "batch"])
def test_what_cannot_be_read_is_given_back_uncharged(
    way: str, bus: EventBus, worker: MakeWorker, order: dict[str, Any], rows: Rows
) -> None:
    """Nobody has run it: neither its lease nor a death of its process has to be waited for, or charged."""
    old_and_new(bus)
    subscribed(bus, version=3)
    execution = worker()
    events = [bus.publish(TYPE, order, source="orders", version=1) for _ in range(3)]
    first, states = events[0].id, ["pending"] * 3
    if way == "suspect":
        rows.all("UPDATE eventbus.delivery SET state = 'retrying', suspect = true WHERE event_id = %s", str(first))
        states = ["retrying", "pending", "pending"]
    clock, bus.catalog.clock = bus.catalog.clock, lambda: float("inf")
    rows.all("ALTER TABLE eventbus.event_schema RENAME TO elsewhere")
    turn = Slice(execution, "billing", task_id=None, attendant=Attendant(execution.slots), pace=Pace())

    with pytest.raises(NotMigrated):
        turn.run_batches(pytest.fail) if way == "batch" else turn.run_alone(first)
    turn.close()

    left = rows.all("SELECT state, attempts, deaths, started_at, claim FROM eventbus.delivery ORDER BY event_id")
    assert left == [(state, 0, 0, None, None) for state in states]
    rows.all("ALTER TABLE eventbus.elsewhere RENAME TO event_schema")
    bus.catalog.clock = clock
    turn = Slice(execution, "billing", task_id=None, attendant=Attendant(execution.slots), pace=Pace())
    assert turn.run_alone(first) is None
    turn.run_batches(pytest.fail)
    assert rows.all("SELECT DISTINCT state FROM eventbus.delivery") == [("parked",)]


@pytest.mark.parametrize("place", ["step", "validation"])
def test_a_step_that_hangs_ends_at_the_handlers_time_limit(
    place: str, bus: EventBus, worker: MakeWorker, order: dict[str, Any]
) -> None:
    """The run counts as a failed attempt; the handler is not called."""
    bus.register_schema(TYPE, 1, OrderV1)

    class Hanging(OrderV1):
        """Version 2, which may hang itself."""

        @pre_load
        def hang(self, data: Any, **_: Any) -> Any:
            if place == "validation":
                threading.Event().wait()
            return data

    bus.register_schema(TYPE, 2, Hanging, compatibility="NONE")

    @bus.upcaster(TYPE, 1, 2)
    def hang(data: dict[str, Any]) -> dict[str, Any]:
        if place == "step":
            threading.Event().wait()
        return data

    seen = subscribed(bus, version=2, timeout=timedelta(milliseconds=100))
    execution = worker()
    bus.publish(TYPE, order, source="orders", version=1)

    error = run(execution)

    assert isinstance(error, InvalidUpcast if place == "step" else HandlerTimeout)
    assert "longer than its timeout of 0.1 s" in str(error)
    assert seen == []
