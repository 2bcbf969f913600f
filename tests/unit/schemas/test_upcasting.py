"""Chains of steps."""

import itertools
from datetime import date
from typing import Any

import pytest
from marshmallow import fields

from eventbus.errors import InvalidUpcast, UnreachableVersion, UpcasterConflict
from eventbus.schemas.canonical import CanonicalForm
from eventbus.schemas.event_schema import EventSchema
from eventbus.schemas.registry import SchemaRegistry
from eventbus.schemas.rewriting import default
from eventbus.schemas.upcasting import Converted, Upcasters, Validate, run_steps

VERSIONS = range(1, 5)


def add(name: str) -> Any:
    """A step that adds a field."""
    return lambda data: {**data, name: 1}


def remove(name: str) -> Any:
    """A step that removes a field."""
    return lambda data: {key: value for key, value in data.items() if key != name}


def fields_of(version: int) -> list[str]:
    """Version 3 has f1, f2 and f3."""
    return [f"f{number}" for number in range(1, version + 1)]


def registry(ups: tuple[int, ...], downs: tuple[int, ...]) -> SchemaRegistry:
    """Four versions, with steps up and down from some of them."""
    found = SchemaRegistry()
    for version in VERSIONS:
        members = {name: fields.Integer(required=True) for name in fields_of(version)}
        found.register("t", version, type("V", (EventSchema,), members))
    for version in ups:
        found.upcasters.upcaster("t", version, version + 1)(add(f"f{version + 1}"))
    for version in downs:
        found.upcasters.downcaster("t", version, version - 1, lossy=[f"f{version}"])(remove(f"f{version}"))
    return found


def convert(
    upcasters: Upcasters, stored: int, wanted: int, data: dict[str, Any], *, validate: Validate | None = None
) -> Converted:
    """*data* after all steps from one version to another."""
    path = upcasters.path("t", stored, wanted)
    assert isinstance(path, tuple)
    return run_steps(path, data, version=wanted, validate=validate)


def test_what_a_step_returns_is_not_the_next_ones_to_change() -> None:
    """It may be something that the step's code keeps: the next one gets a copy, with a schema between them or without."""
    kept = {"places": [1, 2]}
    found = Upcasters()
    found.upcaster("t", 1, 2)(lambda data: {**data, "kept": kept})

    @found.upcaster("t", 2, 3)
    def change(data: dict[str, Any]) -> dict[str, Any]:
        data["kept"]["places"].append(3)
        return data

    class Second(EventSchema):
        """Has any value."""

        kept = fields.Raw()

    form = CanonicalForm(Second)
    for validate in (None, lambda _type, version, data: form(data) if version == 2 else data):
        assert convert(found, 1, 3, {}, validate=validate).data == {"kept": {"places": [1, 2, 3]}}
    assert kept == {"places": [1, 2]}


def test_what_a_step_leaves_beside_json_is_copied_too() -> None:
    """Without a schema behind it nobody refuses it."""
    moments = {date(2026, 1, 1): (1, [2])}
    found = Upcasters()
    found.upcaster("t", 1, 2)(lambda data: {"moments": moments})

    @found.upcaster("t", 2, 3)
    def change(data: dict[str, Any]) -> dict[str, Any]:
        data["moments"][date(2026, 1, 1)][1].append(3)
        return {}

    convert(found, 1, 3, {})

    assert moments == {date(2026, 1, 1): (1, [2])}


@pytest.mark.parametrize("ups", [(), (1,), (1, 2), (1, 2, 3), (2, 3), (3,)])
@pytest.mark.parametrize("downs", [(), (4,), (4, 3), (4, 3, 2), (2,)])
def test_every_stored_version_reaches_every_handler_version_or_says_why(
    ups: tuple[int, ...], downs: tuple[int, ...]
) -> None:
    """The whole matrix: steps x stored version x handler version."""
    schemas = registry(ups, downs)

    for stored, wanted in itertools.product(VERSIONS, VERSIONS):
        steps = ups if wanted > stored else downs
        way = range(stored, wanted, 1 if wanted > stored else -1)
        data = dict.fromkeys(fields_of(stored), 1)
        if all(version in steps for version in way):
            converted = convert(schemas.upcasters, stored, wanted, data, validate=schemas.canonical)
            assert sorted(converted.data) == fields_of(wanted)
            assert converted.lossy == tuple(f"f{version}" for version in way if wanted < stored)
        else:
            unreachable = schemas.upcasters.path("t", stored, wanted)
            assert isinstance(unreachable, UnreachableVersion)
            assert unreachable.missing[0] == next(version for version in way if version not in steps)


