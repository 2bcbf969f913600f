"""Schemas as plain descriptions, so that payloads are drawn from what was meant and never from our own JSON Schema.

FieldSpec ─▶ marshmallow field   (build_schema)
          └▶ values worth trying (draw_value), filtered by nothing but the field's own load
"""

import enum
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from eventbus.schemas.event_schema import EventSchema


class Color(enum.Enum):
    """Names and values differ, so that the two wire forms do."""

    RED = "red"
    GREEN = "green"
    BLUE = "blue"


class Level(enum.Enum):
    """Integer values."""

    LOW = 1
    HIGH = 2


@dataclass(frozen=True, kw_only=True)
class FieldSpec:
    """One field: a kind, its flags, its validators, and what is inside."""

    kind: str
    required: bool = True
    allow_none: bool = False
    default: bool = False
    #: (name, arguments) of validators.
    checks: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    #: Fields of a nested schema, or of one inside a list or dict.
    inner: Mapping[str, "FieldSpec"] = field(default_factory=dict)


TEXTS = (
    "", "a", "ab", "abc", "abcd", "red", "green", "blue", "RED", "GREEN", "12", "-3", "1.5", "a@b.co", "x y", "é",
    "http://x.io/", "6f1f2a3e-7a51-4d0b-9a51-7d6c1e3e8f10", "2024-02-29", "10:20:30", "2024-02-29T10:20:30",
    "2024-02-29T10:20:30+02:00", "2024-02-29T10:20:30.123456+00:00", "1.2.3.4", "::1", "true", "x" * 12,
)  # fmt: skip
NUMBERS = (0, 1, 2, 3, 5, 9, 10, 11, 99, 100, 101, -1, -10, 1.5, 0.25, 2.999, 12.34, -0.5, 1e20, 1e300, 2**60)
OTHERS: tuple[Any, ...] = (True, False, [], [1], ["a"], {}, {"x": 1}, {"k": "a"})

#: Build a field from its keyword arguments.
KINDS: dict[str, Callable[..., fields.Field[Any]]] = {
    "string": fields.String,
    "integer": lambda **k: fields.Integer(strict=True, **k),
    "lenient": fields.Integer,
    "integer-text": lambda **k: fields.Integer(as_string=True, **k),
    "float": fields.Float,
    "decimal": lambda **k: fields.Decimal(as_string=True, **k),
    "decimal-2": lambda **k: fields.Decimal(places=2, as_string=True, **k),
    "decimal-4": lambda **k: fields.Decimal(places=4, as_string=True, **k),
    "boolean": fields.Boolean,
    "uuid": fields.UUID,
    "email": fields.Email,
    "url": fields.Url,
    "ip": fields.IP,
    "ipv4": fields.IPv4,
    "date": fields.Date,
    "datetime": fields.DateTime,
    "naive": fields.NaiveDateTime,
    "aware": fields.AwareDateTime,
    "timestamp": lambda **k: fields.DateTime(format="timestamp", **k),
    "time": fields.Time,
    "duration": fields.TimeDelta,
    "enum-name": lambda **k: fields.Enum(Color, **k),
    "enum-value": lambda **k: fields.Enum(Color, by_value=True, **k),
    "enum-number": lambda **k: fields.Enum(Level, by_value=True, **k),
    "raw": fields.Raw,
}
CONTAINERS = ("nested", "list", "dict", "nested-list", "nested-dict")

_CHECKS: dict[str, Callable[..., Any]] = {
    "length": lambda low, high: validate.Length(min=low, max=high),
    "range": lambda low, high: validate.Range(min=low, max=high),
    "open-range": lambda low, high: validate.Range(min=low, max=high, min_inclusive=False, max_inclusive=False),
    "one-of": lambda *values: validate.OneOf(values),
    "none-of": lambda *values: validate.NoneOf(values),
    "equal": validate.Equal,
    "regexp": validate.Regexp,
}
TEXT_CHECKS: list[tuple[str, tuple[Any, ...]]] = [
    ("length", (1, 3)), ("length", (0, 3)), ("length", (1, 10)), ("length", (2, 3)), ("one-of", ("a", "ab")),
    ("one-of", ("a", "ab", "abc")), ("none-of", ("a",)), ("equal", ("a",)), ("regexp", ("^[a-z]+$",)),
    ("regexp", ("[a-z]",)), ("regexp", ("^[a-z]{1,3}$",)),
]  # fmt: skip
NUMBER_CHECKS: list[tuple[str, tuple[Any, ...]]] = [
    ("range", (0, 10)), ("range", (0, 100)), ("range", (1, 10)), ("range", (None, 10)), ("range", (0, None)),
    ("open-range", (0, 10)), ("one-of", (1, 2)), ("one-of", (1, 2, 3)), ("none-of", (1,)), ("equal", (1,)),
]  # fmt: skip
RANGE_CHECKS = NUMBER_CHECKS[:6]
SIZE_CHECKS: list[tuple[str, tuple[Any, ...]]] = [
    ("length", (1, 3)),
    ("length", (0, 3)),
    ("length", (1, 10)),
    ("length", (2, 3)),
]
CHECKS_OF: dict[str, list[tuple[str, tuple[Any, ...]]]] = {
    "string": TEXT_CHECKS, "integer": NUMBER_CHECKS, "lenient": NUMBER_CHECKS, "float": NUMBER_CHECKS,
    "decimal": RANGE_CHECKS, "decimal-2": RANGE_CHECKS, "integer-text": RANGE_CHECKS,
    "list": SIZE_CHECKS, "dict": SIZE_CHECKS, "nested-list": SIZE_CHECKS, "nested-dict": SIZE_CHECKS,
}  # fmt: skip
_DEFAULTS: dict[str, Any] = {"string": "ab", "integer": 2, "lenient": 2, "float": 2.0, "boolean": True, "raw": "ab"}


