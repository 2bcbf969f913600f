"""Trying whether data loads: what is decided without marshmallow, what by one field, and what only by the whole."""

from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from eventbus.schemas import loading
from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.loading import Trial
from eventbus.schemas.reading import read
from eventbus.schemas.refusal import DataRefused


class Line(Schema):
    """One of an order."""

    sku = fields.String(required=True)
    quantity = fields.Integer()


class Order(Schema):
    """Several kinds of fields."""

    number = fields.Integer(required=True, data_key="orderNumber", validate=validate.Range(min=1))
    currency = fields.String(required=True, validate=validate.Length(equal=3))
    lines = fields.List(fields.Nested(Line))
    paid_at = fields.AwareDateTime(allow_none=True)


class Tree(Schema):
    """Refers to itself."""

    name = fields.String(required=True)
    children = fields.List(fields.Nested(lambda: Tree()))


class Hooked(Order):
    """Looks at several fields at once."""

    @validates_schema
    def look(self, data: Any, **_: Any) -> None:
        if data["number"] == 7:
            raise ValidationError("unlucky")


class Deep(Schema):
    """Puts its fields into each other."""

    one = fields.Integer(attribute="x")
    two = fields.Integer(attribute="x.y")


class Stern(Order):
    """Says it in its own words."""

    def handle_error(self, error: ValidationError, data: Any, **_: Any) -> None:
        raise ValidationError("no")


GOOD = {"orderNumber": 1, "currency": "EUR", "lines": [{"sku": "a", "quantity": 1}], "paid_at": None, "extra": 1}
BAD = {"currency": "EURO", "lines": [{"sku": "a"}, {"quantity": "x", "more": 1}, 5], "paid_at": "yesterday"}


@pytest.fixture
def wholes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was loaded as a whole."""
    seen: list[Any] = []

    def watched(schema: Schema, data: Any) -> Any:
        seen.append(data)
        return read(schema, data)

    monkeypatch.setattr(loading, "read", watched)
    return seen


def trial_of(schema: Schema) -> Trial:
    """Of a schema and its JSON Schema."""
    return Trial(schema, to_json_schema(schema))


def errors(schema: Schema, data: Any) -> dict[str, list[str]]:
    """Why reading refuses *data*."""
    try:
        read(schema, data)
    except DataRefused as error:
        return error.errors
    return {}


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        (Order(), GOOD),
        (Order(), BAD),
        (Order(), {}),
        (Order(), {**GOOD, "orderNumber": "12"}),
        (Order(), {**GOOD, "orderNumber": 0}),
        (Tree(), {"name": "a", "children": [{"name": "b", "children": [{"name": 3}]}]}),
    ],
    ids=["good", "bad", "empty", "a number in text", "out of range", "recursive"],
)
def test_fields_decide_by_themselves(wholes: list[Any], schema: Schema, data: Any) -> None:
    """The same paths and messages as reading the whole, which is not done."""
    assert trial_of(schema).errors(data) == errors(schema, data)
    assert wholes == []


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        (Hooked(), {**GOOD, "orderNumber": 7}),
        (Hooked(), GOOD),
        (Stern(), BAD),
        (Deep(), {"one": "x", "two": 1}),
        (Order(many=True), [GOOD, BAD]),
        (Order(), 7),
        (Order(), [GOOD]),
    ],
    ids=["hook refuses", "hook accepts", "own words", "one in another", "many", "a number", "a list"],
)
def test_where_fields_do_not_decide_all_is_loaded(wholes: list[Any], schema: Schema, data: Any) -> None:
    """Code of the schema's own may look at anything, and say what it likes."""
    assert trial_of(schema).errors(data) == errors(schema, data)
    assert wholes == [data]


def test_what_breaks_a_field_is_told_by_the_whole(wholes: list[Any]) -> None:
    """A fault inside a field is no message of that field."""
    schema = Order()
    trial = trial_of(schema)

    def fail(value: Any) -> Any:
        raise ArithmeticError("odd")

    schema.fields["currency"].validators = [fail]

    assert trial.errors({**GOOD, "currency": "EURO"}) == {"": ["ArithmeticError: odd"]}
    assert len(wholes) == 1


def test_events_that_fail_alike_are_loaded_once(monkeypatch: pytest.MonkeyPatch, wholes: list[Any]) -> None:
    """A million of them cost what one costs, and a million looks; values of other types are other values."""
    trial = trial_of(Order())
    loaded: list[Any] = []
    deserialize = fields.String.deserialize

    def counted(self: Any, value: Any, *arguments: Any, **options: Any) -> Any:
        loaded.append(value)
        return deserialize(self, value, *arguments, **options)

    monkeypatch.setattr(fields.String, "deserialize", counted)

    found = [trial.errors({**GOOD, "orderNumber": n, "currency": "EURO"}) for n in range(1, 500)]
    missing = [trial.errors({"orderNumber": n}) for n in range(1, 500)]
    one, true = trial.errors({**GOOD, "orderNumber": 0}), trial.errors({**GOOD, "orderNumber": False})

    assert found == [{"currency": ["Length must be 3."]}] * 499
    assert missing == [{"currency": ["Missing data for required field."]}] * 499
    assert len(loaded) == 2
    assert wholes == []
    assert one != true


def test_only_so_many_answers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event may fail in its own way."""
    monkeypatch.setattr(loading, "_KEPT", 10)
    trial = trial_of(Order())

    for n in range(100):
        assert trial.errors({**GOOD, "currency": f"EUR{n}"}) == {"currency": ["Length must be 3."]}

    assert trial._object is not None
    assert trial._object._parts is not None
    assert max(len(part.known) for part in trial._object._parts) == 10