def test_a_missing_way_is_a_value() -> None:
    """The caller can park the event without an exception."""
    path = Upcasters().path("t", 1, 3)

    assert isinstance(path, UnreachableVersion)
    assert path.missing == (1, 2)


def test_the_stored_data_stays_as_it_is() -> None:
    """A step that changes what it gets changes a copy."""
    upcasters, data = Upcasters(), {"a": {"b": 1}}

    @upcasters.upcaster("t", 1, 2)
    def careless(given: dict[str, Any]) -> dict[str, Any]:
        given["a"]["b"] = 2
        return given

    assert convert(upcasters, 1, 2, data).data == {"a": {"b": 2}}
    assert data == {"a": {"b": 1}}


@pytest.mark.parametrize(("start", "end"), [(1, 1), (1, 3), (2, 1), (0, 1)])
def test_a_step_leads_to_the_next_version(start: int, end: int) -> None:
    """Anything else is refused when it is declared."""
    with pytest.raises(UpcasterConflict):
        Upcasters().upcaster("t", start, end)(add("x"))


def test_a_step_is_declared_once() -> None:
    """Two steps for one way would make the result depend on the order of imports."""
    upcasters = Upcasters()
    upcasters.upcaster("t", 1, 2)(add("x"))

    with pytest.raises(UpcasterConflict, match="twice"):
        upcasters.upcaster("t", 1, 2)(add("y"))


def test_a_gap_is_refused() -> None:
    """Steps 1 to 2 and 3 to 4 without 2 to 3 are a mistake."""
    with pytest.raises(UpcasterConflict, match="no step between 2 and 3"):
        registry((1, 3), ()).refuse_gaps()


def test_a_step_to_an_unknown_version_is_refused() -> None:
    """Its output could not be validated."""
    with pytest.raises(UpcasterConflict, match="version 5 has no schema"):
        registry((1, 2, 3, 4), ()).refuse_gaps()


@pytest.mark.parametrize("step", [lambda data: data, lambda data: None, lambda data: data["nothing"]])
def test_a_step_that_gives_something_else_is_refused(step: Any) -> None:
    """Each output is validated against the schema of its version."""
    schemas = registry((), ())
    schemas.upcasters.upcaster("t", 1, 2)(step)

    with pytest.raises(InvalidUpcast):
        convert(schemas.upcasters, 1, 2, {"f1": 1}, validate=schemas.canonical)


def test_a_declared_change_is_a_step_both_ways() -> None:
    """The inverse of a default drops what it put in, and says that it is lost."""
    schemas, change = registry((), ()), default("f2", 7)
    schemas.upcasters.upcaster("t", 1, 2)(change)
    schemas.upcasters.downcaster("t", 2, 1, lossy=change.inverse.lossy)(change.inverse)

    up = convert(schemas.upcasters, 1, 2, {"f1": 1}, validate=schemas.canonical)
    down = convert(schemas.upcasters, 2, 1, up.data, validate=schemas.canonical)

    assert (up.data, down.data, down.lossy) == ({"f1": 1, "f2": 7}, {"f1": 1}, ("f2",))


@pytest.mark.parametrize("lossy", ["note", 5, None, [1], b"note"])
def test_what_is_lost_is_a_list_of_paths(lossy: Any) -> None:
    """A text would be a list of its letters."""
    with pytest.raises(UpcasterConflict, match="must be a list of wire paths"):
        Upcasters().downcaster("t", 2, 1, lossy=lossy)


def test_a_step_is_a_function() -> None:
    """Else the first event of that version would tell."""
    with pytest.raises(UpcasterConflict, match="'note' is no function from data to data"):
        Upcasters().upcaster("t", 1, 2)("note")  # type: ignore[arg-type]