def build_field(spec: FieldSpec) -> fields.Field[Any]:
    """The marshmallow field that *spec* describes."""
    options: dict[str, Any] = {"allow_none": spec.allow_none, "validate": [_CHECKS[n](*a) for n, a in spec.checks]}
    if spec.default and spec.kind in _DEFAULTS and not spec.checks:
        options["load_default"] = _DEFAULTS[spec.kind]
    else:
        options["required"] = spec.required
    inside = next(iter(spec.inner.values()), None)
    if spec.kind == "nested":
        return fields.Nested(build_schema(spec.inner), **options)
    if spec.kind == "nested-list":
        return fields.List(fields.Nested(build_schema(spec.inner)), **options)
    if spec.kind == "nested-dict":
        return fields.Dict(values=fields.Nested(build_schema(spec.inner)), **options)
    if spec.kind == "list" and inside:
        return fields.List(build_field(replace(inside, required=False, default=False)), **options)
    if spec.kind == "dict" and inside:
        return fields.Dict(values=build_field(replace(inside, required=False, default=False)), **options)
    return KINDS[spec.kind](**options)


def build_schema(specs: Mapping[str, FieldSpec], base: type[Schema] = Schema) -> type[Schema]:
    """A schema class with these fields; plain by default, so that lenient kinds stay lenient."""
    return type("Described", (base,), {name: build_field(spec) for name, spec in specs.items()})


def build_event_schema(specs: Mapping[str, FieldSpec]) -> type[Schema]:
    """The same on EventSchema."""
    return build_schema(specs, EventSchema)


def values_of(spec: FieldSpec) -> list[Any]:
    """Every value of the pools that the field itself loads; null among them if it may be."""
    bound = [limit for _, arguments in spec.checks for limit in arguments if isinstance(limit, int)]
    pool = [
        *TEXTS,
        *NUMBERS,
        *OTHERS,
        *(n + d for n in bound for d in (-1, 0, 1)),
        *("a" * n for n in bound if 0 <= n < 99),
    ]
    built = build_schema({"f": replace(spec, required=True, default=False)})()
    found = [value for value in pool if _loads(built, value)]
    return found + ([None] if spec.allow_none else [])


def _loads(schema: Schema, value: Any) -> bool:
    try:
        schema.load({"f": value})
    except (ValidationError, ValueError, TypeError):
        return False
    return True


def draw_value(spec: FieldSpec, rng: random.Random) -> Any:
    """A value for the field, not always a valid one."""
    if spec.allow_none and rng.random() < 0.2:
        return None
    inside = next(iter(spec.inner.values()), None)
    if spec.kind == "nested":
        return draw_payload(spec.inner, rng)
    if spec.kind == "nested-list":
        return [draw_payload(spec.inner, rng) for _ in range(rng.choice((0, 1, 1, 2, 3, 4)))]
    if spec.kind == "nested-dict":
        return {key: draw_payload(spec.inner, rng) for key in rng.sample("abcd", rng.choice((0, 1, 1, 2, 3, 4)))}
    if spec.kind == "list" and inside:
        return [draw_value(inside, rng) for _ in range(rng.choice((0, 1, 1, 2, 3, 4, 11)))]
    if spec.kind == "dict" and inside:
        return {key: draw_value(inside, rng) for key in rng.sample("abcd", rng.choice((0, 1, 1, 2, 3, 4)))}
    found = cached_values_of(spec)
    return rng.choice(found) if found else None


_VALUES: dict[Any, list[Any]] = {}


def cached_values_of(spec: FieldSpec) -> list[Any]:
    """The same, looked up once for each kind, nullability and set of validators."""
    key = (spec.kind, spec.allow_none, spec.checks)
    if key not in _VALUES:
        _VALUES[key] = values_of(spec)
    return _VALUES[key]


def draw_payload(specs: Mapping[str, FieldSpec], rng: random.Random) -> dict[str, Any]:
    """A payload; optional fields are there half of the time."""
    return {
        name: draw_value(spec, rng)
        for name, spec in specs.items()
        if (spec.required and not spec.default) or rng.random() < 0.5
    }
