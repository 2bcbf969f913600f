"""What a file may call a JSON Schema."""

import random
from typing import Any

import pytest
from marshmallow import Schema, fields, validate

from eventbus.errors import InvalidSchema
from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.soundness import refuse_unsound
from tests.schema_edits import random_specs
from tests.schema_specs import CHECKS_OF, KINDS, FieldSpec, build_event_schema, build_schema


def nested(levels: int) -> Any:
    """A schema of lists in lists."""
    found: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        found = {"items": found}
    return found


@pytest.mark.parametrize(
    ("json_schema", "said"),
    [
        ({"properties": {"a": {"pattern": None}}}, 'properties.a.pattern: null is not of type "string"'),
        ({"properties": None}, "properties: null"),
        ({"enum": 5}, "enum: 5"),
        ({"minimum": "a"}, 'minimum: "a"'),
        ({"type": "objekt"}, "type: "),
        ({"required": ["a", 1]}, "required[1]: 1"),
        ({"$ref": 5}, "$ref: 5"),
        ({"$ref": "#/$defs/gone"}, "/$defs/gone"),
        ({"$ref": "#gone"}, "gone"),
        ({"$ref": "https://example.org/order.json"}, "https://example.org/order.json"),
        ({"$ref": "../order.json"}, "../order.json"),
        ({"description": "\ud800"}, "UTF-8"),
        (nested(300), "nested too deep"),
        (nested(3000), "nested too deep"),
        ({"$defs": 5}, "$defs: 5"),
        ({"items": [{"x-eventbus-defaults": 5}]}, "items[0].x-eventbus-defaults: 5"),
        ({"x-eventbus-opaque": [5]}, "x-eventbus-opaque[0]: 5"),
        ({"x-eventbus-places": 10**9}, "x-eventbus-places: "),
        ({"anyOf": [{"x-eventbus-minimum": "a"}]}, "anyOf[0].x-eventbus-minimum: "),
        ({"properties": {"enum": {"x-eventbus-lenient": 1}}}, "properties.enum.x-eventbus-lenient: 1"),
    ],
)
def test_what_cannot_be_worked_with_is_refused(json_schema: Any, said: str) -> None:
    """In one sentence that says where and why."""
    with pytest.raises(InvalidSchema) as refused:
        refuse_unsound(json_schema, "order.created version 1")

    text = str(refused.value)
    assert text.startswith("order.created version 1: ")
    assert said in text
    assert text.endswith(".")
    assert "\n" not in text
    assert len(text) < 300


@pytest.mark.parametrize(
    "json_schema",
    [
        {},
        {"$ref": "#"},
        {"pattern": "("},
        {"properties": {"x-eventbus-defaults": {"type": "string"}, "pattern": {"minimum": 10**30}}},
        {"const": {"x-eventbus-places": "a"}, "default": {"enum": 5}, "examples": [{"$ref": 5}]},
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "prefixItems": [{"$ref": "#/$defs/a"}],
            "$defs": {"a": True},
        },
        {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True},
    ],
)
def test_what_somebody_else_wrote_is_not_refused(json_schema: Any) -> None:
    """In any draft, with any names and any values as data."""
    refuse_unsound(json_schema, "order.created version 1")


class Tree(Schema):
    """Of everything that is seldom."""

    child = fields.Nested(lambda: Tree(), allow_none=True)
    amount = fields.Decimal(as_string=True, places=2, validate=validate.Range(min=0))
    code = fields.String(validate=validate.Regexp(r"^(?P<name>\w+)\Z"))
    sku = fields.String(validate=validate.Regexp(r"(?=a)(b)\1?\d+"))
    size = fields.Integer(validate=validate.Range(max=10**30), load_default=1)
    name = fields.String(validate=validate.Regexp(r"[\<\>]"))
    nothing = fields.Tuple(())
    odd = fields.String(metadata={"title": 5, "examples": "a"})
    code_of = fields.Function(lambda tree: tree["code"], lambda value: value)


def test_what_is_made_of_a_class_is_sound() -> None:
    """A snapshot that was taken of a registry can be read, whatever is in it."""
    rng = random.Random(7)
    of_each_kind = {kind: FieldSpec(kind=kind, checks=CHECKS_OF.get(kind, ())) for kind in KINDS}
    classes = [Tree, build_schema(of_each_kind), *(build_event_schema(random_specs(rng)) for _ in range(40))]

    for each in classes:
        refuse_unsound(to_json_schema(each), "order.created version 1")
