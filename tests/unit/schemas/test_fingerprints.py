"""What counts as another wire form, and what as other words."""

import enum
import functools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, post_load, validate

from eventbus.schemas.code import functions_of
from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.event_schema import EventSchema
from eventbus.schemas.fingerprints import text_fingerprint, wire_fingerprint
from eventbus.schemas.opaque import identity_of
from tests.support.workers import ROOT


def schema(**members: Any) -> dict[str, Any]:
    """The JSON Schema of an event schema with these fields."""
    return to_json_schema(type("Some", (EventSchema,), members))


def named(name: str) -> dict[str, Any]:
    """A schema that nests a class of this name."""
    return schema(n=fields.Nested(type(name, (EventSchema,), {"a": fields.String()})))


LIMIT = 3
CURRENCIES = ["EUR"]


def is_low(value: int) -> bool:
    """Whether it is."""
    return value <= LIMIT


def check_low(value: int) -> None:
    """Refuse what is not."""
    if not is_low(value):
        raise ValidationError("high")


def check_currency(value: str) -> None:
    """Refuse what is none."""
    if any(value == each for each in CURRENCIES):
        raise ValidationError("unknown")


def refusing(word: str) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
    """A decorator that refuses one more word."""

    def decorate(check: Callable[[str], None]) -> Callable[[str], None]:
        @functools.wraps(check)
        def both(value: str) -> None:
            assert value != word
            check(value)

        return both

    return decorate


class Limits:
    """Has a validator as a method."""

    __slots__ = ("most", "parent")

    def __init__(self, most: int, parent: int = 0) -> None:
        self.most, self.parent = most, parent

    def check(self, value: int) -> None:
        """Refuse what is more."""
        assert value <= self.most

    def __call__(self, value: int) -> None:
        """The same."""
        self.check(value)


def field_with(body: str) -> Any:
    """A field whose base class does this."""
    base = type("Base", (fields.String,), {"_deserialize": getattr(bodies, body)})
    return type("Own", (base,), {})()


class bodies:
    """Two ways to read a text."""

    def upper(self, value: str, *_: Any, **__: Any) -> str:
        """In capitals."""
        return value.upper()

    def lower(self, value: str, *_: Any, **__: Any) -> str:
        """In small letters."""
        return value.lower()


def at_least(limit: int) -> Callable[[int], None]:
    """A validator made for a limit."""

    def check(value: int) -> None:
        assert value >= limit

    return check


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (schema(a=fields.String()), schema(a=fields.String(metadata={"description": "x"}))),
        (schema(a=fields.String()), schema(b=fields.String(data_key="a"))),
        (named("One"), named("Two")),
        (schema(a=fields.String(), b=fields.Integer()), schema(b=fields.Integer(), a=fields.String())),
        (schema(a=fields.Integer(load_default=1)), schema(a=fields.Integer(load_default=2))),
        (schema(a=fields.Integer(validate=at_least(1))), schema(a=fields.Integer(validate=at_least(1)))),
    ],
)
def test_what_is_written_alike_has_one_wire_fingerprint(one: Any, two: Any) -> None:
    """Words, class names and order are not on the wire."""
    assert wire_fingerprint(one) == wire_fingerprint(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (schema(a=fields.String()), schema(a=fields.String(required=True))),
        (schema(a=fields.String()), schema(a=fields.String(validate=validate.Length(max=3)))),
        (schema(a=fields.Integer(required=True)), schema(a=fields.Integer(load_default=1))),
        (schema(a=fields.Integer(validate=at_least(1))), schema(a=fields.Integer(validate=at_least(2)))),
        (schema(title=fields.String()), schema(title=fields.Integer())),
        (named("One"), schema(n=fields.Nested(type("One", (EventSchema,), {"a": fields.Integer()})))),
    ],
)
def test_what_is_written_otherwise_has_another_one(one: Any, two: Any) -> None:
    """Also where only the code of a validator is another one."""
    assert wire_fingerprint(one) != wire_fingerprint(two)


def test_words_have_their_own_fingerprint() -> None:
    """A better description is no new version, and is seen."""
    one = schema(a=fields.String(metadata={"description": "x"}))
    two = schema(a=fields.String(metadata={"description": "y"}))

    assert text_fingerprint(one) != text_fingerprint(two)
    assert text_fingerprint(schema(a=fields.String())) == text_fingerprint(schema(a=fields.Integer()))


def test_identities_hold_no_addresses() -> None:
    """Two processes give one part the same identity."""

    class Limit:
        def __init__(self) -> None:
            self.schema = Schema

        def __call__(self, value: int) -> None: ...

    assert identity_of(Limit()) == identity_of(Limit())
    assert identity_of(at_least(1)) != identity_of(at_least(2))
    assert identity_of(lambda value: value) != identity_of(lambda value: None)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Limits(1).check, Limits(2).check),
        (Limits(1), Limits(2)),
        (Limits(1, parent=1), Limits(1, parent=2)),
        (refusing("a")(check_currency), refusing("b")(check_currency)),
        (refusing("a")(check_currency), check_currency),
        (field_with("upper"), field_with("lower")),
        (type("Own", (Limits,), {"most": 1})(1), type("Own", (Limits,), {"most": 2})(1)),
    ],
    ids=[
        "object of a method",
        "slots",
        "an attribute called parent",
        "wrapper",
        "wrapped",
        "base of a field",
        "class attribute",
    ],
)
def test_what_code_depends_on_is_part_of_it(one: Any, two: Any) -> None:
    """Its text alone may be what it was, and it decides otherwise."""
    assert identity_of(one) != identity_of(two)


