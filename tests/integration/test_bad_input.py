"""Bad input: what cannot be used is refused in one clear sentence, by type and by exit code, and nothing is half-recorded."""

import io
import json
import math
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy
from celery import Celery
from marshmallow import Schema, fields
from sqlalchemy.engine import make_url

from eventbus import EventBus, errors
from eventbus.cli import main
from eventbus.embedded import Servers
from eventbus.embedded.databases import create_database, drop_database
from eventbus.embedded.server import free_port
from eventbus.errors import SchemaEditedInPlace
from eventbus.event import Draft
from eventbus.storage.revision import HEAD

GOOD: dict[str, Any] = {"type": "order.created", "data": {"orderId": "o-1"}, "source": "tests"}
#: Of the types with a schema, for the database is shared by these tests and remembers them.
ORDER, VERSIONED = "order.typed", "order.versioned"
TABLES = ("event_log", "delivery", "dead_letter", "subscription", "consumer_group")
Bus = Callable[..., EventBus]


@pytest.fixture(scope="module")
def database_url(servers: Servers, template_database: str) -> Iterator[str]:
    """One database for all: what is refused changes nothing, and the few others undo what they do."""
    name = f"eventbus_test_{secrets.token_hex(6)}"
    yield create_database(servers.database_url, name, template=template_database)
    drop_database(servers.database_url, name)


@pytest.fixture
def make_bus(environment: dict[str, str]) -> Iterator[Bus]:
    """A function that makes a bus for the test's database, with further settings."""
    made: list[EventBus] = []

    def make(**settings: Any) -> EventBus:
        made.append(EventBus(Celery("tests", set_as_current=False), **settings))
        return made[-1]

    yield make
    for bus in made:
        if "database" in vars(bus):
            bus.database.dispose()


@pytest.fixture
def bus(make_bus: Bus) -> EventBus:
    """A bus on the test's database, with one group."""
    bus = make_bus()
    bus.subscribe("order.created", group="inventory", handler=handle)
    bus.sync()
    return bus


@pytest.fixture
def counts(database_url: str) -> Iterator[Callable[[], dict[str, int]]]:
    """A function that counts the rows of our tables."""
    engine = sqlalchemy.create_engine(database_url.replace("postgresql:", "postgresql+psycopg2:"))

    def count() -> dict[str, int]:
        with engine.connect() as connection:
            return {
                name: connection.exec_driver_sql(f"SELECT count(*) FROM eventbus.{name}").scalar_one()
                for name in TABLES
            }

    yield count
    engine.dispose()


@pytest.fixture
def set_revision(database_url: str) -> Iterator[Callable[[str], None]]:
    """A function that lets the tables be of another revision until the test ends."""
    engine = sqlalchemy.create_engine(database_url.replace("postgresql:", "postgresql+psycopg2:"))

    def change(revision: str) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE eventbus.alembic_version SET version_num = %s", (revision,))

    yield change
    change(HEAD)
    engine.dispose()


@pytest.fixture
def unchanged(bus: EventBus, counts: Callable[[], dict[str, int]]) -> Iterator[None]:
    """The test must leave our tables as they were."""
    before = counts()
    yield
    assert counts() == before


def handle(event: Any) -> None:
    """Take an event."""


def clear_sentence(text: str, *words: str) -> None:
    """Assert that *text* is one sentence on one line that holds *words*."""
    assert text == text.strip()
    assert "\n" not in text
    assert text.endswith(".")
    assert len(text) < 600
    for word in words:
        assert word in text


def refused(action: Callable[[], Any], error: type[BaseException], *words: str) -> BaseException:
    """Assert that *action* raises exactly *error*, with a clear sentence, and return the error."""
    with pytest.raises(error) as caught:
        action()
    assert type(caught.value) is error
    assert isinstance(caught.value, errors.EventBusError)
    clear_sentence(str(caught.value), *words)
    return caught.value


cyclic: list[Any] = []
cyclic.append(cyclic)
deep: Any = "bottom"
for _ in range(100_000):
    deep = [deep]


class Point:
    """No JSON."""


# --- publish --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "type",
    [
        *(
            "",
            " ",
            "order created",
            "order..created",
            ".order",
            "order.",
            "order.created\n",
            "order.*",
            "order.#",
            "ördér",
        ),
        *("a.b.c.d.e.f.g.h.i", "x" * 201, "order/created", "order.created\x00", None, 7, b"order.created", ["order"]),
    ],
    ids=repr,
)
def test_a_malformed_type_is_refused(bus: EventBus, type: Any) -> None:
    """1 to 8 words of letters, digits, '_' and '-'; the sentence shows what was given and what would do."""
    refused(
        lambda: bus.publish(**{**GOOD, "type": type}), errors.InvalidEventType, "is not an event type", "order.created"
    )


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"a": {"b": [1, math.nan]}}, ["a.b[1]", "nan"]),
        ({"a": math.inf}, ["a:", "inf"]),
        ([-math.inf], ["[0]", "-inf"]),
        ({"a": "x\x00y"}, ["a:", r"\u0000"]),
        ({"a\x00": 1}, ["key", r"\u0000"]),
        ({"a": "\ud800"}, ["a:", "surrogate"]),
        ({"\udfff": 1}, ["key", "surrogate"]),
        ({1: "a"}, ["key 1", "string"]),
        ({"a": {None: "a"}}, ["a:", "key None"]),
        ({"a": {True: "a"}}, ["a:", "key True"]),
        ({("a", "b"): 1}, ["key ('a', 'b')"]),
        ({"a": {1, 2}}, ["a:", "set"]),
        ({"a": b"x"}, ["a:", "bytes"]),
        ({"a": Decimal("1.5")}, ["a:", "Decimal"]),
        ({"a": datetime(2026, 5, 1, 12)}, ["a:", "datetime"]),  # noqa: DTZ001 - naive on purpose
        ({"a": datetime(2026, 5, 1, 12, tzinfo=UTC)}, ["a:", "datetime"]),
        ({"a": Point()}, ["a:", "Point"]),
        ({"a": 2**64}, ["a:", "64 bits"]),
        ({"a": -(2**63) - 1}, ["a:", "64 bits"]),
        (cyclic, ["contains itself"]),
        (deep, ["nested more than"]),
        ({"a": math.nan, "b": [b"x"]}, ["a:", "b[0]:"]),
        ({"a\nb\udfff": {"c" * 1000: math.nan}}, [r"a\nb\udfff.ccc", "..."]),
    ],
)
def test_data_that_is_not_json_is_refused(bus: EventBus, data: Any, words: list[str]) -> None:
    """The sentence names the path of every such part."""
    error = refused(lambda: bus.publish(**{**GOOD, "data": data}), errors.InvalidEvent, "order.created", *words)

    assert isinstance(error, errors.InvalidEvent)
    assert error.errors


