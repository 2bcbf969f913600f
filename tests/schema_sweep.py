"""Every field kind x edit x place, one after the other: what the compatibility check says beside what happens."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from eventbus.errors import InvalidSchema
from eventbus.schemas.compatibility import Problem
from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.refusal import DataRefused
from tests.schema_changes import CHANGES
from tests.schema_oracle import happens, publish
from tests.schema_specs import CHECKS_OF, KINDS, FieldSpec, build_event_schema, build_schema, cached_values_of

Check = Callable[[Any, Any], list[Problem]]

PLACES = ("top", "nested", "list", "dict", "nullable")

#: Kinds to which every other kind is changed.
TARGETS = ("string", "integer", "float", "decimal", "datetime", "enum-name", "raw")


@dataclass(frozen=True)
class SweepCase:
    """A writer and a reader, and what the writer may be asked to publish."""

    name: str
    writer: type[Schema]
    reader: type[Schema]
    payloads: list[dict[str, Any]]
    #: Everything loads, and yet a value is lost on the way.
    is_rename: bool = False


def sweep_cases(places: tuple[str, ...] = PLACES) -> Iterator[SweepCase]:
    """All cases, both ways."""
    for place in places:
        for kind in KINDS:
            for edit, old, new in _edits(kind):
                for writer, reader, way in ((old, new, "backward"), (new, old, "forward")):
                    yield _case(f"{kind}: {edit} {place} {way}", writer, reader, place)
    yield from _special_cases()


def _edits(kind: str) -> Iterator[tuple[str, FieldSpec | None, FieldSpec | None]]:
    plain = FieldSpec(kind=kind)
    optional = replace(plain, required=False)
    yield "required", optional, plain
    yield "null", plain, replace(plain, allow_none=True)
    yield "default", plain, replace(plain, default=True)
    yield "add optional", None, optional
    yield "add required", None, plain
    for target in TARGETS:
        if target != kind:
            yield f"to {target}", plain, FieldSpec(kind=target)
    for checks in CHECKS_OF.get(kind, ()):
        yield f"add {checks}", plain, replace(plain, checks=(checks,))
    for one, two in zip(CHECKS_OF.get(kind, ()), CHECKS_OF.get(kind, ())[1:], strict=False):
        yield f"{one} to {two}", replace(plain, checks=(one,)), replace(plain, checks=(two,))


def _case(name: str, writer: FieldSpec | None, reader: FieldSpec | None, place: str) -> SweepCase:
    base = build_schema if "lenient" in name else build_event_schema
    payloads = [_payload(value, place) for value in (cached_values_of(writer) if writer else ["-"])]
    return SweepCase(name, base(_placed(writer, place)), base(_placed(reader, place)), [{"k": "a"}, *payloads])


def _placed(spec: FieldSpec | None, place: str) -> dict[str, FieldSpec]:
    """The field at its place, beside one that never changes."""
    anchor = {"k": FieldSpec(kind="string")}
    own = {"f": spec} if spec else {}
    if place == "top":
        return {**anchor, **own}
    if place == "nullable":
        return {**anchor, **({"f": replace(spec, allow_none=True)} if spec else {})}
    if place == "nested":
        return {**anchor, "n": FieldSpec(kind="nested", inner={**anchor, **own})}
    return {**anchor, "n": FieldSpec(kind=f"nested-{place}", inner={**anchor, **own})}


def _payload(value: Any, place: str) -> dict[str, Any]:
    inner = {"k": "a", "f": value} if value != "-" else {"k": "a"}
    if place in ("top", "nullable"):
        return inner
    return {"k": "a", "n": {"nested": inner, "list": [inner], "dict": {"x": inner}}[place]}


def contradictions(case: SweepCase, check: Check) -> list[Any]:
    """Events that *check* calls safe and that are not."""
    writer, reader = case.writer(), case.reader()
    try:
        problems = check(to_json_schema(reader), to_json_schema(writer))
    except InvalidSchema:
        return []
    if problems:
        return []
    published = list(_published(writer, case.payloads))
    return published if case.is_rename else [wire for wire in published if happens(reader, wire) != "loads"]


def _published(writer: Schema, payloads: list[dict[str, Any]]) -> Iterator[Any]:
    for payload in payloads:
        variants = [payload, {key: value for key, value in payload.items() if key != "f"}]
        for variant in variants:
            try:
                yield publish(writer, variant)
            except DataRefused:
                continue


def _special_cases() -> Iterator[SweepCase]:
    """Renames, keys of dicts, and code."""
    texts: list[dict[str, Any]] = [{"a": "a"}, {"a": "B"}, {"a": "abc"}, {}]
    values: list[dict[str, Any]] = [
        {"a": value} for value in (1, 1.5, "a", True, {"x": 1}, {"y": "q"}, {"x": 1, "y": "q"}, [1], ["a"], None)
    ]
    for change in CHANGES:
        is_rename = change.name == "rename field (optional)"
        named = (
            [{key: value for value in each.values() for key in ("a", "b")} for each in values] if is_rename else values
        )
        yield SweepCase(change.name, change.old, change.new, [*named, {"a": 1}, {"b": 1}], is_rename)
        yield SweepCase(change.name, change.new, change.old, [*named, {"a": 1}, {"b": 1}], is_rename)
    yield SweepCase("validator added", _with(fields.String()), _with(fields.String(validate=is_lower)), texts)
    yield SweepCase(
        "validator changed", _with(fields.String(validate=is_lower)), _with(fields.String(validate=is_short)), texts
    )
    yield SweepCase("hook added", _with(fields.String()), Hooked, texts)
    items: list[dict[str, Any]] = [{"a": []}, {"a": [1]}]
    whole_list = _with(fields.List(fields.Integer(), validate=validate.Length(min=1)))
    yield SweepCase("size", _with(fields.List(fields.Integer())), whole_list, items)
    whole = _with(fields.Dict(keys=fields.String(validate=validate.Length(max=3))))
    yield SweepCase("keys", _with(fields.Dict()), whole, [{"a": {"abcd": 1}}, {"a": {"a": 1}}])


def _with(field: fields.Field[Any]) -> type[Schema]:
    return type("With", (Schema,), {"a": field})


def is_lower(value: str) -> None:
    """Refuse capitals."""
    if value != value.lower():
        raise ValidationError("capitals")


def is_short(value: str) -> None:
    """Refuse more than one character."""
    if len(value) > 1:
        raise ValidationError("long")


class Hooked(Schema):
    """Refuses by code what its fields take."""

    a = fields.String()

    @validates_schema
    def refuse_capitals(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse capitals."""
        is_lower(data.get("a", ""))

    @post_load
    def unchanged(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Give back what was loaded."""
        return data
