"""The JSON Schema of marshmallow schemas."""

import enum
import math
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest
from marshmallow import Schema, ValidationError, fields, post_load, validate

from eventbus.errors import InvalidSchema
from eventbus.schemas.conversion import convert, to_json_schema
from eventbus.schemas.event_schema import EventSchema


class WithArgument(EventSchema):
    """A schema that cannot be made without saying more."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit


class Size(enum.Enum):
    """Names and values differ."""

    SMALL = "s"
    LARGE = "l"


class Tree(EventSchema):
    """Refers to itself."""

    value = fields.Integer(required=True)
    child = fields.Nested(lambda: Tree(), allow_none=True)
    children = fields.List(fields.Nested(lambda: Tree()))


def is_even(value: int) -> None:
    """Refuse odd numbers."""
    if value % 2:
        raise ValidationError("odd")


def property_of(field: fields.Field[Any], base: type[Schema] = EventSchema) -> Any:
    """The JSON Schema of one field."""
    return to_json_schema(type("One", (base,), {"f": field}))["properties"]["f"]


TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (fields.String(), TEXT),
        (fields.String(allow_none=True), {"type": ["string", "null"]}),
        (fields.Integer(), {"type": "integer"}),
        (fields.Float(), {"type": "number"}),
        (fields.Boolean(), {"type": "boolean"}),
        (fields.UUID(), {**TEXT, "format": "uuid"}),
        (fields.Email(), {**TEXT, "format": "email"}),
        (fields.Url(), {**TEXT, "format": "uri"}),
        (fields.IPv4(), {**TEXT, "format": "ipv4"}),
        (fields.Date(), {**TEXT, "format": "date"}),
        (fields.AwareDateTime(), {**TEXT, "format": "date-time"}),
        (fields.Enum(Size), {**TEXT, "enum": ["SMALL", "LARGE"]}),
        (fields.Enum(Size, by_value=True), {**TEXT, "enum": ["s", "l"]}),
        (fields.Enum(Size, allow_none=True), {"type": ["string", "null"], "enum": ["SMALL", "LARGE", None]}),
        (fields.Constant("x"), {"const": "x"}),
        (fields.Raw(allow_none=True), {}),
        (fields.List(fields.String()), {"type": "array", "items": TEXT}),
        (fields.Dict(), {"type": "object", "additionalProperties": {}}),
        (fields.Dict(values=fields.String()), {"type": "object", "additionalProperties": TEXT}),
        (fields.String(validate=validate.Length(1, 3)), {**TEXT, "minLength": 1, "maxLength": 3}),
        (fields.String(validate=validate.Length(equal=3)), {**TEXT, "minLength": 3, "maxLength": 3}),
        (fields.String(validate=validate.OneOf(["a", "b"])), {**TEXT, "enum": ["a", "b"]}),
        (fields.String(validate=validate.Equal("a")), {**TEXT, "const": "a"}),
        (fields.String(validate=validate.NoneOf(["a"])), {**TEXT, "not": {"enum": ["a"]}}),
        (fields.String(validate=validate.Regexp("[a-z]+")), {**TEXT, "pattern": "^(?:[a-z]+)"}),
        (fields.Integer(validate=validate.Range(0, 9)), {"type": "integer", "minimum": 0, "maximum": 9}),
        (
            fields.Float(validate=validate.Range(0, 9, min_inclusive=False)),
            {"type": "number", "exclusiveMinimum": 0, "maximum": 9},
        ),
        (
            fields.List(fields.String(), validate=validate.Length(min=1)),
            {"type": "array", "items": TEXT, "minItems": 1},
        ),
        (
            fields.List(fields.String(), validate=validate.ContainsOnly(["a"])),
            {"type": "array", "items": TEXT, "allOf": [{"items": {"enum": ["a"]}}]},
        ),
        (
            fields.Dict(keys=fields.String(validate=validate.Length(max=2)), values=fields.String()),
            {"type": "object", "additionalProperties": TEXT, "propertyNames": {"maxLength": 2}},
        ),
        (
            fields.Tuple((fields.String(), fields.Integer(strict=True))),
            {
                "type": "array",
                "items": [TEXT, {"type": "integer"}],
                "additionalItems": False,
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (
            fields.String(validate=validate.And(validate.Length(max=3), validate.OneOf(["a"]))),
            {**TEXT, "maxLength": 3, "enum": ["a"]},
        ),
    ],
)
def test_a_field_becomes_its_wire_form(field: fields.Field[Any], expected: Any) -> None:
    """Each kind of field and validator has its keywords."""
    assert property_of(field) == expected


def test_two_patterns_both_hold() -> None:
    """A keyword that is there twice goes into allOf."""
    field = fields.String(validate=[validate.Regexp("^a"), validate.Regexp("^.b")])

    assert property_of(field) == {**TEXT, "pattern": "^(?:^a)", "allOf": [{"pattern": "^(?:^.b)"}]}


def test_a_decimal_is_text() -> None:
    """Digits are not lost in a JSON number; the range is kept beside."""
    field = fields.Decimal(as_string=True, validate=validate.Range(min=Decimal("0.01")))

    found = property_of(field)

    assert (found["type"], found["x-eventbus-format"], found["x-eventbus-minimum"]) == ("string", "decimal", 0.01)


def test_recursion_ends() -> None:
    """A schema that refers to itself is a definition that refers to itself."""
    found = to_json_schema(Tree)

    reference = {"$ref": "#/$defs/Tree"}
    assert found["properties"]["child"] == {"anyOf": [reference, {"type": "null"}]}
    assert found["$defs"]["Tree"]["properties"]["children"] == {"type": "array", "items": reference}
    assert jsonschema_rs.Draft7Validator(found).is_valid({"value": 1, "child": {"value": 2, "child": None}})


def test_nested_views_of_a_schema_are_definitions_of_their_own() -> None:
    """only and exclude give another shape of the same class."""

    class Item(EventSchema):
        sku = fields.String(required=True)
        note = fields.String()

    class Order(EventSchema):
        one = fields.Nested(Item)
        two = fields.Nested(Item, only=("sku",))
        three = fields.Nested(Item, exclude=("note",), many=True)
        sku = fields.Pluck(Item, "sku")
        skus = fields.Pluck(Item, "sku", many=True)

    found = to_json_schema(Order)

    assert sorted(found["$defs"]) == ["Item", "Item_2"]
    assert found["properties"]["three"] == {"type": "array", "items": {"$ref": "#/$defs/Item_2"}}
    assert found["properties"]["sku"] == TEXT
    assert found["properties"]["skus"] == {"type": "array", "items": TEXT}


def test_what_is_always_written_is_required() -> None:
    """A field with a default is written in every event, and may be missing in what is read."""

    class Order(EventSchema):
        one = fields.String(required=True, data_key="First")
        two = fields.Integer(load_default=1)
        three = fields.Integer()

    found = to_json_schema(Order)

    assert found["required"] == ["First", "two"]
    assert found["x-eventbus-defaults"] == ["two"]
    assert found["properties"]["two"]["default"] == 1
    assert found["additionalProperties"] is False


@pytest.mark.parametrize(
    "field",
    [
        fields.String(dump_only=True),
        fields.Function(lambda data: 1),
        fields.Decimal(),
        fields.Float(allow_nan=True),
        fields.Boolean(truthy={"ja"}, falsy={"nein"}),
        fields.AwareDateTime(format="timestamp", default_timezone=timezone(timedelta(hours=2))),
        fields.AwareDateTime(format="%Y-%m-%d %H:%M:%S"),
        fields.Integer(as_string=True, strict=True),
        fields.Integer(load_default=-1, validate=validate.Range(min=0)),
        fields.String(load_default=None, allow_none=False),
        fields.String(required=True, load_only=True),
        fields.Dict(keys=fields.Float()),
        fields.Constant(object()),
        fields.Constant("EUR", allow_none=True),
        fields.Constant(None, allow_none=False),
        fields.Constant("EUR", validate=validate.Equal("USD")),
        fields.Constant("eur", pre_load=str.upper),
        fields.Nested("Misspelt"),
        fields.Pluck(EventSchema, "nowhere"),
        fields.Nested(WithArgument),
        fields.Nested(lambda: {}["nowhere"]),
        fields.Enum(enum.IntFlag("Rights", "READ WRITE"), by_value=True),
        fields.Nested(type("Partial", (EventSchema,), {"a": fields.String(required=True)})(partial=True)),
    ],
)
def test_what_is_no_event_is_refused(field: fields.Field[Any]) -> None:
    """A schema that could not read what it writes is refused when it is declared, with the path."""
    with pytest.raises(InvalidSchema) as raised:
        property_of(field)

    assert raised.value.path == "f"


@pytest.mark.parametrize(
    "members",
    [
        {"a": fields.String(metadata={"title": "\ud800"})},
        {"a": fields.String(metadata={"examples": [float("inf")]})},
        {"\x00": fields.String()},
        {"a": fields.String(data_key="\udfff")},
    ],
)
def test_words_that_nobody_can_keep_are_refused(members: dict[str, Any]) -> None:
    """Before the registry is asked to keep them."""
    with pytest.raises(InvalidSchema, match=r"U\+0000|Unicode|NaN and Infinity"):
        to_json_schema(type("Some", (EventSchema,), members))


def test_a_bound_without_an_end_is_none() -> None:
    """JSON has no infinity, and no number is beyond it."""
    endless = validate.Range(min=-math.inf, max=math.inf)

    assert property_of(fields.Float(validate=endless)) == {"type": "number"}
    assert property_of(fields.Float(validate=validate.Range(min=1, max=math.inf))) == {"type": "number", "minimum": 1}
    for never in (validate.Range(max=-math.inf), validate.Range(min=math.nan)):
        assert "x-eventbus-opaque" in property_of(fields.Float(validate=never))


def test_a_moment_without_offset_is_another_form_in_another_zone() -> None:
    """It would be read as another moment."""
    form = "%Y-%m-%d %H:%M:%S"
    zones = [UTC, timezone(timedelta(hours=2))]

    found = [property_of(fields.AwareDateTime(format=form, default_timezone=zone)) for zone in zones]

    assert found[0] != found[1]
    assert property_of(fields.AwareDateTime(format="timestamp", default_timezone=UTC))["type"] == "number"
    assert property_of(fields.Boolean(truthy={True, "ja"}, falsy={False, "nein"}))["type"] == "boolean"


def test_a_misspelt_schema_is_named_where_it_stands() -> None:
    """At the field that names it, however deep, and in the words of marshmallow."""

    class Line(EventSchema):
        item = fields.Nested("Misspelt")

    with pytest.raises(InvalidSchema, match=r"^f\[\]\.item: RegistryError: Class with name 'Misspelt' was not found\."):
        property_of(fields.List(fields.Nested(Line)))


def test_a_class_that_takes_arguments_is_refused() -> None:
    """Nobody would give it any."""
    with pytest.raises(InvalidSchema, match=r"missing 1 required positional argument: 'unit'\. The class must be such"):
        convert(WithArgument)


def test_two_fields_with_one_name_are_refused() -> None:
    """One would overwrite the other."""

    class Order(EventSchema):
        one = fields.String()
        two = fields.String(data_key="one")

    with pytest.raises(InvalidSchema, match="data_key"):
        to_json_schema(Order)


@pytest.mark.parametrize(
    "field",
    [
        fields.Integer(validate=is_even),
        fields.String(validate=validate.Regexp("(?i)x")),
        fields.String(validate=validate.Regexp("^(?!a$)")),
        fields.String(validate=validate.OneOf("abc")),
        fields.Date(validate=validate.Range(max=None)),
        fields.Function(lambda data: 1, lambda value: value),
    ],
)
def test_what_json_schema_cannot_say_is_named(field: fields.Field[Any]) -> None:
    """Code and patterns that are not portable have a name and an identity."""
    (entry, *_) = property_of(field)["x-eventbus-opaque"]

    assert entry["name"]
    assert len(entry["identity"]) == 32


def test_hooks_are_named() -> None:
    """Code around a whole object is named at the object."""

    class Order(EventSchema):
        one = fields.String()

        @post_load
        def build(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
            return data

    (entry,) = to_json_schema(Order)["x-eventbus-opaque"]

    assert entry["what"] == "hook post_load"
    assert entry["name"].endswith("Order.build")


def test_lenient_fields_are_warned_about() -> None:
    """A plain Schema reads words as booleans and fractions as integers; an EventSchema does not."""
    members = {"one": fields.Integer(), "two": fields.List(fields.Boolean())}

    plain = convert(type("Plain", (Schema,), dict(members))).warnings
    strict = convert(type("Strict", (EventSchema,), dict(members))).warnings

    assert [warning.split(":")[0] for warning in plain] == ["one", "two[]"]
    assert strict == ()


def test_words_are_carried_over() -> None:
    """Titles and descriptions come from metadata and docstrings, also beside a reference."""

    class Order(EventSchema):
        """An order.

        More about it.
        """

        tree = fields.Nested(Tree, metadata={"description": "the tree"})

    found = to_json_schema(Order)

    assert found["description"] == "An order."
    assert found["properties"]["tree"] == {"allOf": [{"$ref": "#/$defs/Tree"}], "description": "the tree"}
