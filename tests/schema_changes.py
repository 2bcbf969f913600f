"""Changes that people make, each with what really happens: judged by marshmallow's load, not by a JSON Schema.

The writer is canonical (``dump(load(data))``) and the reader tolerant (unknown keys pruned). NO was seen to be refused;
LOSSY loads, and a value that both know changes.
"""

import enum
from dataclasses import dataclass
from typing import Any

from marshmallow import EXCLUDE, INCLUDE, RAISE, Schema, fields, validate

YES, NO, LOSSY = "yes", "no", "lossy"


class ThreeColors(enum.Enum):
    """Names that are values too."""

    red = "red"
    green = "green"
    blue = "blue"


class TwoColors(enum.Enum):
    """One fewer."""

    red = "red"
    green = "green"


class TwoNumbers(enum.Enum):
    """Names that are no values."""

    red = 1
    green = 2


@dataclass(frozen=True)
class Change:
    """An older and a newer schema."""

    name: str
    old: type[Schema]
    new: type[Schema]
    #: Whether the new one reads what the old one writes, and the other way around.
    backward: str
    forward: str


def schema(*, unknown: str = RAISE, **members: Any) -> type[Schema]:
    """A schema class with these fields."""
    return type("Changed", (Schema,), {"Meta": type("Meta", (), {"unknown": unknown}), **members})


def nested(**members: Any) -> fields.Nested:
    """A nested schema with these fields."""
    return fields.Nested(schema(**members))