@pytest.mark.usefixtures("unchanged")
def test_data_beyond_the_limit_are_refused(bus: EventBus, make_bus: Bus) -> None:
    """More than 1 MiB of JSON, or than EVENTBUS_MAX_EVENT_BYTES; exactly that much is accepted elsewhere."""
    refused(
        lambda: bus.publish(**{**GOOD, "data": "x" * (1 << 20)}),
        errors.EventTooLarge,
        "1,048,578 bytes",
        "1,048,576",
        "EVENTBUS_MAX_EVENT_BYTES",
    )
    small = make_bus(max_event_bytes=10)
    refused(lambda: small.publish(**{**GOOD, "data": "ü" * 5}), errors.EventTooLarge, "12 bytes", "more than the 10")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("source", value) for value in ("", "  ", None, 5, "a\nb", "x" * 201, "\ud800", "a\x00")),
        *(("version", value) for value in (0, -1, "1", True, 1.0, 2**31)),
        *(("correlation_id", value) for value in ("", 5, "a\x00b", "x" * 201)),
        *(("headers", value) for value in ({"a": 1}, {1: "a"}, [("a", "b")], {"a": "\x00"}, {"a": "\ud800"}, "a=b")),
    ],
)
def test_a_malformed_envelope_is_refused(bus: EventBus, field: str, value: Any) -> None:
    """Source, version, correlation id and headers: the sentence names the one that is wrong."""
    refused(lambda: bus.publish(**{**GOOD, field: value}), errors.InvalidInput, field)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("session", [object(), "session", 5], ids=["object", "text", "number"])
def test_a_session_that_is_none_is_refused(bus: EventBus, session: Any) -> None:
    """What is no SQLAlchemy session cannot carry an event."""
    refused(lambda: bus.publish(**GOOD, session=session), errors.InvalidInput, "session", "SQLAlchemy")


class Order(Schema):
    """The form of an order."""

    orderId = fields.String(required=True)
    amount = fields.Decimal(required=True, as_string=True)
    currency = fields.String(required=True)
    placed_at = fields.AwareDateTime()
    lines = fields.List(fields.Nested(Schema.from_dict({"sku": fields.String(required=True)})))


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"currency": None}, ["currency"]),
        ({"amount": "much", "orderId": 7}, ["amount", "orderId"]),
        ({"colour": "red"}, ["colour"]),
        ({"lines": [{"sku": "a"}, {"sku": 1}, {}]}, ["lines[1].sku", "lines[2].sku"]),
        ({"placed_at": "2026-05-01T12:00:00"}, ["placed_at"]),
        ({"amount": "NaN"}, ["amount"]),
    ],
)
def test_data_that_do_not_fit_their_schema_are_refused(bus: EventBus, change: dict[str, Any], paths: list[str]) -> None:
    """Every field that does not fit is named by its path; a naive time is one of them."""
    bus.register_schema(ORDER, 1, Order)
    data = {"orderId": "o-1", "amount": "9.90", "currency": "EUR", **change}

    error = refused(lambda: bus.publish(**{**GOOD, "type": ORDER, "data": data}), errors.InvalidEvent, *paths)

    assert isinstance(error, errors.InvalidEvent)
    assert sorted(error.errors) == sorted(paths)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("data", [[], "text", 5, None, True], ids=repr)
def test_data_that_are_no_object_do_not_fit_a_schema(bus: EventBus, data: Any) -> None:
    """A schema asks for an object."""
    bus.register_schema(ORDER, 1, Order)

    refused(lambda: bus.publish(**{**GOOD, "type": ORDER, "data": data}), errors.InvalidEvent, ORDER)


@pytest.mark.usefixtures("unchanged")
def test_a_missing_field_is_named(bus: EventBus) -> None:
    """An order without currency."""
    bus.register_schema(ORDER, 1, Order)
    data = {"orderId": "o-1", "amount": "9.90"}

    refused(lambda: bus.publish(**{**GOOD, "type": ORDER, "data": data}), errors.InvalidEvent, "currency: Missing")


@pytest.mark.usefixtures("unchanged")
def test_an_unknown_version_is_refused(bus: EventBus) -> None:
    """The known versions are named; with several of them, one must be given."""
    for version in (1, 2):
        bus.register_schema(VERSIONED, version, Schema.from_dict({"orderId": fields.String()}, name=f"V{version}"))

    refused(
        lambda: bus.publish(**{**GOOD, "type": VERSIONED, "version": 3}),
        errors.UnknownEventVersion,
        "no version 3",
        "1, 2",
    )
    refused(lambda: bus.publish(**{**GOOD, "type": VERSIONED}), errors.UnknownEventVersion, "needs a version", "1, 2")


@pytest.mark.usefixtures("unchanged")
def test_an_unregistered_type_is_refused_on_request(make_bus: Bus) -> None:
    """EVENTBUS_STRICT_TYPES=1; without it, any type goes."""
    strict = make_bus(strict_types="1")

    refused(
        lambda: strict.publish(**GOOD), errors.UnknownEventType, "order.created", "EVENTBUS_STRICT_TYPES", "@bus.event"
    )


