"""The canonical form."""

import datetime
import decimal
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_dump, validate

from eventbus.schemas.canonical import CanonicalForm, canonical
from eventbus.schemas.event_schema import EventSchema
from eventbus.schemas.refusal import DataRefused
from eventbus.schemas.registry import make_schema


class Line(EventSchema):
    """One line."""

    sku = fields.String(required=True)
    qty = fields.Integer(required=True, validate=validate.Range(min=1))


class Order(EventSchema):
    """An order."""

    orderId = fields.UUID(required=True)
    amount = fields.Decimal(required=True, as_string=True)
    placedAt = fields.AwareDateTime()
    express = fields.Boolean(load_default=False)
    lines = fields.List(fields.Nested(Line))
    prices = fields.Dict(values=fields.Nested(Line))


ID = "6f1f2a3e-7a51-4d0b-9a51-7d6c1e3e8f10"


def form_of(**members: fields.Field[Any]) -> CanonicalForm:
    """The canonical form of a schema with these fields."""
    return CanonicalForm(type("Some", (EventSchema,), dict(members)))


def test_spellings_become_one() -> None:
    """Whatever a publisher writes, what is stored looks the same."""
    form = CanonicalForm(Order)

    data = {"orderId": ID.upper(), "amount": 12, "placedAt": "2024-02-29T10:20:30Z"}

    assert form(data) == {
        "orderId": ID,
        "amount": "12",
        "placedAt": "2024-02-29T10:20:30+00:00",
        "express": False,
    }


#: Texts and numbers that are, may be, or are not decimals.
DECIMALS: list[Any] = [
    *("0", "1.50", "-0", "-0.00", "007", "00.1", "1e5", "1E-9", " 1", "1\n", "1_000", "+1", "\u0663", "1.", ".5"),
    *("0.00000001", "9" * 40, "NaN", "Infinity", "", "x"),
    *(12, -3, 2**70, True, 1.5, None, [], decimal.Decimal("1.10")),
]


@pytest.mark.parametrize("options", [{}, {"places": 2}, {"validate": validate.Range(min=0)}], ids=str)
@pytest.mark.parametrize("text", DECIMALS, ids=repr)
def test_a_decimal_is_read_and_written_as_marshmallow_does(text: Any, options: dict[str, Any]) -> None:
    """Whether it is plain enough to be taken as it is, or not."""
    form = form_of(amount=fields.Decimal(required=True, as_string=True, **options))

    assert outcome(form, {"amount": text}) == outcome(lambda data: canonical(form.schema, data), {"amount": text})


def outcome(form: Any, data: Any) -> Any:
    """What a form makes of *data*."""
    try:
        return form(data)
    except DataRefused as error:
        return error.errors


def test_python_values_are_written() -> None:
    """A publisher in Python passes what it has."""
    moment = datetime.datetime(2024, 2, 29, 10, 20, 30, tzinfo=datetime.UTC)

    found = CanonicalForm(Order)({"orderId": uuid.UUID(ID), "amount": "1", "placedAt": moment})

    assert found["orderId"] == ID
    assert found["placedAt"] == "2024-02-29T10:20:30+00:00"


@pytest.mark.parametrize(
    "value",
    [
        "19.90",
        "0",
        "-0",
        "-0.00",
        "1" * 60,
        "007",
        "+5",
        ".5",
        "5.",
        "1e3",
        "1E-9",
        "0.0000000001",
        " 7 ",
        "1_0",
        "٣",
        "x",
        "",
        5,
    ],
)
@pytest.mark.parametrize("field", [fields.Decimal(as_string=True), fields.Decimal(as_string=True, places=1)])
def test_a_decimal_has_one_form_on_both_paths(field: fields.Field[Any], value: Any) -> None:
    """Plain digits are not read as a number for it."""
    form = form_of(n=field)

    found, expected = (_outcome(call, {"n": value}) for call in (form, lambda data: canonical(form.schema, data)))

    assert found == expected


def _outcome(call: Callable[[Any], Any], data: Any) -> Any:
    try:
        return call(data)
    except DataRefused as error:
        return error.errors


@pytest.mark.parametrize("value", [1, 1.0])
def test_whole_numbers_of_javascript_are_integers(value: float) -> None:
    """JavaScript has one kind of number, and writes 1.0 for some of them."""
    found = form_of(n=fields.Integer())({"n": value})

    assert type(found["n"]) is int


@pytest.mark.parametrize("value", [1.5, "1", True, "yes", None])
def test_an_event_schema_takes_integers_only(value: Any) -> None:
    """What marshmallow would turn into an integer is refused."""
    with pytest.raises(DataRefused):
        form_of(n=fields.Integer())({"n": value})