CHANGES = [
    Change(
        "add optional field",
        schema(a=fields.String(required=True)),
        schema(a=fields.String(required=True), b=fields.Integer()),
        YES,
        YES,
    ),
    Change(
        "add optional field with load_default",
        schema(a=fields.String(required=True)),
        schema(a=fields.String(required=True), b=fields.Integer(load_default=0)),
        YES,
        YES,
    ),
    Change(
        "add required field",
        schema(a=fields.String(required=True)),
        schema(a=fields.String(required=True), b=fields.Integer(required=True)),
        NO,
        YES,
    ),
    Change(
        "add dump_only field",
        schema(a=fields.String(required=True)),
        schema(a=fields.String(required=True), b=fields.Integer(dump_only=True, dump_default=1)),
        YES,
        YES,
    ),
    Change(
        "drop optional field",
        schema(a=fields.String(required=True), b=fields.Integer()),
        schema(a=fields.String(required=True)),
        YES,
        YES,
    ),
    Change(
        "drop required field",
        schema(a=fields.String(required=True), b=fields.Integer(required=True)),
        schema(a=fields.String(required=True)),
        YES,
        NO,
    ),
    Change(
        "rename field (required)",
        schema(a=fields.Integer(required=True)),
        schema(b=fields.Integer(required=True)),
        NO,
        NO,
    ),
    Change("rename field (optional)", schema(a=fields.Integer()), schema(b=fields.Integer()), YES, YES),
    Change(
        "rename attribute, keep wire name by data_key",
        schema(a=fields.Integer(required=True)),
        schema(b=fields.Integer(required=True, data_key="a")),
        YES,
        YES,
    ),
    Change(
        "change data_key only",
        schema(a=fields.Integer(required=True)),
        schema(a=fields.Integer(required=True, data_key="A")),
        NO,
        NO,
    ),
    Change("optional -> required", schema(a=fields.Integer()), schema(a=fields.Integer(required=True)), NO, YES),
    Change("required -> optional", schema(a=fields.Integer(required=True)), schema(a=fields.Integer()), YES, NO),
    Change(
        "required -> optional with load_default",
        schema(a=fields.Integer(required=True)),
        schema(a=fields.Integer(load_default=0)),
        YES,
        YES,
    ),
    Change(
        "optional with load_default -> required",
        schema(a=fields.Integer(load_default=0)),
        schema(a=fields.Integer(required=True)),
        YES,
        YES,
    ),
    Change(
        "change load_default",
        schema(a=fields.Integer(load_default=0)),
        schema(a=fields.Integer(load_default=1)),
        YES,
        YES,
    ),
    Change(
        "change dump_default",
        schema(a=fields.Integer(dump_default=0)),
        schema(a=fields.Integer(dump_default=1)),
        YES,
        YES,
    ),
    Change(
        "field becomes dump_only",
        schema(a=fields.String(required=True), b=fields.Integer()),
        schema(a=fields.String(required=True), b=fields.Integer(dump_only=True)),
        YES,
        YES,
    ),
    Change(
        "field becomes load_only",
        schema(a=fields.String(required=True), b=fields.Integer()),
        schema(a=fields.String(required=True), b=fields.Integer(load_only=True)),
        YES,
        YES,
    ),
    Change(
        "not null -> allow_none",
        schema(a=fields.Integer(required=True)),
        schema(a=fields.Integer(required=True, allow_none=True)),
        YES,
        NO,
    ),
    Change(
        "allow_none -> not null",
        schema(a=fields.Integer(required=True, allow_none=True)),
        schema(a=fields.Integer(required=True)),
        NO,
        YES,
    ),
    Change(
        "load_default=None added (implies allow_none)",
        schema(a=fields.Integer()),
        schema(a=fields.Integer(load_default=None)),
        YES,
        NO,
    ),
    Change(
        "Integer -> Float", schema(a=fields.Integer(required=True)), schema(a=fields.Float(required=True)), YES, LOSSY
    ),
    Change(
        "Integer(strict) -> Float",
        schema(a=fields.Integer(strict=True, required=True)),
        schema(a=fields.Float(required=True)),
        YES,
        NO,
    ),
    Change(
        "Float -> Integer", schema(a=fields.Float(required=True)), schema(a=fields.Integer(required=True)), LOSSY, YES
    ),
    Change(
        "Float -> Integer(strict)",
        schema(a=fields.Float(required=True)),
        schema(a=fields.Integer(strict=True, required=True)),
        NO,
        YES,
    ),
    Change(
        "Integer -> Integer(strict)",
        schema(a=fields.Integer(required=True)),
        schema(a=fields.Integer(strict=True, required=True)),
        YES,
        YES,
    ),
    Change(
        "Integer(strict) -> Integer",
        schema(a=fields.Integer(strict=True, required=True)),
        schema(a=fields.Integer(required=True)),
        YES,
        YES,
    ),
    Change(
        "Integer -> String", schema(a=fields.Integer(required=True)), schema(a=fields.String(required=True)), NO, NO
    ),
    Change(
        "String -> Integer", schema(a=fields.String(required=True)), schema(a=fields.Integer(required=True)), NO, NO
    ),
    Change(
        "Integer -> Decimal",
        schema(a=fields.Integer(required=True)),
        schema(a=fields.Decimal(required=True, as_string=True)),
        YES,
        NO,
    ),
    Change(
        "Float -> Decimal(as_string)",
        schema(a=fields.Float(required=True)),
        schema(a=fields.Decimal(required=True, as_string=True)),
        YES,
        NO,
    ),
    Change(
        "Decimal(as_string) -> Float",
        schema(a=fields.Decimal(required=True, as_string=True)),
        schema(a=fields.Float(required=True)),
        NO,
        YES,
    ),
    Change(
        "Integer -> Integer(as_string)",
        schema(a=fields.Integer(required=True)),
        schema(a=fields.Integer(required=True, as_string=True)),
        YES,
        YES,
    ),
    Change(
        "Integer(strict) -> Boolean",
        schema(a=fields.Integer(strict=True, required=True)),
        schema(a=fields.Boolean(required=True)),
        NO,
        NO,
    ),
    Change(
        "Boolean -> Integer", schema(a=fields.Boolean(required=True)), schema(a=fields.Integer(required=True)), NO, NO
    ),
    Change(
        "Boolean -> String", schema(a=fields.Boolean(required=True)), schema(a=fields.String(required=True)), NO, NO
    ),
    Change("String -> Raw", schema(a=fields.String(required=True)), schema(a=fields.Raw(required=True)), YES, NO),
    Change("Raw -> String", schema(a=fields.Raw(required=True)), schema(a=fields.String(required=True)), NO, YES),
    Change(
        "scalar -> List of it",
        schema(a=fields.Integer(required=True)),
        schema(a=fields.List(fields.Integer(), required=True)),
        NO,
        NO,
    ),
    Change("DateTime -> Date", schema(a=fields.DateTime(required=True)), schema(a=fields.Date(required=True)), NO, YES),
    Change("Date -> DateTime", schema(a=fields.Date(required=True)), schema(a=fields.DateTime(required=True)), YES, NO),
    Change(
        "DateTime iso -> timestamp",
        schema(a=fields.DateTime(required=True)),
        schema(a=fields.DateTime(format="timestamp", required=True)),
        NO,
        NO,
    ),
    Change(
        "DateTime -> AwareDateTime",
        schema(a=fields.DateTime(required=True)),
        schema(a=fields.AwareDateTime(required=True)),
        NO,
        YES,
    ),
    Change(
        "AwareDateTime -> DateTime",
        schema(a=fields.AwareDateTime(required=True)),
        schema(a=fields.DateTime(required=True)),
        YES,
        NO,
    ),
    Change(
        "DateTime -> NaiveDateTime",
        schema(a=fields.DateTime(required=True)),
        schema(a=fields.NaiveDateTime(required=True)),
        NO,
        YES,
    ),
    Change(
        "DateTime -> String", schema(a=fields.DateTime(required=True)), schema(a=fields.String(required=True)), YES, NO
    ),
    Change(
        "String -> DateTime", schema(a=fields.String(required=True)), schema(a=fields.DateTime(required=True)), NO, YES
    ),
    Change("String -> UUID", schema(a=fields.String(required=True)), schema(a=fields.UUID(required=True)), NO, YES),
    Change("UUID -> String", schema(a=fields.UUID(required=True)), schema(a=fields.String(required=True)), YES, NO),
    Change("String -> Email", schema(a=fields.String(required=True)), schema(a=fields.Email(required=True)), NO, YES),
    Change("Email -> String", schema(a=fields.Email(required=True)), schema(a=fields.String(required=True)), YES, NO),
    Change(
        "Range tightened (max 100 -> 10)",
        schema(a=fields.Integer(required=True, validate=validate.Range(max=100))),
        schema(a=fields.Integer(required=True, validate=validate.Range(max=10))),
        NO,
        YES,
    ),
    Change(
        "Range loosened (max 10 -> 100)",
        schema(a=fields.Integer(required=True, validate=validate.Range(max=10))),
        schema(a=fields.Integer(required=True, validate=validate.Range(max=100))),
        YES,
        NO,
    ),
    Change(
        "Range added",
        schema(a=fields.Integer(required=True)),
        schema(a=fields.Integer(required=True, validate=validate.Range(min=0))),
        NO,
        YES,
    ),
    Change(
        "Range removed",
        schema(a=fields.Integer(required=True, validate=validate.Range(min=0))),
        schema(a=fields.Integer(required=True)),
        YES,
        NO,
    ),
    Change(
        "Range max inclusive -> exclusive",
        schema(a=fields.Integer(required=True, validate=validate.Range(max=10))),
        schema(a=fields.Integer(required=True, validate=validate.Range(max=10, max_inclusive=False))),
        NO,
        YES,
    ),
    Change(
        "Length max 10 -> 3",
        schema(a=fields.String(required=True, validate=validate.Length(max=10))),
        schema(a=fields.String(required=True, validate=validate.Length(max=3))),
        NO,
        YES,
    ),
    Change(
        "Length min 2 -> 1",
        schema(a=fields.String(required=True, validate=validate.Length(min=2))),
        schema(a=fields.String(required=True, validate=validate.Length(min=1))),
        YES,
        NO,
    ),
    Change(
        "Regexp added",
        schema(a=fields.String(required=True)),
        schema(a=fields.String(required=True, validate=validate.Regexp(r"^[a-z]+$"))),
        NO,
        YES,
    ),
    Change(
        "Regexp removed",
        schema(a=fields.String(required=True, validate=validate.Regexp(r"^[a-z]+$"))),
        schema(a=fields.String(required=True)),
        YES,
        NO,
    ),
    Change(
        "Regexp changed (narrower)",
        schema(a=fields.String(required=True, validate=validate.Regexp(r"^[a-z]+"))),
        schema(a=fields.String(required=True, validate=validate.Regexp(r"^[a-z]+$"))),
        NO,
        YES,
    ),
    Change(
        "Regexp changed (equivalent spelling)",
        schema(a=fields.String(required=True, validate=validate.Regexp(r"^[0-9]+$"))),
        schema(a=fields.String(required=True, validate=validate.Regexp(r"^(0|1|2|3|4|5|6|7|8|9)+$"))),
        YES,
        YES,
    ),
    Change(
        "OneOf value added",
        schema(a=fields.String(required=True, validate=validate.OneOf(["red", "green"]))),
        schema(a=fields.String(required=True, validate=validate.OneOf(["red", "green", "blue"]))),
        YES,
        NO,
    ),
    Change(
        "OneOf value removed",
        schema(a=fields.String(required=True, validate=validate.OneOf(["red", "green", "blue"]))),
        schema(a=fields.String(required=True, validate=validate.OneOf(["red", "green"]))),
        NO,
        YES,
    ),
    Change(
        "OneOf replaced by free String",
        schema(a=fields.String(required=True, validate=validate.OneOf(["red"]))),
        schema(a=fields.String(required=True)),
        YES,
        NO,
    ),
    Change(
        "Enum member added",
        schema(a=fields.Enum(TwoColors, required=True)),
        schema(a=fields.Enum(ThreeColors, required=True)),
        YES,
        NO,
    ),
    Change(
        "Enum member removed",
        schema(a=fields.Enum(ThreeColors, required=True)),
        schema(a=fields.Enum(TwoColors, required=True)),
        NO,
        YES,
    ),
    Change(
        "Enum by name -> by value (values == names)",
        schema(a=fields.Enum(TwoColors, required=True)),
        schema(a=fields.Enum(TwoColors, by_value=True, required=True)),
        YES,
        YES,
    ),
    Change(
        "Enum by name -> by value (int values)",
        schema(a=fields.Enum(TwoNumbers, required=True)),
        schema(a=fields.Enum(TwoNumbers, by_value=True, required=True)),
        NO,
        NO,
    ),
    Change(
        "Enum -> String",
        schema(a=fields.Enum(TwoColors, required=True)),
        schema(a=fields.String(required=True)),
        YES,
        NO,
    ),
    Change(
        "nested: add optional field",
        schema(a=nested(x=fields.Integer(required=True))),
        schema(a=nested(x=fields.Integer(required=True), y=fields.String())),
        YES,
        YES,
    ),
    Change(
        "nested: add required field",
        schema(a=nested(x=fields.Integer(required=True))),
        schema(a=nested(x=fields.Integer(required=True), y=fields.String(required=True))),
        NO,
        YES,
    ),
    Change(
        "nested: drop optional field",
        schema(a=nested(x=fields.Integer(required=True), y=fields.String())),
        schema(a=nested(x=fields.Integer(required=True))),
        YES,
        YES,
    ),
    Change(
        "nested: optional -> required inside",
        schema(a=nested(x=fields.Integer())),
        schema(a=nested(x=fields.Integer(required=True))),
        NO,
        YES,
    ),
    Change(
        "nested: type widened inside",
        schema(a=nested(x=fields.Integer(strict=True, required=True))),
        schema(a=nested(x=fields.Float(required=True))),
        YES,
        NO,
    ),
    Change("Nested -> Dict", schema(a=nested(x=fields.Integer(required=True))), schema(a=fields.Dict()), YES, NO),
    Change(
        "Nested -> Nested(many)",
        schema(a=nested(x=fields.Integer(required=True))),
        schema(a=fields.Nested(schema(x=fields.Integer(required=True)), many=True)),
        NO,
        NO,
    ),
    Change(
        "List(Integer) -> List(Float)",
        schema(a=fields.List(fields.Integer(strict=True))),
        schema(a=fields.List(fields.Float())),
        YES,
        NO,
    ),
    Change(
        "List(Integer) -> List(String)",
        schema(a=fields.List(fields.Integer(strict=True))),
        schema(a=fields.List(fields.String())),
        NO,
        NO,
    ),
    Change(
        "List item allow_none removed",
        schema(a=fields.List(fields.Integer(allow_none=True))),
        schema(a=fields.List(fields.Integer())),
        NO,
        YES,
    ),
    Change(
        "List Length(min=1) added",
        schema(a=fields.List(fields.Integer())),
        schema(a=fields.List(fields.Integer(), validate=validate.Length(min=1))),
        NO,
        YES,
    ),
    Change(
        "List(Nested) add optional field inside",
        schema(a=fields.List(nested(x=fields.Integer(required=True)))),
        schema(a=fields.List(nested(x=fields.Integer(required=True), y=fields.String()))),
        YES,
        YES,
    ),
    Change(
        "Dict value type Integer -> String",
        schema(a=fields.Dict(values=fields.Integer())),
        schema(a=fields.Dict(values=fields.String())),
        NO,
        NO,
    ),
    Change(
        "Dict -> Dict(keys=Regexp)",
        schema(a=fields.Dict()),
        schema(a=fields.Dict(keys=fields.String(validate=validate.Regexp("^x$")))),
        NO,
        YES,
    ),
    Change(
        "unknown RAISE -> EXCLUDE",
        schema(a=fields.Integer(required=True)),
        schema(unknown=EXCLUDE, a=fields.Integer(required=True)),
        YES,
        YES,
    ),
    Change(
        "unknown EXCLUDE -> RAISE",
        schema(unknown=EXCLUDE, a=fields.Integer(required=True)),
        schema(a=fields.Integer(required=True)),
        YES,
        YES,
    ),
    Change(
        "unknown RAISE -> INCLUDE",
        schema(a=fields.Integer(required=True)),
        schema(unknown=INCLUDE, a=fields.Integer(required=True)),
        YES,
        YES,
    ),
    Change(
        "unknown INCLUDE -> RAISE",
        schema(unknown=INCLUDE, a=fields.Integer(required=True)),
        schema(a=fields.Integer(required=True)),
        YES,
        YES,
    ),
]
