"""Ways between versions: declared, evident, and both in one."""

import itertools
from typing import Any

import pytest
from marshmallow import fields

from eventbus.errors import UnreachableVersion
from eventbus.schemas.bridging import Bridges
from eventbus.schemas.event_schema import EventSchema
from eventbus.schemas.pruning import prune_stored
from eventbus.schemas.registry import SchemaRegistry

#: The fields of each version; those in capitals are required.
VERSIONS = {1: "A", 2: "Ab", 3: "ABc", 4: "aBc", 5: "B"}


def registry() -> SchemaRegistry:
    """All versions, without steps."""
    found = SchemaRegistry()
    for version, names in VERSIONS.items():
        members = {name.lower(): fields.Integer(required=name.isupper()) for name in names}
        found.register("t", version, type(f"V{version}", (EventSchema,), members))
    return found


def bridges(schemas: SchemaRegistry) -> Bridges:
    """What a process that knows *schemas* can convert."""
    return Bridges(upcasters=schemas.upcasters, find=schemas.find, versions=schemas.versions)


def full(version: int) -> dict[str, Any]:
    """Data with every field of a version."""
    return dict.fromkeys(VERSIONS[version].lower(), 1)


def fits(stored: int, wanted: int) -> bool:
    """Whether every event of one version has what the other requires."""
    always = {name for name in VERSIONS[stored] if name.isupper()}
    return {name for name in VERSIONS[wanted] if name.isupper()} <= always


@pytest.mark.parametrize("has_up", [False, True])
@pytest.mark.parametrize("has_down", [False, True])
def test_every_stored_version_reaches_every_handler_version_or_says_why(has_up: bool, has_down: bool) -> None:
    """The whole matrix: with and without the step that 2 to 3 needs, and the one that 4 to 3 needs."""
    schemas = registry()
    if has_up:
        schemas.upcasters.upcaster("t", 2, 3)(lambda data: {**data, "b": 7})
    if has_down:
        schemas.upcasters.downcaster("t", 4, 3)(lambda data: {**data, "a": 8})
    ways = bridges(schemas)

    for stored, wanted in itertools.product(VERSIONS, VERSIONS):
        found = ways.convert("t", stored, wanted, full(stored), validate=schemas.canonical)
        up = has_up and stored <= 2 and wanted >= 3
        down = has_down and stored == 4 and wanted < 4
        expected = stored == wanted or _can(stored, wanted, up=up, down=down, has_up=has_up, has_down=has_down)
        assert ways.can_convert("t", stored, wanted) is expected, (stored, wanted)
        assert isinstance(found, UnreachableVersion) is not expected
        if not isinstance(found, UnreachableVersion):
            assert set(found.data) <= set(VERSIONS[wanted].lower())
            schemas.canonical("t", wanted, found.data)


def _can(stored: int, wanted: int, *, up: bool, down: bool, has_up: bool, has_down: bool) -> bool:
    """With a step on the way, each neighbour must be reached; without one, what is stored must fit."""
    on_the_way = (has_up and stored <= 2 and wanted >= 3) or (has_down and stored >= 4 and wanted <= 3)
    way = range(stored, wanted, 1 if wanted > stored else -1)
    pairs = [(at, at + way.step) for at in way]
    if not on_the_way:
        return fits(stored, wanted) or all(fits(*pair) for pair in pairs)
    return all(fits(*pair) or (pair == (2, 3) and has_up) or (pair == (4, 3) and has_down) for pair in pairs)


def test_a_version_that_nobody_knows_is_asked_for_again() -> None:
    """It may be registered at any moment; a verdict on two known ones is kept."""
    schemas = registry()
    ways = bridges(schemas)

    assert not ways.can_convert("t", 5, 6)
    schemas.register("t", 6, type("V6", (EventSchema,), {"b": fields.Integer()}))
    assert ways.can_convert("t", 5, 6)
    assert ways.path("t", 5, 6) == ways.path("t", 5, 6)


def test_a_hole_in_the_numbers_is_no_gap() -> None:
    """Versions 1 and 3 are neighbours, if there is no 2."""
    schemas = SchemaRegistry()
    for version in (1, 3, 4):
        schemas.register("t", version, type("V", (EventSchema,), {"a": fields.Integer(required=True)}))
    schemas.upcasters.upcaster("t", 3, 4)(lambda data: data)

    assert bridges(schemas).can_convert("t", 1, 4)


def test_pruning_by_a_stored_schema_reaches_everywhere() -> None:
    """Nested, lists, tuples, dicts, nullable: what a JSON Schema does not name is left out, and nothing else."""

    class Inner(EventSchema):
        """Refers to itself."""

        x = fields.Integer()
        inner = fields.Nested(lambda: Inner(), allow_none=True)

    class Outer(EventSchema):
        """Everything that holds something."""

        one = fields.Nested(Inner, allow_none=True)
        many = fields.List(fields.Nested(Inner))
        pair = fields.Tuple((fields.Nested(Inner), fields.Integer()))
        named = fields.Dict(values=fields.Nested(Inner))
        free = fields.Dict()
        raw = fields.Raw()

    schemas = SchemaRegistry()
    schema = schemas.register("t", 1, Outer).json_schema
    dirty, clean = {"x": 1, "no": 2, "inner": {"no": 3, "inner": None}}, {"x": 1, "inner": {"inner": None}}
    rest = {"free": {"any": {"no": 1}}, "raw": [{"no": 1}]}

    found = prune_stored(
        schema, {"one": dirty, "many": [dirty], "pair": [dirty, 1], "named": {"k": dirty}, "no": 1, **rest}
    )

    assert found == {"one": clean, "many": [clean], "pair": [clean, 1], "named": {"k": clean}, **rest}
    assert prune_stored(schema, {"one": None, "many": 5}) == {"one": None, "many": 5}
