"""The registry: what one service declares, every other one is held to."""

import itertools
import multiprocessing
import threading
from typing import Any

import pytest
from celery import Celery
from marshmallow import Schema, fields

from eventbus import EventBus, EventSchema
from eventbus.errors import (
    IncompatibleSchema,
    InvalidEvent,
    InvalidSchema,
    SchemaEditedInPlace,
    SchemaNotRegistered,
    SchemaRetired,
    UnknownEventType,
    UnknownEventVersion,
    UpcasterConflict,
)
from eventbus.lifecycle import catalog
from eventbus.lifecycle.schema_snapshots import take_snapshot
from eventbus.settings import SchemaRegistration
from tests.integration.conftest import MakeBus
from tests.integration.registry.conftest import OrderV1, OrderV2, OrderV3, old_and_new
from tests.support.rows import Rows

TYPE = "order.created"


def declared(bus: EventBus, *versions: tuple[int, type[Schema]], **options: Any) -> EventBus:
    """*bus*, declaring these versions."""
    for version, schema in versions:
        bus.register_schema(TYPE, version, schema, **options)
    return bus


def stored(rows: Rows) -> list[tuple[Any, ...]]:
    """Type, version and revision of all that is registered."""
    return rows.all("SELECT type, version, revision FROM eventbus.event_schema ORDER BY 1, 2")


def test_a_start_registers_what_is_declared_once(make_bus: MakeBus, rows: Rows) -> None:
    """With words, owner and fingerprints; a second start changes nothing."""
    options = {"owner": "orders team", "changelog": "first", "deprecation": "use 2"}
    for _ in range(2):
        declared(make_bus(), (1, OrderV1), **options).sync()

    [found] = make_bus().stored_schemas()
    assert stored(rows) == [(TYPE, 1, 1)]
    assert found.json_schema["properties"]["amount"] == {"type": "integer"}
    assert (found.owner, found.description, found.changelog, found.deprecation) == (
        "orders team",
        "An order.",
        "first",
        "use 2",
    )
    assert (found.compatibility, found.retired_at, found.accepted) == ("FULL_TRANSITIVE", None, ())
    assert found.registered_by


def test_words_may_change_and_what_one_leaves_unsaid_stays(make_bus: MakeBus, rows: Rows) -> None:
    """A service without an owner's name does not erase it; a new docstring is no new version."""
    declared(make_bus(), (1, OrderV1), owner="orders").sync()
    reworded = type("OrderV1", (OrderV1,), {"__doc__": "An order, placed."})
    declared(make_bus(), (1, reworded), changelog="reworded").sync()

    [found] = make_bus().stored_schemas(TYPE)
    assert (found.owner, found.description, found.changelog) == ("orders", "An order, placed.", "reworded")
    assert stored(rows) == [(TYPE, 1, 2)]


def test_publishing_a_type_for_the_first_time_registers_it(bus: EventBus, rows: Rows, order: dict[str, Any]) -> None:
    """A service without workers has no other start; a version that is declared later follows with its first event."""
    declared(bus, (1, OrderV1)).publish(TYPE, order, source="orders")
    before = stored(rows)
    declared(bus, (2, OrderV2)).publish(TYPE, {**order, "channel": "web"}, source="orders", version=2)

    assert (before, stored(rows)) == ([(TYPE, 1, 1)], [(TYPE, 1, 1), (TYPE, 2, 2)])


def test_an_edit_in_place_is_refused(make_bus: MakeBus, rows: Rows, order: dict[str, Any]) -> None:
    """A published version keeps its wire form; neither start nor publish gets past it."""
    declared(make_bus(), (1, OrderV1)).sync()
    edited = declared(make_bus(), (1, OrderV3))

    for act in (edited.sync, edited.push_schemas, lambda: edited.publish(TYPE, order, source="orders")):
        with pytest.raises(SchemaEditedInPlace, match="version 2"):
            act()
    assert (stored(rows), rows.count("event_log")) == ([(TYPE, 1, 1)], 0)