# --- declarations ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "",
            "order..created",
            "order.#.created",
            "#.created",
            "order*",
            "order.**",
            "*#",
            ".",
            "order.created ",
            "ü.#",
        ),
        *("a.b.c.d.e.f.g.h.i", "a.b.c.d.e.f.g.h.#", "x" * 201, "order.created\n", None, 5),
    ],
    ids=repr,
)
def test_a_malformed_pattern_is_refused(bus: EventBus, pattern: Any) -> None:
    """Where it is declared."""
    refused(
        lambda: bus.subscribe(pattern, group="other", handler=handle), errors.InvalidPattern, "not a pattern", "order.*"
    )


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "group", ["", "Inventory", "-x", "_x", "a" * 64, "in ventory", "inventory\n", "ü", "a.b", None, 5], ids=repr
)
def test_a_malformed_group_is_refused(bus: EventBus, group: Any) -> None:
    """Where it is declared, and where it is asked for."""
    refused(lambda: bus.subscribe("a.b", group=group, handler=handle), errors.InvalidGroup, "is not a group name")
    for ask in (bus.remove_group, bus.open_deliveries, lambda group: bus.retry_dead_letters(group=group)):
        refused(lambda ask=ask: ask(group), errors.InvalidGroup, "is not a group name")  # type: ignore[misc]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"handler": "reserve_stock"}, ["not callable"]),
        ({"handler": lambda: None}, ["no positional argument"]),
        ({"handler": lambda event, database: None}, ["'database'", "delivery", "session"]),
        ({"handler": lambda *, event: None}, ["no positional argument"]),
        *(({"max_retries": value}, ["max_retries"]) for value in (-1, "3", True, 1001, 1.5, None)),
        *(
            ({"backoff": value}, ["backoff", "timedelta"])
            for value in (2, 0.5, timedelta(0), timedelta(-1), "2s", None)
        ),
        *(({"backoff_max": value}, ["backoff_max"]) for value in (600, timedelta(days=31))),
        *(({"timeout": value}, ["timeout"]) for value in (900, timedelta(0), timedelta(days=31), None)),
        *(({"give_up_on": value}, ["give_up_on"]) for value in (ValueError, ["ValueError"], ("ValueError",), (5,))),
        ({"replay": "maybe"}, ["replay", "'run'", "'skip'"]),
    ],
)
def test_a_malformed_subscription_is_refused(bus: EventBus, options: dict[str, Any], words: list[str]) -> None:
    """Where it is declared; the sentence names the option."""
    options = {"handler": handle, **options}
    refused(lambda: bus.subscribe("a.b", group="other", **options), errors.InvalidSubscription, *words)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("pattern", ["order.*", "*.created", "#", "order.#", "order.created", "order.created.#"])
def test_two_handlers_for_one_event_are_refused(bus: EventBus, pattern: str) -> None:
    """Where the second is declared: both patterns and handlers are named, and the way out."""
    error = refused(
        lambda: bus.subscribe(pattern, group="inventory", handler=print),
        errors.SubscriptionConflict,
        f"{pattern!r}",
        "'order.created'",
        "builtins.print",
        "test_bad_input.handle",
        "group",
    )

    assert isinstance(error, errors.SubscriptionConflict)
    assert error.group == "inventory"


@pytest.mark.usefixtures("unchanged")
def test_two_codebases_for_one_event_are_refused(bus: EventBus, make_bus: Bus) -> None:
    """In the database: nothing of the second is written, not even its other groups."""
    other = make_bus()
    other.subscribe("some.thing", group="accounting", handler=handle)
    other.subscribe("order.*", group="inventory", handler=print)

    refused(other.sync, errors.SubscriptionConflict, "'order.*'", "'order.created'", "builtins.print", "--replace")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("a b", 1, Order), errors.InvalidEventType),
        (("a.b", 0, Order), errors.InvalidSchema),
        (("a.b", True, Order), errors.InvalidSchema),
        (("a.b", "1", Order), errors.InvalidSchema),
        (("a.b", 2**31, Order), errors.InvalidSchema),
        (("a.b", 1, Order()), errors.InvalidSchema),
        (("a.b", 1, dict), errors.InvalidSchema),
        (("a.b", 1, None), errors.InvalidSchema),
    ],
    ids=repr,
)
def test_a_malformed_schema_is_refused(make_bus: Bus, arguments: Any, error: type[errors.EventBusError]) -> None:
    """Where it is declared."""
    refused(lambda: make_bus().register_schema(*arguments), error)


def test_a_second_schema_for_a_version_is_refused(make_bus: Bus) -> None:
    """The version is named, and the way out."""
    bus = make_bus()
    bus.register_schema("a.b", 1, Order)

    refused(lambda: bus.register_schema("a.b", 1, Schema), SchemaEditedInPlace, "a.b version 1", "version 2")


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (("order.created", "1", 2), ["order.created 1 → 2: '1' is no version", "whole numbers from 1"]),
        (("order.created", 1, None), ["None is no version", "whole numbers from 1"]),
        (("order.created", 1.0, 2), ["1.0 is no version"]),
        (("order.created", True, 2), ["True is no version"]),
        (("order.created", 0, 1), ["0 is no version"]),
    ],
    ids=repr,
)
def test_a_step_between_what_is_no_version_is_refused(make_bus: Bus, steps: Any, words: list[str]) -> None:
    """Up and down alike, where it is declared."""
    refused(lambda: make_bus().upcaster(*steps), errors.UpcasterConflict, *words)
    refused(lambda: make_bus().downcaster(*steps), errors.UpcasterConflict, "whole numbers from 1")