@pytest.mark.parametrize("value", [1, 0, "yes", "true"])
def test_an_event_schema_takes_booleans_only(value: Any) -> None:
    """What marshmallow would turn into a boolean is refused, also in a list."""
    with pytest.raises(DataRefused):
        form_of(b=fields.List(fields.Boolean()))({"b": [value]})


def test_every_error_has_its_path() -> None:
    """All that is wrong is said at once, each where it is."""
    data = {
        "orderId": "x",
        "lines": [{"sku": "a", "qty": 1}, {"qty": 0, "note": "?"}],
        "prices": {"eu": {"sku": 1, "qty": 1}},
        "extra": 1,
    }

    with pytest.raises(DataRefused) as raised:
        CanonicalForm(Order)(data)

    assert raised.value.errors == {
        "orderId": ["Not a valid UUID."],
        "amount": ["Missing data for required field."],
        "lines[1].sku": ["Missing data for required field."],
        "lines[1].qty": ["Must be greater than or equal to 1."],
        "lines[1].note": ["Unknown field."],
        "prices.eu.sku": ["Not a valid string."],
        "extra": ["Unknown field."],
    }


@pytest.mark.parametrize("data", [None, [], "x", 1, {"orderId": {}}, {"lines": {}}, {"prices": []}])
def test_anything_else_is_an_invalid_event(data: Any) -> None:
    """No other error comes out, whatever goes in."""
    with pytest.raises(DataRefused):
        CanonicalForm(Order)(data)


def test_an_error_of_user_code_is_an_invalid_event() -> None:
    """A validator that stumbles over data refuses it."""

    def stumble(value: str) -> None:
        raise ValueError("stumbled")

    with pytest.raises(DataRefused, match="stumbled"):
        form_of(a=fields.String(validate=stumble))({"a": "x"})


@pytest.mark.parametrize("value", ["a\x00b", "\ud800", float("nan"), float("inf"), {"a": [float("nan")]}, object()])
def test_what_postgresql_cannot_keep_is_refused(value: Any) -> None:
    """The event log would refuse it later, without a path."""
    with pytest.raises(DataRefused) as raised:
        form_of(a=fields.Raw())({"a": {"b": value}})

    assert next(iter(raised.value.errors)).startswith("a.b")


def test_unknown_keys_are_refused_whatever_the_schema_says() -> None:
    """A plain nested schema that excludes unknown keys would lose them silently."""

    class Loose(Schema):
        class Meta:
            unknown = EXCLUDE

        a = fields.String()

    with pytest.raises(DataRefused) as raised:
        form_of(n=fields.Nested(Loose))({"n": {"a": "x", "b": 1}})

    assert raised.value.errors == {"n.b": ["Unknown field."]}


def test_hooks_are_respected() -> None:
    """A schema with hooks goes by way of marshmallow."""

    class Hooked(EventSchema):
        a = fields.String()

        @post_dump
        def shout(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
            return {"a": data["a"].upper()}

    assert CanonicalForm(Hooked)({"a": "x"}) == {"a": "X"}


def test_what_a_hook_writes_must_be_read_again() -> None:
    """Else consumers would find out, each for itself."""

    class Hooked(EventSchema):
        a = fields.String()

        @post_dump
        def number(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
            return {"a": len(data["a"])} if data["a"] != "whole" else data

    form = make_schema("thing.made", 1, Hooked).form

    assert form({"a": "whole"}) == {"a": "whole"}
    with pytest.raises(DataRefused, match="a: Could not be read again as it is written: Not a valid string"):
        form({"a": "x"})


@pytest.mark.parametrize("keys", [fields.UUID(), fields.String(post_load=str.lower), fields.Date()])
def test_keys_that_become_one_are_refused(keys: fields.Field[Any]) -> None:
    """One of the two values would be gone."""
    spellings = {"UUID": [ID, ID.upper()], "String": ["a", "A"], "Date": ["2024-02-29", "20240229"]}
    one, two = spellings[type(keys).__name__]
    form = form_of(a=fields.List(fields.Dict(keys=keys, values=fields.Integer())))

    with pytest.raises(DataRefused) as raised:
        form({"a": [{one: 1}, {one: 1, two: 2}]})

    assert raised.value.errors == {"a[1]": [f"{one!r} and {two!r} are one key."]}


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^[A-Z]{3}$", "EUR", "EUR\n"),
        ("(a|b$)", "b", "b\n"),
        (r"[$]\$$", "$$", "$$\n"),
        (r"[^\]$]$", "a", "a\n"),
        ("[A-Z]{3}", "EUR\n", "EU\n"),
        (r"^a\$", "a$\n", "a\n"),
        ("^$", "", "\n"),
    ],
)
def test_the_end_of_a_pattern_is_the_end(pattern: str, good: str, bad: str) -> None:
    """For a class as for its JSON Schema: Python alone takes a line feed after it."""
    by_class = make_schema(
        "thing.made",
        1,
        type("Made", (EventSchema,), {"a": fields.List(fields.String(validate=validate.Regexp(pattern)))}),
    )
    by_json = make_schema("thing.made", 1, by_class.json_schema)

    for known in (by_class, by_json):
        assert known.form({"a": [good]}) == {"a": [good]}
        with pytest.raises(DataRefused) as raised:
            known.form({"a": [bad]})
        assert list(raised.value.errors) == ["a[0]"]
        assert len(raised.value.errors["a[0]"]) == 1