def test_a_version_that_breaks_somebody_is_refused_with_all_that_helps(make_bus: MakeBus, rows: Rows) -> None:
    """Field, rule, direction, a payload that was tried, the groups, and a way out; nothing of the start is written."""
    bus = declared(make_bus(), (1, OrderV1))
    bus.subscribe(TYPE, group="billing", handler=lambda event: None, reads=["amount"])
    bus.subscribe("order.*", group="search", handler=lambda event: None, reads=["orderId"])
    bus.subscribe("#", group="audit", handler=lambda event: None)
    bus.subscribe("user.#", group="other", handler=lambda event: None)
    bus.sync()
    broken = type(
        "V2", (EventSchema,), {"orderId": fields.String(required=True), "total": fields.String(required=True)}
    )
    new = declared(make_bus(), (2, broken))
    new.register_schema("user.created", 1, OrderV1)

    with pytest.raises(IncompatibleSchema) as raised:
        new.sync()

    found = {each.problem.path: each.problem for each in raised.value.assessment.breaking}
    assert (found["total"].rule, found["total"].groups) == ("required-missing", ())
    assert (found["amount"].rule, found["amount"].groups) == ("required-missing", ("billing",))
    assert found["amount"].counterexample == {"orderId": "a", "total": "a"}
    text = str(raised.value)
    assert "backward" in text
    assert "Tried: {" in text
    assert "load_default" in text
    assert "Groups that break: billing." in text
    assert "Groups that may be affected: audit." in text
    assert "Groups that are safe: search." in text
    assert "other" not in text
    assert stored(rows) == [(TYPE, 1, 1)]


def test_dropping_what_a_group_reads_is_refused(make_bus: MakeBus) -> None:
    """The versions are compatible; the group came for the field."""
    bus = declared(make_bus(), (1, OrderV2))
    bus.subscribe(TYPE, group="marketing", handler=lambda event: None, reads=["channel"])
    bus.sync()

    with pytest.raises(IncompatibleSchema, match="channel: read-field-dropped .*Breaks marketing"):
        declared(make_bus(), (2, OrderV1)).sync()


def test_new_words_of_an_old_version_leave_its_mode(make_bus: MakeBus) -> None:
    """The mode of the type may have changed since; that of the version is what it was checked by."""
    bus = declared(make_bus(), (1, OrderV1), compatibility="FULL")
    declared(bus, (2, OrderV2), compatibility="BACKWARD").sync()
    reworded = type("OrderV1", (OrderV1,), {"__doc__": "An order, placed."})
    declared(make_bus(), (1, reworded)).sync()

    assert [each.compatibility for each in bus.stored_schemas()] == ["FULL", "BACKWARD"]


@pytest.mark.parametrize(
    ("mode", "allowed"),
    [("BACKWARD", False), ("FORWARD", True), ("FULL", False), ("NONE", True), ("backward_transitive", False)],
)
def test_the_mode_of_a_type_says_what_is_checked(make_bus: MakeBus, mode: str, allowed: bool) -> None:
    """A required field breaks only those who read old events; the version after inherits the mode."""
    declared(make_bus(), (1, OrderV1), compatibility=mode).sync()
    new = declared(make_bus(), (2, OrderV3))

    if allowed:
        new.sync()
        assert [each.compatibility for each in new.stored_schemas()] == [mode.upper()] * 2
    else:
        with pytest.raises(IncompatibleSchema):
            new.sync()


def test_steps_stand_in_for_compatibility(make_bus: MakeBus, rows: Rows) -> None:
    """An upcaster for BACKWARD; without it the same version is refused."""
    bus = make_bus()
    old_and_new(bus)
    bus.sync()

    assert [row[:2] for row in stored(rows)] == [(TYPE, 1), (TYPE, 2)]


def test_steps_must_join_versions_that_somebody_knows(make_bus: MakeBus) -> None:
    """Those in the registry count; others are refused at the start."""
    declared(make_bus(), (1, OrderV1)).sync()
    bus = declared(make_bus(), (2, OrderV2))
    bus.upcaster(TYPE, 1, 2)(lambda data: data)
    bus.sync()
    bus.upcaster(TYPE, 3, 4)(lambda data: data)

    for act in (bus.sync, bus.push_schemas):
        with pytest.raises(UpcasterConflict, match="version 3 has no schema"):
            act()


def test_a_mode_that_does_not_exist_is_refused(bus: EventBus) -> None:
    """Those that do are named."""
    with pytest.raises(InvalidSchema, match="FULL_TRANSITIVE"):
        bus.register_schema(TYPE, 1, OrderV1, compatibility="SOME")