@pytest.mark.parametrize("type", ["order created", None, ["order.created"]], ids=repr)
def test_a_step_of_what_is_no_type_is_refused(make_bus: Bus, type: Any) -> None:
    """Where it is declared."""
    refused(lambda: make_bus().upcaster(type, 1, 2), errors.InvalidEventType, "is not an event type")


# --- values of another type -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        *(
            (
                lambda bus, name=name, limit=limit: getattr(bus, name)(limit=limit),
                errors.InvalidInput,
                ["limit", "1000"],
            )
            for name in ("events", "audit", "replays", "dead_letters", "fingerprints")
            for limit in ("x", None, 1.5, [1])
        ),
        (lambda bus: bus.events(state=["dead"]), errors.InvalidInput, ["state=['dead']", "dead"]),
        (lambda bus: bus.replays(state=["done"]), errors.InvalidInput, ["state=['done']", "done"]),
        *(
            (lambda bus, data=data: bus.events("a.b", since="1h ago", data=data), errors.InvalidInput, ["data", "'42'"])
            for data in ({1: 1}, {"a": 1}, {1: "a"}, {"a": None}, ["a"], "a=1")
        ),
        *(
            (lambda bus, letter=letter: bus.note_dead_letter(letter, "seen"), errors.InvalidInput, ["id=", "dead list"])
            for letter in ("x", None, 1.5)
        ),
        (lambda bus: bus.note_dead_letter(2**70, "seen"), errors.UnknownDeadLetter, ["dead letter"]),
        *(
            (lambda bus, ids=ids: bus.trial(ids), errors.InvalidInput, ["ids=", "eventbus dead list"])
            for ids in (["x"], [[1]], [2**70], [None], 5, None, "12")
        ),
        (lambda bus: bus.require_trial(["x"]), errors.InvalidInput, ["ids="]),
        *(
            (lambda bus, ids=ids: bus.restore_dead_letters(ids), errors.InvalidInput, ["ids=", "eventbus dead list"])
            for ids in (["x"], [2**70], 5, None, "12")
        ),
        (lambda bus: bus.freeze_dead_letters(ids=5), errors.InvalidInput, ["ids=5"]),
        *(
            (lambda bus, ask=ask, value=value: ask(bus, value), errors.InvalidEventType, ["is not an event type"])
            for ask in (
                lambda bus, value: bus.schema_readers(value),
                lambda bus, value: bus.stored_schemas(value),
                lambda bus, value: bus.retire_schema(value, 1),
            )
            for value in ("\x00", "\ud800", 5)
        ),
        (lambda bus: bus.retire_schema("a.b", "\x00"), errors.UnknownEventVersion, ["a.b"]),
        *(
            (lambda bus, drafts=drafts: bus.publish_many(drafts), errors.InvalidInput, ["drafts", "iterable"])
            for drafts in (None, 5, Draft(**GOOD))
        ),
        *(
            (
                lambda bus, handler=handler: bus.subscribe("a.b", group="other", handler=handler),
                errors.InvalidSubscription,
                ["handler", handler.__name__],
            )
            for handler in (str, min)
        ),
    ],
)
def test_arguments_of_another_type_are_refused(
    bus: EventBus, ask: Callable[[EventBus], Any], error: type[errors.EventBusError], words: list[str]
) -> None:
    """By what they are for, whatever Python or PostgreSQL would have said of them."""
    refused(lambda: ask(bus), error, *words)


def test_whatever_has_items_can_be_published(bus: EventBus) -> None:
    """Also what is iterated by position alone."""

    class Two:
        """Two drafts."""

        def __getitem__(self, index: int) -> Draft:
            return [Draft(**{**GOOD, "type": "nobody.asks"})][index]

    two: Any = Two()

    assert [event.type for event in bus.publish_many(two)] == ["nobody.asks"]


# --- looking after it -----------------------------------------------------------------------------------------------


