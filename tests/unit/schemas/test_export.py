"""What the bus looks like from outside."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from marshmallow import Schema, fields, validate

from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.event_schema import EventSchema
from eventbus.schemas.examples import example
from eventbus.schemas.export import ExportedSchema, Receiver, asyncapi, json_schema_file
from eventbus.schemas.python_types import typed_dicts
from eventbus.schemas.registry import SchemaRegistry
from eventbus.schemas.typescript import typescript

OFFICIAL = Path(__file__).parents[2] / "fixtures" / "asyncapi-3.0.0.schema.json"


class Line(EventSchema):
    """One line."""

    sku = fields.String(required=True, validate=validate.Regexp("^[A-Z]{3}-[0-9]+$"))


class Order(EventSchema):
    """An order was placed."""

    orderId = fields.UUID(required=True, metadata={"description": "who it is"})
    lines = fields.List(fields.Nested(Line), validate=validate.Length(min=1))
    state = fields.String(validate=validate.OneOf(["new", "old"]), allow_none=True, data_key="some-state")
    pair = fields.Tuple((fields.Integer(), fields.String()))
    prices = fields.Dict(values=fields.Float())


class Tree(EventSchema):
    """Refers to itself."""

    value = fields.Raw()
    child = fields.Nested(lambda: Tree(), allow_none=True)


ORDER = ExportedSchema(type="order.created", version=1, json_schema=to_json_schema(Order))
TREE = ExportedSchema(type="tree.grown", version=2, json_schema=to_json_schema(Tree), deprecated=True)
GROUPS = [
    Receiver(group="billing", types=["order.created", "unknown.type"]),
    Receiver(group="audit", types=["tree.grown"]),
]


@pytest.fixture(scope="module")
def official() -> Any:
    """The official JSON Schema of AsyncAPI 3."""
    return jsonschema_rs.Draft7Validator(json.loads(OFFICIAL.read_text()))


def test_asyncapi_passes_the_official_schema(official: Any) -> None:
    """And the official schema refuses something."""
    document = asyncapi([ORDER, TREE], GROUPS, title="Shop", version="7")

    assert [error.message for error in official.iter_errors(document)] == []
    assert not official.is_valid({**document, "channels": 5})


def test_asyncapi_has_every_type_version_and_group() -> None:
    """Groups are receivers of the types they get."""
    document = asyncapi([ORDER, TREE], GROUPS)

    assert sorted(document["operations"]) == [
        "audit.tree.grown",
        "billing.order.created",
        "publish.order.created",
        "publish.tree.grown",
    ]
    assert document["operations"]["billing.order.created"]["action"] == "receive"
    assert sorted(document["components"]["messages"]) == ["order.created.v1", "tree.grown.v2"]
    assert "order.created.v1.Line" in document["components"]["schemas"]


def test_references_of_asyncapi_lead_somewhere() -> None:
    """Definitions are lifted into components with everything that refers to them."""
    document = asyncapi([ORDER, TREE], GROUPS)

    for reference in _references(document):
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        assert node


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for each in node for found in _references(each)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [found for each in node.values() for found in _references(each)]


@pytest.mark.parametrize(("schema", "exported"), [(Order, ORDER), (Tree, TREE)])
def test_examples_can_be_published(schema: type[Schema], exported: ExportedSchema) -> None:
    """Documentation shows events that work, as full as can be."""
    found = example(exported.json_schema)

    schemas = SchemaRegistry()
    schemas.register("t", 1, schema)
    assert found is not None
    assert schemas.canonical("t", 1, found[0]) == found[0]
    assert set(found[0]) == set(exported.json_schema["properties"])


@pytest.mark.parametrize(
    "json_schema",
    [
        {"type": "object", "required": ["child"], "properties": {"child": {"$ref": "#"}}},
        {"type": "object", "minProperties": 2, "propertyNames": {"$ref": "#"}},
        {"type": "object", "required": ["code"], "properties": {"code": {"type": "string", "pattern": r"[\<]"}}},
    ],
    ids=["without end", "names without end", "a pattern of Python's own"],
)
def test_what_has_no_example_is_described_all_the_same(json_schema: dict[str, Any]) -> None:
    """Objects that must hold one of their own kind, and patterns that no validator knows."""
    schema = ExportedSchema(type="order.created", version=1, json_schema=json_schema)

    described = asyncapi([schema])

    assert "examples" not in described["components"]["messages"]["order.created.v1"]
    assert "order.created.v1" in described["components"]["schemas"]


@pytest.mark.parametrize(
    ("json_schema", "python", "interface"),
    [
        ({"$ref": "#"}, "class OrderCreatedV1(TypedDict):\n    pass", "interface OrderCreatedV1 {\n}"),
        (
            {"properties": {"tags": {"anyOf": [{"const": ["a"]}, {"type": "null"}]}}},
            "tags: NotRequired[Any | None]",
            "tags?: unknown | null;",
        ),
    ],
    ids=["itself", "a list as value"],
)
def test_odd_schemas_have_types_too(json_schema: dict[str, Any], python: str, interface: str) -> None:
    """One that says no more than that it is itself, and one with a list for a value or null."""
    assert python in typed_dicts("order.created", 1, json_schema)
    assert interface in typescript("order.created", 1, json_schema)


def test_the_output_does_not_depend_on_the_order_of_the_input() -> None:
    """So that a check in CI says something."""
    one = asyncapi([ORDER, TREE], GROUPS)
    two = asyncapi([TREE, ORDER], GROUPS[::-1])

    assert json.dumps(one) == json.dumps(two)
    assert typescript("order.created", 1, ORDER.json_schema) == typescript("order.created", 1, ORDER.json_schema)


def test_a_json_schema_file_is_a_json_schema() -> None:
    """With a title, and a line feed at its end."""
    text = json_schema_file(ORDER)

    assert json.loads(text)["title"] == "order.created version 1"
    assert jsonschema_rs.meta.is_valid(json.loads(text))
    assert text.endswith("}\n")


def test_typed_dicts_are_python() -> None:
    """They say what is always there, and what may be missing."""
    source = typed_dicts("order.created", 1, ORDER.json_schema)
    module: dict[str, Any] = {}
    exec(compile(source, "generated", "exec"), module)

    order = module["OrderCreatedV1"]
    assert order.__required_keys__ == {"orderId"}
    assert order.__optional_keys__ == {"lines", "some-state", "pair", "prices"}
    assert module["OrderCreatedV1Line"].__annotations__ == {"sku": str}


def test_typed_dicts_may_refer_to_themselves() -> None:
    """By name, in quotes."""
    source = typed_dicts("tree.grown", 2, TREE.json_schema)

    assert 'child: NotRequired["TreeGrownV2Tree | None"]' in source
    exec(compile(source, "generated", "exec"), {})


def test_typescript_has_an_interface_for_each_object() -> None:
    """Values, tuples and dicts have their own types."""
    source = typescript("order.created", 1, ORDER.json_schema)

    for line in (
        "export interface OrderCreatedV1Line {",
        "  /** who it is */",
        "  orderId: string;",
        "  lines?: OrderCreatedV1Line[];",
        '  "some-state"?: "new" | "old" | null;',
        "  pair?: [number, string];",
        "  prices?: Record<string, number>;",
    ):
        assert line in source.splitlines()
