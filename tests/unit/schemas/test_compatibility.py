"""check(): schemas from anywhere, rule by rule."""

import random
from typing import Any

import pytest

from eventbus.schemas.compatibility import Direction, Verdict, check
from eventbus.schemas.documents import Document
from eventbus.schemas.projection import reader_projection, writer_projection


def closed(**properties: Any) -> dict[str, Any]:
    """An object with these keys, all required."""
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def text(**keywords: Any) -> dict[str, Any]:
    """A string."""
    return {"type": "string", **keywords}


def number(**keywords: Any) -> dict[str, Any]:
    """A number."""
    return {"type": "number", **keywords}


def array(**keywords: Any) -> dict[str, Any]:
    """An array."""
    return {"type": "array", **keywords}


INTEGER = {"type": "integer"}
OPTIONAL = {"type": "object", "properties": {"a": text()}}

#: Writer, reader, and the rule that speaks against it.
BREAKING = [
    (closed(), closed(a=text()), "required-missing"),
    (text(), number(), "type-refused"),
    (number(), INTEGER, "type-refused"),
    ({"type": ["string", "null"]}, text(), "null-refused"),
    (text(enum=["a", "b"]), text(enum=["a"]), "value-refused"),
    (text(), text(enum=["a"]), "value-refused"),
    ({"const": 1}, {"const": 2}, "value-refused"),
    ({"const": 1}, {"const": True}, "type-refused"),
    (text(), {"type": "string", "not": {"const": "a"}}, "value-refused"),
    (number(maximum=10), number(maximum=9), "range-narrowed"),
    (number(maximum=10), number(exclusiveMaximum=10), "range-narrowed"),
    (number(multipleOf=2), number(multipleOf=4), "multiple-changed"),
    (text(maxLength=4), text(maxLength=3), "length-narrowed"),
    (text(), text(minLength=1), "length-narrowed"),
    (text(pattern="^[a-z]+"), text(pattern="^[a-z]+$"), "pattern-narrowed"),
    (text(), text(format="date"), "form-changed"),
    (array(), array(minItems=1), "size-narrowed"),
    (array(items=[INTEGER], additionalItems=False), array(maxItems=0), "size-narrowed"),
    (array(), array(uniqueItems=True), "items-not-unique"),
    (array(items=number()), array(items=INTEGER), "type-refused"),
    (array(prefixItems=[INTEGER, text()]), array(prefixItems=[text()]), "type-refused"),
    ({"additionalProperties": text()}, {"additionalProperties": number()}, "type-refused"),
    ({"type": "object"}, {"type": "object", "propertyNames": {"maxLength": 2}}, "key-refused"),
    ({"additionalProperties": text()}, closed(a=text()), "entries-pruned"),
    ({"additionalProperties": True}, {"additionalProperties": False}, "entries-pruned"),
    ({"patternProperties": {"^a": text()}, "additionalProperties": False}, closed(b=text()), "entries-pruned"),
    ({"type": "object"}, {"type": "object", "minProperties": 1}, "size-narrowed"),
    ({"type": "object", "additionalProperties": True}, OPTIONAL, "type-refused"),
    (True, text(), "type-refused"),
    ({}, False, "type-refused"),
    ({"anyOf": [text(), number()]}, text(), "type-refused"),
    ({"allOf": [text(), {"maxLength": 4}]}, text(maxLength=3), "length-narrowed"),
    (
        {"$ref": "#/definitions/a", "definitions": {"a": text()}},
        {"$ref": "#/definitions/a", "definitions": {"a": text(maxLength=1)}},
        "length-narrowed",
    ),
    (
        {"type": "object", "properties": {"a": text()}, "additionalProperties": False},
        {"type": "object", "properties": {"b": text()}, "additionalProperties": False},
        "looks-like-rename",
    ),
]  # fmt: skip