#: As a shell gives a byte that is no UTF-8 to a command, and what PostgreSQL does not store.
NO_TEXTS = ("caf\udce9", "a\x00b")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("text", NO_TEXTS, ids=ascii)
def test_a_text_that_no_database_stores_is_refused(bus: EventBus, text: str) -> None:
    """Wherever a text is looked for or kept: the sentence names it."""
    questions: list[tuple[str, Callable[[], Any]]] = [
        *(
            (name, lambda name=name: bus.dead_letters(**{name: text}))  # type: ignore[misc]
            for name in ("error", "error_type", "correlation_id")
        ),
        *((name, lambda name=name: bus.events(**{name: text})) for name in ("error", "correlation_id")),  # type: ignore[misc]
        *((name, lambda name=name: bus.audit(**{name: text})) for name in ("who", "action", "group", "result")),  # type: ignore[misc]
        ("data.a", lambda: bus.events("order.created", since="1h ago", data={"a": text})),
        ("data.caf" if "caf" in text else "data.a", lambda: bus.events("a.b", since="1h ago", data={text: "1"})),
        ("correlation_id", lambda: bus.story(text)),
        ("correlation_id", lambda: bus.replay(group="inventory", correlation_id=text)),
        ("reason", lambda: bus.discard_dead_letters(group="inventory", reason=text)),
        ("note", lambda: bus.note_dead_letter(1, text)),
        ("note", lambda: bus.acknowledge_fingerprint("3f2a9c0d1b7e4856", note=text)),
    ]
    for name, ask in questions:
        refused(ask, errors.InvalidInput, name)
    refused(lambda: bus.parked(text), errors.InvalidGroup, "is not a group name")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda bus: bus.remove_group("nobody"), errors.UnknownGroup, ["'nobody'", "inventory"]),
        (lambda bus: bus.remove_group("inventory", pattern="a.b"), errors.UnknownGroup, ["a.b", "order.created"]),
        (lambda bus: bus.remove_group("inventory", pattern="a..b"), errors.InvalidPattern, ["a..b"]),
        (lambda bus: bus.open_deliveries("nobody"), errors.UnknownGroup, ["'nobody'"]),
        (lambda bus: bus.dead_letters(group="nobody"), errors.UnknownGroup, ["'nobody'"]),
        (lambda bus: bus.dead_letters("a b"), errors.InvalidEventType, ["a b"]),
        (lambda bus: bus.dead_letters(status="closed"), errors.InvalidInput, ["closed", "open"]),
        (lambda bus: bus.dead_letters(limit=0), errors.InvalidInput, ["limit", "1000"]),
        (lambda bus: bus.dead_letters(limit=1001), errors.InvalidInput, ["limit", "1000"]),
        (lambda bus: bus.dead_letters(limit="ten"), errors.InvalidInput, ["limit"]),
        (lambda bus: bus.dead_letters(cursor=2**70), errors.InvalidInput, ["cursor"]),
        (lambda bus: bus.dead_letters(cursor="next"), errors.InvalidInput, ["cursor"]),
        (lambda bus: bus.dead_letters(error_type="a\x00b"), errors.InvalidInput, ["error_type"]),
        (lambda bus: bus.dead_letter(1), errors.UnknownDeadLetter, ["dead letter 1", "eventbus dead list"]),
        (lambda bus: bus.dead_letter(2**70), errors.UnknownDeadLetter, ["dead letter"]),
        (lambda bus: bus.dead_letter("x"), errors.InvalidInput, ["id"]),
        (lambda bus: bus.dead_letter(True), errors.InvalidInput, ["id=True"]),
        (lambda bus: bus.note_dead_letter(True, "x"), errors.InvalidInput, ["id=True"]),
        (lambda bus: bus.restore_dead_letters([True]), errors.InvalidInput, ["ids=[True]"]),
        *(
            (
                lambda bus, last=last: bus.freeze_dead_letters(group="inventory", last_id=last),
                errors.InvalidInput,
                ["last_id="],
            )
            for last in ("x", -1, 2**70, True)
        ),
        *(
            (lambda bus, most=most: bus.events(state="done", most_read=most), errors.InvalidInput, ["most_read="])
            for most in ("x", 0, -1, 2**70, True)
        ),
        (
            lambda bus: bus.retire_schema("order.seen", 1),
            errors.UnknownEventVersion,
            ["no version 1: none is registered"],
        ),
        *(
            (ask, errors.InvalidInput, ["'nonsense'", "is not the id of"])
            for ask in (
                lambda bus: bus.event_details("nonsense"),
                lambda bus: bus.explain("nonsense", "inventory"),
                lambda bus: bus.standings(["nonsense"]),
                lambda bus: bus.events(cursor="nonsense"),
                lambda bus: bus.replays(cursor="nonsense"),
                lambda bus: bus.find_replay("nonsense"),
                lambda bus: bus.resume_replay("nonsense"),
                lambda bus: bus.cancel_replay("nonsense"),
            )
        ),
        (lambda bus: bus.event_details(None), errors.InvalidInput, ["id=None"]),
        (lambda bus: bus.event_details(str(uuid4())), errors.UnknownEvent, ["does not exist"]),
        (lambda bus: bus.audit(cursor="nonsense"), errors.InvalidInput, ["cursor='nonsense'"]),
        (lambda bus: bus.audit(cursor=2**70), errors.InvalidInput, ["cursor="]),
        (lambda bus: bus.audit(cursor=True), errors.InvalidInput, ["cursor=True"]),
        (lambda bus: bus.retry_dead_letters(group="nobody"), errors.UnknownGroup, ["'nobody'"]),
        (lambda bus: bus.retry_dead_letters("a b", group="inventory"), errors.InvalidEventType, ["a b"]),
        (lambda bus: bus.retry_dead_letters(group="inventory", ids=[2**70]), errors.InvalidInput, ["ids"]),
        (lambda bus: bus.retry_dead_letters(group="inventory", ids="12"), errors.InvalidInput, ["ids"]),
        (lambda bus: bus.discard_dead_letters(group="inventory", reason=""), errors.InvalidInput, ["reason"]),
        (lambda bus: bus.discard_dead_letters(group="inventory", reason="\x00"), errors.InvalidInput, ["reason"]),
        (lambda bus: bus.discard_dead_letters(group="inventory", reason=None), errors.InvalidInput, ["reason"]),
        (lambda bus: bus.discard_dead_letters(group="nobody", reason="x"), errors.UnknownGroup, ["'nobody'"]),
    ],
)
def test_questions_about_what_is_not_there_are_refused(
    bus: EventBus, ask: Callable[[EventBus], Any], error: type[errors.EventBusError], words: list[str]
) -> None:
    """Unknown groups, letters and statuses: what there is instead is named."""
    refused(lambda: ask(bus), error, *words)