def test_verify_writes_nothing(make_bus: MakeBus, rows: Rows, order: dict[str, Any]) -> None:
    """Production is not changed by a start: what is not registered is refused, and a push is a deploy's own step."""
    bus = declared(make_bus(schema_registration="verify"), (1, OrderV1))

    for act in (bus.sync, lambda: bus.publish(TYPE, order, source="orders")):
        with pytest.raises(SchemaNotRegistered, match="schema push"):
            act()
    assert (stored(rows), rows.count("event_log")) == ([], 0)
    assert bus.push_schemas().added
    bus.sync()
    bus.publish(TYPE, order, source="orders")
    assert stored(rows) == [(TYPE, 1, 1)]


def test_off_knows_only_its_own_code(make_bus: MakeBus, rows: Rows, order: dict[str, Any]) -> None:
    """Neither written nor read."""
    declared(make_bus(), (1, OrderV1)).sync()
    bus = make_bus(schema_registration="off")
    bus.publish(TYPE, {"anything": 1}, source="orders")
    declared(bus, (3, OrderV3)).publish(TYPE, {**order, "currency": "EUR"}, source="orders")

    assert stored(rows) == [(TYPE, 1, 1)]
    assert rows.all("SELECT version FROM eventbus.event_log ORDER BY id") == [(1,), (3,)]


def test_a_publisher_without_a_class_is_held_to_the_registry(make_bus: MakeBus, order: dict[str, Any]) -> None:
    """Refused with every field's error, stored in canonical form; of several versions it must name one."""
    declared(make_bus(), (1, OrderV1)).sync()
    bus = make_bus()

    event = bus.publish(TYPE, {**order, "amount": 5.0}, source="orders")
    with pytest.raises(InvalidEvent) as raised:
        bus.publish(TYPE, {"amount": "five", "colour": 1}, source="orders")

    assert (event.version, event.data) == (1, {"orderId": "o-1", "amount": 5})
    assert type(event.data["amount"]) is int
    assert set(raised.value.errors) == {"orderId", "amount", "colour"}
    declared(make_bus(), (2, OrderV2)).sync()
    other = make_bus()
    with pytest.raises(UnknownEventVersion, match="versions 1, 2"):
        other.publish(TYPE, order, source="orders")
    assert other.publish(TYPE, {**order, "channel": "web"}, source="orders", version=2).version == 2


def test_a_new_version_is_seen_within_the_bound(make_bus: MakeBus, order: dict[str, Any]) -> None:
    """What was looked up is kept, and asked for again after `REFRESH`: no earlier, and no later."""
    now = 1000.0
    bus = make_bus(strict_types="1")
    bus.catalog.clock = lambda: now
    with pytest.raises(UnknownEventType):
        bus.publish(TYPE, order, source="orders")
    declared(make_bus(), (1, OrderV1)).sync()

    with pytest.raises(UnknownEventType):
        bus.publish(TYPE, order, source="orders")
    now += catalog.REFRESH.total_seconds()

    assert bus.publish(TYPE, order, source="orders").version == 1
    now += catalog.REFRESH.total_seconds()
    assert bus.publish(TYPE, order, source="orders").version == 1  # nothing new: what is in memory stays


def test_a_retired_version_is_out_of_the_way(make_bus: MakeBus, order: dict[str, Any]) -> None:
    """Nobody may publish it, with a class or without, and new versions are not checked against it."""
    old = declared(make_bus(), (1, OrderV1))
    old.sync()
    assert old.retire_schema(TYPE, 1)
    assert not old.retire_schema(TYPE, 1)
    with pytest.raises(UnknownEventVersion):
        old.retire_schema(TYPE, 2)

    declared(make_bus(), (2, OrderV3)).sync()
    for bus in (make_bus(), declared(make_bus(), (1, OrderV1))):
        with pytest.raises(SchemaRetired, match="publish version 2"):
            bus.publish(TYPE, order, source="orders", version=1)
        assert bus.publish(TYPE, {**order, "currency": "EUR"}, source="orders", version=2).version == 2
    assert make_bus().publish(TYPE, {**order, "currency": "EUR"}, source="orders").version == 2


def test_canonical_asks_for_a_version_that_exists(bus: EventBus) -> None:
    """As a programming error, it is named."""
    with pytest.raises(UnknownEventVersion):
        bus.catalog.canonical(TYPE, 7, {})


def register_in_child(settings: dict[str, str], outcome: Any) -> None:
    """What each of many processes does when it starts."""
    bus = EventBus(Celery("child", set_as_current=False), **settings)
    bus.register_schema(TYPE, 1, OrderV1)
    bus.register_schema(TYPE, 2, OrderV2)
    bus.sync()
    outcome.put("done")