#: Writer and reader.
COMPATIBLE = [
    (closed(a=text()), closed()),
    (closed(a=text()), OPTIONAL),
    ({"type": "object", "properties": {}}, OPTIONAL),
    (text(), {}),
    (text(), True),
    (False, text()),
    (INTEGER, number()),
    (number(multipleOf=4), number(multipleOf=2)),
    (number(multipleOf=1), INTEGER),
    ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1}),
    (text(enum=["a"]), text(maxLength=1)),
    (text(enum=["a"]), text(pattern="^[a-c]$")),
    (text(pattern="^[0-9]{4}$"), text(pattern="^\\d+$")),
    (text(pattern="^[0-9]{4}$"), text(minLength=4, maxLength=4)),
    (text(format="uuid"), text(maxLength=36)),
    ({"type": "boolean"}, {"enum": [True, False]}),
    (array(items=[text(), number()]), array()),
    (array(items=INTEGER, maxItems=1), array(uniqueItems=True)),
    ({"additionalProperties": text()}, {"properties": {"a": text()}}),
    (
        {"patternProperties": {"^a": text()}, "additionalProperties": False},
        {"patternProperties": {"^a": text()}, "properties": {"b": text()}, "additionalProperties": False},
    ),
    (array(items=[INTEGER], additionalItems=False), array(items=number())),
    ({"oneOf": [text(), number()]}, {"type": ["string", "number"]}),
    (text(), {"oneOf": [text(), number()]}),
    ({"allOf": [text(), {"enum": ["a"]}]}, text(enum=["a", "b"])),
    ({"not": {"type": "number"}}, {"not": {"type": "integer"}}),
    ({"not": {}}, text()),
    ({"additionalProperties": text(maxLength=1)}, {"additionalProperties": text()}),
    ({"patternProperties": {"^a": INTEGER}, "additionalProperties": False}, {"additionalProperties": number()}),
    ({"$ref": "#/$defs/a", "$defs": {"a": text()}}, text()),
    (number(title="one"), number(title="two")),
]


@pytest.mark.parametrize(("writer", "reader", "rule"), BREAKING)
def test_what_breaks_is_found_and_shown(writer: Any, reader: Any, rule: str) -> None:
    """Each rule fires, and names a payload that the writer emits and the reader refuses."""
    problems = check(reader, writer)

    (problem,) = (problem for problem in problems if problem.rule == rule)
    assert problem.verdict in (Verdict.BREAKS, Verdict.LOSES)
    sending, reading = Document(writer_projection(writer)), Document(reader_projection(reader))
    assert sending.accepts(sending.root, problem.counterexample)
    assert rule in ("looks-like-rename", "entries-pruned") or not reading.accepts(reading.root, problem.counterexample)
    assert problem.fix


@pytest.mark.parametrize(("writer", "reader"), COMPATIBLE)
def test_what_fits_is_compatible(writer: Any, reader: Any) -> None:
    """No problem where every payload is read."""
    assert check(reader, writer) == []


@pytest.mark.parametrize(
    "reader",
    [
        {"if": text(), "then": {"maxLength": 3}},
        {"dependencies": {"a": ["b"]}},
        {"oneOf": [{"properties": {"a": text()}}, {"required": ["b"]}]},
        {"contains": text()},
        {"not": {"properties": {"a": text()}}},
        {"$ref": "https://example.org/schema.json"},
        {"unevaluatedProperties": False},
        {"madeUp": 1},
        text(pattern="^(?=a)"),
    ],
)
def test_what_is_not_understood_is_not_compatible(reader: Any) -> None:
    """A condition that cannot be looked into counts as broken, unless it is the very same."""
    assert check(reader, {"type": ["object", "string", "array"]}) != []
    assert check(reader, reader) == []


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        (array(contains=text(), minContains=0), array(contains=text())),
        (array(contains=text()), array(contains=text(), minContains=2)),
        (
            {"allOf": [{"if": text(), "then": {"maxLength": 9}}, {"if": number(), "then": {"maxLength": 3}}]},
            {"if": text(), "then": {"maxLength": 3}},
        ),
        (
            array(prefixItems=[text(), text()], unevaluatedItems=number()),
            array(prefixItems=[text()], unevaluatedItems=number()),
        ),
        (
            {"allOf": [{"properties": {"a": text()}, "unevaluatedProperties": number()}]},
            {"unevaluatedProperties": number()},
        ),
    ],
)
def test_a_condition_is_the_same_only_with_what_stands_beside_it(writer: Any, reader: Any) -> None:
    """Equal keywords mean something else beside other ones."""
    assert check(reader, writer) != []
    assert check(reader, reader) == []


@pytest.mark.parametrize("schema", [None, 5, "x", [], {"type": 5}, {"type": "nothing"}, {"enum": 1}, {"properties": 3}])
def test_nonsense_is_a_problem_and_no_error(schema: Any) -> None:
    """Whatever comes in, an answer comes out."""
    problems = check(schema, text()) + check(text(), schema)

    assert [problem.rule for problem in problems if problem.verdict is Verdict.UNPROVEN]