# --- settings and servers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("EVENTBUS_DATABASE_URL", value) for value in ("mysql://h/db", "nonsense", "postgresql://h:port/db")),
        *(
            ("EVENTBUS_DATABASE_URL", value)
            for value in ("postgresql://[::1/db", "postgresql://h:99999/db", "sqlite://")
        ),
        *(
            ("EVENTBUS_BROKER_URL", value)
            for value in ("nonsense", "redis://h:port/0", "redis://[::1", "redis://h:99999")
        ),
        *(("EVENTBUS_REALTIME_URL", value) for value in ("amqp://h", "nonsense", "redis://h:port/0")),
        ("EVENTBUS_REALTIME", "loud"),
        *(("EVENTBUS_SCHEMA", value) for value in ("Event Bus", "a;b", "1a", "a" * 64)),
        *(("EVENTBUS_PREFIX", value) for value in ("a b", "a" * 64, "{a}")),
        *(("EVENTBUS_MAX_EVENT_BYTES", value) for value in ("0", "1MB", "-1", str(1 << 40))),
        *(("EVENTBUS_LEASE_SECONDS", value) for value in ("0", "soon", "nan", "3601", "inf")),
        ("EVENTBUS_STRICT_TYPES", "yes please"),
        ("EVENTBUS_PREPARE", "2"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    make_bus: Bus, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """With its value and what it must be; before any server is asked."""
    monkeypatch.setenv(name, value)

    refused(lambda: make_bus().publish(**GOOD), errors.InvalidSetting, name, "must be")


@pytest.mark.parametrize("name", ["EVENTBUS_DATABASE_URL", "EVENTBUS_BROKER_URL"])
@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_setting_is_named(make_bus: Bus, monkeypatch: pytest.MonkeyPatch, name: str, empty: bool) -> None:
    """Not given or empty: its name, its meaning and an example."""
    if empty:
        monkeypatch.setenv(name, "")
    else:
        monkeypatch.delenv(name)

    refused(lambda: make_bus().publish(**GOOD), errors.MissingSetting, name, "is not set", "://")


#: A password that a URL cannot hold as it is; a port, an option, a kind of broker that there is not; a missing library.
USELESS_BROKERS = (
    *(f"{scheme}://:hush{mark}hush@127.0.0.1:1" for scheme in ("redis", "amqp", "sentinel") for mark in "/#?[]"),
    *("redis://:12/hush@h", "redis://:12#hush@h", "redis://:12?hush@h", "amqp://a:b@h//;amqp://u:hush/hush@h//"),
    *("amqp://u:hush@h:port", "redis://h/0?nosuch=hush", "redis://h/0?socket_timeout=hush", "amqp://h//?nosuch=hush"),
    *("bogus://:hush@h", "sqs://k:hush@h", "kafka://k:hush@h", "unix:///tmp/redis.sock"),
)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("url", USELESS_BROKERS)
def test_a_broker_url_of_no_use_is_refused_without_its_password(
    make_bus: Bus, run: "Run", monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Before any server is asked: by what publishes and by every command that needs a broker; nothing is recorded."""
    monkeypatch.setenv("EVENTBUS_BROKER_URL", url)

    error = refused(lambda: make_bus().publish(**GOOD), errors.InvalidSetting, "EVENTBUS_BROKER_URL", "must be")

    assert not error.__cause__
    assert not error.__context__
    assert_refused(run("health"), 2, str(error))
    assert "hush" not in str(error)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("bogus://u:hush@h", ": it knows no bogus://."),
        ("zookeeper://u:hush@h", ": The kazoo library is not installed."),
        ("amqp://u:hush@h:port", ": the port is no number from 0 to 65535."),
        ("amqp://u:hush@h//?nosuch=hush&heartbeat=1", "with options as Celery takes them (it has nosuch, heartbeat)"),
        ("amqp://u:hu?sh=@h//?heartbeat=hush", "is 'amqp://***', but must be the URL"),
    ],
)
def test_why_a_broker_url_is_of_no_use_is_told(monkeypatch: pytest.MonkeyPatch, url: str, reason: str) -> None:
    """As far as kombu tells it without a part of the password."""
    monkeypatch.setenv("EVENTBUS_BROKER_URL", url)
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", "postgresql://h/db")

    error = refused(lambda: EventBus.from_env().broker, errors.InvalidSetting, reason)

    assert "hu" not in str(error)


@pytest.mark.parametrize(
    "url",
    ["redis://:hush/hush@h", "redis://h/0?nosuch=hush", "redis://:hush[@h/0", "rediss://:hush@h/0?ssl_cert_reqs=hush"],
)
@pytest.mark.parametrize("name", ["EVENTBUS_REALTIME_URL", "EVENTBUS_BROKER_URL"])
def test_a_real_time_url_of_no_use_is_refused_without_its_password(
    run: "Run", monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    """It is named as it was given: it may be the broker's."""
    monkeypatch.setenv(name, url)

    result = run("tail", "order.#")

    assert_refused(result, 2, name, "must be")
    assert "hush" not in result[2]


@pytest.mark.parametrize("option", ["bogus=1", "plugin=bogus", "pass=word&bogus=hush"])
@pytest.mark.parametrize("arguments", [["groups", "list"], ["migrate"]], ids=" ".join)
def test_an_option_of_a_database_url_that_nobody_knows_is_named(
    run: "Run", monkeypatch: pytest.MonkeyPatch, arguments: list[str], option: str
) -> None:
    """Before PostgreSQL is asked; neither password nor values are shown."""
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", f"postgresql://u:hush@127.0.0.1:{free_port()}/db?{option}")

    result = run(*arguments)

    assert_refused(
        result, 2, "EVENTBUS_DATABASE_URL is 'postgresql+psycopg2://u:***@", "pass" if "pass" in option else "bogus"
    )
    assert "hush" not in result[2]


@pytest.mark.parametrize("password", ["a@b:hush", "a@hush"])
def test_a_database_url_whose_password_is_not_encoded_is_refused(
    run: "Run", monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """Its end would be taken for a port or a host, and shown as one."""
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", f"postgresql://u:{password}@127.0.0.1/db")

    result = run("groups", "list")

    assert_refused(result, 2, "EVENTBUS_DATABASE_URL is 'postgresql+psycopg2://u:***@127.0.0.1/db'", "percent-encoded")
    assert "hush" not in result[2]


def test_an_argument_that_is_no_setting_is_refused(make_bus: Bus) -> None:
    """A misspelt setting must not be silently without effect."""
    refused(lambda: make_bus(databse_url="x").publish(**GOOD), errors.ConfigurationError, "databse_url")


def test_a_database_without_our_tables_is_named(
    make_bus: Bus, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that makes them, and without the password."""
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", empty_database_url)

    error = refused(lambda: make_bus().publish(**GOOD), errors.NotMigrated, "no eventbus tables", "eventbus migrate")

    assert str(make_url(empty_database_url).database) in str(error)
    assert str(make_url(empty_database_url).password) not in str(error)


@pytest.mark.parametrize(
    ("revision", "words"),
    [("0000", ["0000", "older", "eventbus migrate"]), ("9999", ["9999", "newer", "upgrade eventbus"])],
)
def test_tables_of_another_revision_are_refused(
    make_bus: Bus,
    set_revision: Callable[[str], None],
    counts: Callable[[], dict[str, int]],
    revision: str,
    words: list[str],
) -> None:
    """Both revisions are named, and who must move; by every entrance."""
    before = counts()
    set_revision(revision)
    bus = make_bus()
    bus.subscribe("a.b", group="other", handler=handle)

    for action in (lambda: bus.publish(**GOOD), bus.sync, bus.sweep, bus.groups, bus.dead_letters):
        refused(action, errors.NotMigrated, *words, HEAD)
    assert counts() == before


@dataclass(frozen=True)
class Bad:
    """A server that is not there, or not what the URL says."""

    setting: str
    url: Callable[[Servers], str]
    error: type[errors.EventBusError]
    words: tuple[str, ...]
    exit_code: int


def port(url: str) -> int:
    """The port in a URL."""
    found = make_url(url).port
    assert found
    return found


SERVERS = {
    "no server": Bad(
        "EVENTBUS_DATABASE_URL",
        lambda _: f"postgresql://u:hush@127.0.0.1:{free_port()}/db",
        errors.DatabaseUnreachable,
        ("cannot be reached", "EVENTBUS_DATABASE_URL", "u:***@127.0.0.1"),
        4,
    ),
    "no host": Bad(
        "EVENTBUS_DATABASE_URL",
        lambda _: "postgresql://u:hush@nowhere.invalid/db",
        errors.DatabaseUnreachable,
        ("nowhere.invalid", "EVENTBUS_DATABASE_URL"),
        4,
    ),
    # A server may trust whom it knows without a password.
    "wrong login": Bad(
        "EVENTBUS_DATABASE_URL",
        lambda servers: (
            make_url(servers.database_url).set(username="stranger", password="hush").render_as_string(False)
        ),
        errors.WrongDatabase,
        ("stranger", "EVENTBUS_DATABASE_URL"),
        2,
    ),
    "no such database": Bad(
        "EVENTBUS_DATABASE_URL",
        lambda servers: make_url(servers.database_url).set(database="hush").render_as_string(hide_password=False),
        errors.WrongDatabase,
        ("does not exist", "EVENTBUS_DATABASE_URL"),
        2,
    ),
    "a server that speaks first": Bad(
        "EVENTBUS_DATABASE_URL",
        lambda _: f"postgresql://u:hush@127.0.0.1:{speak_first()}/db",
        errors.WrongDatabase,
        ("not PostgreSQL", "EVENTBUS_DATABASE_URL"),
        2,
    ),
}


def speak_first() -> int:
    """The port of a server that greets, once, like one for mail, and hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        with server, server.accept()[0] as client:
            client.sendall(b"220 mail.example ESMTP\r\n")

    threading.Thread(target=greet, daemon=True).start()
    return int(server.getsockname()[1])


def test_a_valkey_for_a_postgresql_is_named(make_bus: Bus, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a line that never comes: the guess is said after the time limit."""
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", f"postgresql://u:hush@127.0.0.1:{port(servers.broker_url)}/db")

    refused(lambda: make_bus().publish(**GOOD), errors.DatabaseUnreachable, "not PostgreSQL", "EVENTBUS_DATABASE_URL")


@pytest.mark.parametrize("bad", SERVERS.values(), ids=SERVERS)
def test_a_database_that_cannot_be_used_is_named(
    make_bus: Bus, servers: Servers, monkeypatch: pytest.MonkeyPatch, bad: Bad
) -> None:
    """Where it was looked for, why it will not do, which setting to check; the password stays secret."""
    monkeypatch.setenv(bad.setting, bad.url(servers))

    error = refused(lambda: make_bus().publish(**GOOD), bad.error, *bad.words)

    assert "hush" not in str(error).replace('database "hush"', "").replace("/hush", "")


@pytest.mark.parametrize("wrong", ["nobody", "PostgreSQL"])
def test_a_broker_that_cannot_be_used_fails_no_publish(
    make_bus: Bus,
    servers: Servers,
    counts: Callable[[], dict[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
) -> None:
    """A closed port, or PostgreSQL's, as Redis: the event is recorded; who must reach the broker says that it cannot."""
    number = free_port() if wrong == "nobody" else port(servers.database_url)
    monkeypatch.setenv("EVENTBUS_BROKER_URL", f"redis://:hush@127.0.0.1:{number}/0")
    bus = make_bus()
    bus.subscribe("order.created", group="inventory", handler=handle)
    bus.sync()
    before = counts()

    bus.publish(**GOOD)

    after = counts()
    assert [after[name] - before[name] for name in ("event_log", "delivery")] == [1, 1]
    error = refused(bus.sweep, errors.BrokerUnreachable, "broker", f"127.0.0.1:{number}", "cannot be used")
    assert "hush" not in str(error)


# --- the command line -----------------------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs `eventbus ARGUMENTS` in this process: exit code, output, errors."""

    def call(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    return call


def assert_refused(result: tuple[int, str, str], code: int, *words: str) -> None:
    """Assert the exit code, no output, and a last line of errors that is one sentence with *words*."""
    assert result[0] == code, result
    assert result[1] == ""
    assert "Traceback" not in result[2]
    line = result[2].rstrip("\n").rpartition("\n")[2]
    clear_sentence(line, *words)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (["publish", "order created", "{}", "--source", "x"], "", ["order created"]),
        (["publish", "order.created", "{", "--source", "x"], "", ["not JSON"]),
        (["publish", "order.created", "", "--source", "x"], "", ["not JSON"]),
        (["publish", "order.created", "-", "--source", "x"], "", ["not JSON"]),
        (["publish", "order.created", "-", "--source", "x"], "[" * 100_000, ["nested"]),
        (
            ["publish", "order.created", '{"a": 1, "b": {}, "a": 2}', "--source", "x"],
            "",
            ["DATA has the key 'a' twice"],
        ),
        (["publish", "order.created", '{"a": NaN}', "--source", "x"], "", ["nan"]),
        (["publish", "order.created", '{"a": 1e999}', "--source", "x"], "", ["inf"]),
        (["publish", "order.created", r'{"a": "\u0000"}', "--source", "x"], "", [r"\u0000"]),
        (["publish", "order.created", r'{"a": "\ud800"}', "--source", "x"], "", ["surrogate"]),
        (["publish", "order.created", '{"a": 18446744073709551616}', "--source", "x"], "", ["64 bits"]),
        (["publish", "order.created", "-", "--source", "x"], json.dumps("x" * (1 << 20)), ["EVENTBUS_MAX_EVENT_BYTES"]),
        (["publish", "order.created", "9" * 5000, "--source", "x"], "", ["JSON"]),
        (["publish", "order.created", "{}", "--source", ""], "", ["source"]),
        (["publish", "order.created", "{}", "--source", "x", "--version", "0"], "", ["version"]),
        (["publish", "order.created", "{}", "--source", "x", "--version", "one"], "", ["one"]),
        (["publish", "order.created", "{}", "--source", "x", "--correlation-id", " "], "", ["correlation_id"]),
        (["publish", "order.created", "{}"], "", ["--source"]),
        (["publish"], "", ["TYPE"]),
        (["groups", "remove", "nobody", "--yes"], "", ["nobody", "inventory"]),
        (["groups", "remove", "No Body", "--yes"], "", ["No Body"]),
        (["groups", "remove", "inventory", "--pattern", "a..b", "--yes"], "", ["a..b"]),
        (["groups", "remove", "inventory", "--pattern", "", "--yes"], "", ["pattern"]),
        (["groups", "remove", "inventory"], "", ["--yes"]),
        (["dead", "list", "--group", "nobody"], "", ["nobody"]),
        (["dead", "list", "--type", "a b"], "", ["a b"]),
        (["dead", "list", "--status", "closed"], "", ["closed"]),
        (["dead", "list", "--limit", "0"], "", ["limit"]),
        (["dead", "list", "--cursor", "9" * 20], "", ["cursor"]),
        (["dead", "list", "--cursor", "x"], "", ["x"]),
        (["dead", "show", "1"], "", ["1", "eventbus dead list"]),
        (["dead", "show", "9" * 20], "", ["eventbus dead list"]),
        (["dead", "show", "x"], "", ["x"]),
        (["dead", "retry", "9" * 20, "--group", "inventory", "--yes"], "", ["ids"]),
        (["dead", "retry", "--group", "nobody", "--yes"], "", ["nobody"]),
        (["dead", "retry", "--group", "inventory"], "", ["--yes"]),
        (["dead", "retry", "--yes"], "", ["--group"]),
        (["dead", "discard", "--group", "inventory", "--reason", " ", "--yes"], "", ["reason"]),
        (["dead", "discard", "--group", "inventory", "--yes"], "", ["--reason"]),
        (["dead", "note", "1", "caf\udce9"], "", ["note"]),
        (["trace", "caf\udce9"], "", ["correlation_id", r"caf\udce9"]),
        (["schema", "parked", "--group", "caf\udce9"], "", ["group"]),
        (["dead"], "", []),
        (["unheard-of"], "", ["unheard-of"]),
        (["sweep", "--hard"], "", ["--hard"]),
    ],
)
def test_a_command_refuses_bad_input(run: Run, arguments: list[str], stdin: str, words: list[str]) -> None:
    """Exit code 2, one sentence, nothing on standard output, nothing recorded."""
    if arguments == ["dead"]:
        assert run(*arguments)[0] == 2
        return

    assert_refused(run(*arguments, stdin=stdin), 2, *words)


@pytest.mark.parametrize("bad", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("arguments", [["groups", "list"], ["migrate"]], ids=" ".join)
def test_a_command_names_a_server_that_cannot_be_used(
    run: Run, servers: Servers, monkeypatch: pytest.MonkeyPatch, bad: Bad, arguments: list[str]
) -> None:
    """4 when nobody answers, 2 when the wrong one does."""
    monkeypatch.setenv(bad.setting, bad.url(servers))

    assert_refused(run(*arguments), bad.exit_code, *bad.words)


def test_a_command_says_that_the_broker_cannot_be_used(
    run: Run, bus: EventBus, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sweep` ends with 4; `publish` succeeds without the broker."""
    monkeypatch.setenv("EVENTBUS_BROKER_URL", f"redis://127.0.0.1:{free_port()}/0")

    assert run("publish", "order.created", "{}", "--source", "x")[0] == 0

    assert_refused(run("sweep"), 4, "broker", "cannot be used")


@pytest.mark.parametrize("revision", ["0000", "9999"])
def test_a_command_refuses_tables_of_another_revision(
    run: Run, set_revision: Callable[[str], None], revision: str
) -> None:
    """Both revisions are named; migrate, too, leaves newer tables alone."""
    set_revision(revision)

    assert_refused(run("publish", "order.created", "{}", "--source", "x"), 2, revision, HEAD)
    if revision == "9999":
        assert_refused(run("migrate"), 2, revision, HEAD, "newer")


@pytest.mark.parametrize("name", ["EVENTBUS_DATABASE_URL", "EVENTBUS_BROKER_URL"])
def test_a_command_names_a_missing_setting(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Exit code 2."""
    monkeypatch.delenv(name)

    assert_refused(run("groups", "list"), 2, name, "is not set")


def test_a_command_refuses_an_unregistered_type_on_request(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """EVENTBUS_STRICT_TYPES=1."""
    monkeypatch.setenv("EVENTBUS_STRICT_TYPES", "1")

    assert_refused(run("publish", "order.created", "{}", "--source", "x"), 2, "EVENTBUS_STRICT_TYPES")