def test_many_processes_register_at_once(database_url: str, broker_url: str, prefix: str, rows: Rows) -> None:
    """Each version is written once, and nobody fails."""
    context = multiprocessing.get_context("spawn")
    outcome = context.Queue()
    settings = {"database_url": database_url, "broker_url": broker_url, "prefix": prefix}
    children = [context.Process(target=register_in_child, args=(settings, outcome)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)

    assert [child.exitcode for child in children] == [0, 0, 0]
    assert stored(rows) == [(TYPE, 1, 1), (TYPE, 2, 2)]


def test_of_two_services_that_conflict_one_is_refused(make_bus: MakeBus, rows: Rows) -> None:
    """They register incompatible versions at the same moment: whoever is second sees the first."""
    barrier, outcomes = threading.Barrier(2), []

    def start(bus: EventBus) -> None:
        barrier.wait()
        try:
            bus.sync()
            outcomes.append("stored")
        except IncompatibleSchema:
            outcomes.append("refused")

    buses = [declared(make_bus(), (1, OrderV1)), declared(make_bus(), (2, OrderV3))]
    threads = [threading.Thread(target=start, args=(bus,)) for bus in buses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["refused", "stored"]
    assert len(stored(rows)) == 1


def test_what_is_learned_while_a_version_is_resolved_counts_from_the_next_time(make_bus: MakeBus) -> None:
    """As of a thread that declares another version just then: what was chosen before is not kept."""
    bus = make_bus(schema_registration="off")
    bus.register_schema("order.created", 1, OrderV1)
    asked = bus.catalog.registration
    looks = itertools.count()

    def learn() -> SchemaRegistration:
        if next(looks) == 2:
            bus.register_schema("order.created", 2, OrderV2)
        return asked()

    bus.catalog.registration = learn
    found = bus.catalog.resolve("order.created", None, strict=False)
    bus.catalog.registration = asked

    assert found.version == 1
    assert bus.schemas.versions("order.created") == [1, 2]
    with pytest.raises(UnknownEventVersion):
        bus.catalog.resolve("order.created", None, strict=False)


def test_a_group_that_unsubscribed_holds_no_schema_up(bus: EventBus) -> None:
    """Neither where a schema is registered nor in a snapshot: it reads nothing any more."""
    bus.subscribe("order.created", group="stock", handler=lambda event: None, version=1)
    bus.sync()
    before = [each.group for each in bus.schema_readers("order.created")]

    bus.remove_group("stock")

    assert (before, bus.schema_readers("order.created"), take_snapshot(bus.database).readers) == (["stock"], [], [])


def test_a_retired_version_is_that_of_its_type(bus: EventBus) -> None:
    """Other types have versions of the same number; it is retired once."""
    for type in ("order.created", "order.paid"):
        bus.register_schema(type, 1, EventSchema.from_dict({"id": fields.Integer()}))
    bus.push_schemas()

    assert [bus.retire_schema("order.paid", 1) for _ in range(2)] == [True, False]
    assert [(each.type, each.is_retired) for each in bus.stored_schemas()] == [
        ("order.created", False),
        ("order.paid", True),
    ]


@pytest.mark.parametrize(
    "schema",
    [{"type": "nope"}, {"$ref": "http://127.0.0.1:9/x.json"}, {"properties": {"a": object()}}, {"minimum": "1"}],
)
def test_what_is_no_json_schema_is_refused_where_it_is_declared(schema: Any, bus: EventBus) -> None:
    """Once it were stored, nobody could publish its type."""
    with pytest.raises(InvalidSchema, match="order.paid version 1"):
        bus.register_schema("order.paid", 1, schema)


@pytest.mark.parametrize("amount", ["1e99999999999", "-1e-99999999999", "1E+999999999999999999"])
def test_a_short_decimal_that_is_long_to_write_is_refused(amount: str, bus: EventBus) -> None:
    """At once: written out it would take all of the publisher's memory."""

    class Paid(EventSchema):
        amount = fields.Decimal(required=True, as_string=True)
        parts = fields.List(fields.Decimal(as_string=True))

    bus.register_schema("order.paid", 1, Paid)

    for data, place in ({"amount": amount}, "amount"), ({"amount": "1", "parts": ["1", amount]}, "parts"):
        with pytest.raises(InvalidEvent, match=place):
            bus.publish("order.paid", data, source="shop")
    assert bus.publish("order.paid", {"amount": "1e20"}, source="shop").data == {"amount": "1" + "0" * 20}