def test_recursive_schemas_are_compared() -> None:
    """A circle ends, and what differs inside it is found."""

    def tree(value: Any) -> dict[str, Any]:
        node = {"type": "object", "properties": {"v": value, "child": {"$ref": "#/$defs/node"}}, "required": ["v"]}
        return {"$ref": "#/$defs/node", "$defs": {"node": node}}

    assert check(tree(number()), tree(INTEGER)) == []
    assert {problem.path for problem in check(tree(INTEGER), tree(number()))} == {"v", "child.v"}


def test_a_left_out_content_model_is_closed_and_a_stated_one_is_open() -> None:
    """Nobody decides to write what the schema does not name; unless they say so."""
    left_out = {"type": "object", "properties": {"b": text()}}
    stated = {**left_out, "additionalProperties": True}
    reader = {"type": "object", "properties": {"a": number(), "b": text()}}

    assert check(reader, left_out) == []
    assert {problem.path for problem in check(reader, stated)} == {"a"}


def test_paths_are_wire_paths() -> None:
    """Lists, dicts and tuples have their own signs."""
    old = closed(lines=array(items=closed(sku=text())), prices={"additionalProperties": closed(eur=number())})
    new = closed(lines=array(items=closed(sku=number())), prices={"additionalProperties": closed(eur=text())})

    assert sorted(problem.path for problem in check(new, old)) == ["lines[].sku", "prices.*.eur"]


def test_old_and_new_follow_the_direction() -> None:
    """Backward, the writer is the older one; forward, the reader is."""
    short, long = text(maxLength=3), text(maxLength=4)

    (backward,) = check(short, long)
    (forward,) = check(short, long, direction=Direction.FORWARD)

    assert (backward.old["maxLength"], backward.new["maxLength"]) == (4, 3)
    assert (forward.old["maxLength"], forward.new["maxLength"]) == (3, 4)


def test_any_mix_of_keywords_is_answered_truly() -> None:
    """Of random pairs, none that is called compatible has a payload that the writer emits and the reader refuses."""
    rng = random.Random(5)
    values = [None, True, 0, 1, 2.5, "", "a", "ab", [], [1], ["a", "a"], {}, {"a": 1}, {"a": "a", "b": 1}, {"b": None}]

    for _ in range(300):
        writer, reader = _random_schema(rng, 2), _random_schema(rng, 2)
        if not check(reader, writer):
            sending, reading = Document(writer_projection(writer)), Document(reader_projection(reader))
            for value in values:
                if sending.accepts(sending.root, value):
                    assert reading.accepts(reading.root, value), (writer, reader, value)


def _random_schema(rng: random.Random, depth: int) -> Any:
    leaves: list[Any] = [
        True,
        False,
        {},
        text(),
        INTEGER,
        number(),
        {"type": ["string", "null"]},
        {"const": "a"},
        {"enum": [1, "a", None]},
        text(maxLength=1),
        number(minimum=1),
        {"minLength": 1},
        {"required": ["a"]},
        {"uniqueItems": True},
        {"maxItems": 1},
        {"minProperties": 1},
        {"multipleOf": 2},
        text(pattern="^a"),
        {"propertyNames": {"maxLength": 1}},
    ]
    if depth == 0 or rng.random() < 0.3:
        return rng.choice(leaves)
    one, two = _random_schema(rng, depth - 1), _random_schema(rng, depth - 1)
    return rng.choice(
        [
            {"anyOf": [one, two]},
            {"allOf": [one, two]},
            {"oneOf": [one, two]},
            {"not": one},
            {"type": "object", "properties": {"a": one, "b": two}},
            {"properties": {"a": one}, "additionalProperties": two},
            {"properties": {"a": one}, "additionalProperties": False},
            {"patternProperties": {"^a": one}},
            array(items=one),
            array(items=[one], additionalItems=two),
            {"if": one, "then": two},
            {"contains": one},
            {"contains": one, "minContains": 2},
            array(prefixItems=[one], unevaluatedItems=two),
            {"properties": {"a": one}, "unevaluatedProperties": two},
            {"dependencies": {"a": one}},
            {"properties": {"a": one}, "required": ["a"]},
        ]
    )