def test_validators_run_on_the_fast_path() -> None:
    """Each validator is asked, once for each event."""
    asked: list[str] = []

    def remember(value: str) -> None:
        asked.append(value)
        if value == "bad":
            raise ValidationError("bad")

    form = form_of(a=fields.String(validate=[remember, validate.Length(max=3)]))

    assert form({"a": "x"}) == {"a": "x"}
    assert asked == ["x"]


def test_defaults_are_not_shared() -> None:
    """Two events never hold the same list."""
    form = form_of(a=fields.List(fields.String(), load_default=list), b=fields.Dict(load_default={}))

    one, two = form({}), form({})
    one["a"].append("x")
    one["b"]["x"] = 1

    assert two == {"a": [], "b": {}}


def test_one_form_serves_many_threads() -> None:
    """Nothing in it changes between events."""
    form, wrong = CanonicalForm(Order), []

    def work(number: int) -> None:
        for _ in range(50):
            found = form({"orderId": ID, "amount": number, "lines": [{"sku": "a", "qty": number}]})
            if found["lines"][0]["qty"] != number or found["amount"] != str(number):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_a_constant_is_written_as_json() -> None:
    """A tuple too, of which each event has a list of its own."""
    form = form_of(kinds=fields.Constant(("a", "b")))

    first, second = form({"kinds": ["a", "b"]}), form({"kinds": ["a", "b"]})

    assert first == second == {"kinds": ["a", "b"]}
    assert first["kinds"] is not second["kinds"]


@pytest.mark.parametrize(
    ("constant", "other"),
    [("EUR", "USD"), (1, True), (1, "1"), (None, "x"), (["a"], ["a", "b"]), ("EUR", {"EUR"}), ("EUR", float("nan"))],
    ids=str,
)
@pytest.mark.parametrize("kind", [fields.Constant, type("Currency", (fields.Constant,), {})])
@pytest.mark.parametrize("place", ["own", "listed"])
def test_a_constant_is_not_put_in_the_place_of_something_else(
    place: str, kind: Any, constant: object, other: object
) -> None:
    """As marshmallow would, which records an amount of dollars as one of euros."""
    wrapped = {"own": lambda each: each, "listed": lambda each: [each]}[place]
    form = form_of(currency=kind(constant) if place == "own" else fields.List(kind(constant)))

    assert form({"currency": wrapped(constant)}) == {"currency": wrapped(constant)}
    with pytest.raises(DataRefused) as refused:
        form({"currency": wrapped(other)})
    assert list(refused.value.errors.values()) == [[f"Must be equal to {constant}."]]


def test_a_constant_is_the_same_in_any_type_of_python() -> None:
    """Whose value on the wire it is; and what is not given is filled in."""
    form = form_of(kinds=fields.Constant(["a", 1]))

    assert form({"kinds": ("a", 1.0)}) == form({}) == {"kinds": ["a", 1]}


def test_what_somebody_does_to_a_constant_is_nobody_elses() -> None:
    """It is one object for all events of the process."""
    form = form_of(kinds=fields.Constant(["a"]))

    form.schema.load({"kinds": ["a"]})["kinds"].append("b")

    assert form({"kinds": ["a"]}) == form.by_marshmallow({"kinds": ["a"]}) == form({}) == {"kinds": ["a"]}


def test_a_constant_of_a_plain_schema_is_as_lenient_as_marshmallow() -> None:
    """Which has a class of its own for that."""
    form = CanonicalForm(Schema.from_dict({"currency": fields.Constant("EUR", validate=validate.Equal("EUR"))})())

    assert form({"currency": "USD"}) == {"currency": "EUR"}


def test_the_validator_of_a_constant_is_asked() -> None:
    """As it is when the event is read; such a schema cannot be declared."""
    form = CanonicalForm(Schema.from_dict({"currency": fields.Constant("EUR", validate=validate.Equal("USD"))})())

    with pytest.raises(DataRefused):
        form({"currency": "EUR"})