@pytest.mark.parametrize(
    ("check", "name", "value"),
    [
        (check_low, "LIMIT", 4),
        (check_low, "is_low", lambda value: True),
        (check_currency, "CURRENCIES", ["EUR", "USD"]),
        (check_currency, "CURRENCIES", {"EUR": 1}),
    ],
)
def test_what_code_names_in_its_module_is_part_of_it(
    check: Any, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A constant, or a function that it calls."""
    before = identity_of(check)

    monkeypatch.setitem(check.__globals__, name, value)

    assert identity_of(check) != before


def test_classes_and_other_modules_are_no_part_of_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a hook makes objects of changes more often than what it takes."""
    before = identity_of(check_currency)

    monkeypatch.setitem(check_currency.__globals__, "ValidationError", type("Other", (Exception,), {}))

    assert identity_of(check_currency) == before


def test_a_converted_schema_is_what_it_was() -> None:
    """Also a field of somebody's own, with a pattern: what reads it exactly is no change of it."""
    own = type("Own", (fields.String,), {"_deserialize": bodies.upper})
    declared = type("Some", (EventSchema,), {"a": own(validate=validate.Regexp("^a$"))})()

    assert wire_fingerprint(to_json_schema(declared)) == wire_fingerprint(to_json_schema(declared))


_allowed: set[str] | None = None
COUNT = 0


def check_lazily(value: str) -> None:
    """Know what is allowed when it is first asked."""
    global _allowed, COUNT  # noqa: PLW0603 - the point
    COUNT += 1
    if _allowed is None:
        _allowed = {"a"}
    if value not in _allowed:
        raise ValidationError("unknown")


def reads_limit(value: Any) -> None:
    """Look at an attribute that is called as something in the module is."""
    assert value.LIMIT


class Based(EventSchema):
    """Has a hook, which uses what a class below may define."""

    most = 9

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Look, and give back what was loaded."""
        self.look(data)
        return data

    def look(self, data: dict[str, Any]) -> None:
        """Refuse too much."""
        assert len(data) <= self.most


class Hooked(Based):
    """Extends its hook."""

    a = fields.String()

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """As the class above does."""
        return super().make(data)


def test_what_code_does_changes_nothing_of_what_it_is() -> None:
    """A schema is declared in each process, before its first event and after."""
    nested = type(
        "Nested",
        (fields.Nested,),
        {"_deserialize": lambda self, *args, **more: fields.Nested._deserialize(self, *args, **more)},
    )
    flags = enum.Flag("Right", "READ WRITE")
    own_enum = type("OwnEnum", (fields.Enum,), {"_deserialize": lambda self, value, *_, **__: self.enum(value)})

    class Order(EventSchema):
        text = fields.String(validate=check_lazily)
        part = nested(Hooked)
        other = fields.Nested(Hooked, load_default=dict)
        right = own_enum(flags)

    before = wire_fingerprint(to_json_schema(Order))
    Order().load({"text": "a", "part": {"a": "b"}, "right": 3})
    instance = Order()
    instance.load({"text": "a", "part": {"a": "b"}, "right": 3})

    assert wire_fingerprint(to_json_schema(Order)) == before
    assert wire_fingerprint(to_json_schema(instance)) == before


def test_a_name_of_an_attribute_is_none_of_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only looks alike does not count."""
    before = identity_of(reads_limit)

    monkeypatch.setitem(reads_limit.__globals__, "LIMIT", 17)

    assert identity_of(reads_limit) == before


@pytest.mark.parametrize("change", [{"most": 3}, {"look": lambda self, data: None}])
def test_what_a_hook_uses_of_its_schema_is_part_of_it(change: dict[str, Any]) -> None:
    """Of a class below, and of those above."""
    found = {
        wire_fingerprint(to_json_schema(type("Some", (base,), {**members, "x": fields.String()})))
        for base in (Based, Hooked)
        for members in ({}, change)
    }

    assert len(found) == 4


def test_the_order_of_a_set_is_no_part_of_code() -> None:
    """It differs from process to process."""
    program = """
import sys; from marshmallow import validate; from eventbus.schemas.opaque import identity_of
space = {}; exec("def check(value): return value in {'a', 'b', 'c', 'd'}", space)
print(identity_of(validate.OneOf({'a', 'b', 'c'})), identity_of(validate.NoneOf({'a', 'b', 'c'})), identity_of(space['check']))
"""

    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3", "4")
    }

    assert len(said) == 1


def test_what_dataclass_makes_is_no_part_of_a_class() -> None:
    """It is byte code, another one in each version of Python."""

    @dataclass(frozen=True)
    class Limit:
        most: int

        def __call__(self, value: int) -> None:
            assert value <= self.most

    assert set(functions_of(Limit)) == {"__call__"}
    assert identity_of(Limit(1)) != identity_of(Limit(2))


class Members(list[int]):
    """A collection that is code as well."""

    def __call__(self, value: int) -> None:
        """Refuse what is not in it."""
        assert value in self


def test_a_collection_with_code_is_more_than_its_items() -> None:
    """And still holds them."""
    assert identity_of(Members([1])) != identity_of([1])
    assert identity_of(Members([1])) != identity_of(Members([2]))
