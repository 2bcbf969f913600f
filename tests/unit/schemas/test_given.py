"""Code that is unchanged, and what it is given."""

from typing import Any

import pytest
from marshmallow import Schema, ValidationError, fields, post_load, pre_load, validate, validates, validates_schema

from eventbus.schemas.compatibility import check
from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.event_schema import EventSchema


@validates_schema
def refuse_nothing(self: Schema, data: dict[str, Any], **_: Any) -> None:
    """Refuse an event that says nothing."""
    if not data:
        raise ValidationError("nothing")


@pre_load
def refuse_little(self: Schema, data: dict[str, Any], **_: Any) -> dict[str, Any]:
    """The same, sooner."""
    refuse_nothing(self, data)
    return data


@post_load
def keep(self: Schema, data: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Give back what was loaded."""
    return data


@validates("a")
def look(self: Schema, value: Any, **_: Any) -> None:
    """Look at one field."""


def refuse_zero(value: Any) -> None:
    """Refuse what holds nothing."""
    if not all(value):
        raise ValidationError("zero")


def integer(**options: Any) -> fields.Integer:
    """A strict one."""
    return fields.Integer(strict=True, **options)


def hooked(hook: Any, **members: Any) -> dict[str, Any]:
    """An event with this hook."""
    return to_json_schema(type("Hooked", (EventSchema,), {**members, "hook": hook}))


def nested(**members: Any) -> type[Schema]:
    """A schema for a part of an event; all are called alike."""
    return type("Line", (EventSchema,), members)


def checked(field: fields.Field[Any]) -> dict[str, Any]:
    """An event with one field that code looks at."""
    field.validators = [*field.validators, refuse_zero]
    return to_json_schema(type("Checked", (EventSchema,), {"f": field}))


def is_told(reader: dict[str, Any], writer: dict[str, Any]) -> bool:
    """Whether it cannot be told that the one reads the other; nothing else may be found."""
    found = check(reader, writer)
    assert {str(each.rule) for each in found} <= {"cannot-tell"}
    return bool(found)


@pytest.mark.parametrize("hook", [refuse_nothing, refuse_little])
def test_a_hook_that_may_refuse_must_be_given_the_same(hook: Any) -> None:
    """What one version writes in a field that the other does not know, nobody tells its hook."""
    one, two = hooked(hook, a=integer()), hooked(hook, a=integer(), b=integer())

    assert is_told(one, two)
    assert not is_told(two, one)
    assert is_told(hooked(hook, a=integer(), b=integer(load_default=1)), one)
    assert is_told(hooked(hook, a=fields.Float()), one)
    assert not is_told(
        hooked(hook, a=integer(validate=validate.Range(max=5))), hooked(hook, a=integer(validate=validate.Range(max=3)))
    )


def test_a_hook_of_one_field_sees_that_field() -> None:
    """Whatever becomes of the others, by its name on the wire."""
    kept = {"a": fields.String(data_key="A")}
    one, two = hooked(look, **kept, b=integer()), hooked(look, **kept, b=fields.Float())

    assert not is_told(two, one)
    assert is_told(hooked(look, a=fields.Float(data_key="A")), hooked(look, a=integer(data_key="A")))


@pytest.mark.parametrize(
    ("reader", "writer"),
    [
        (fields.String(validate=validate.OneOf(["a", "b"])), fields.String(validate=validate.OneOf(["a"]))),
        (fields.String(allow_none=True), fields.String()),
        (fields.String(), fields.String(validate=validate.Regexp("^a"))),
        (fields.List(fields.String(allow_none=True)), fields.List(fields.String())),
    ],
    ids=["choice", "null", "pattern", "inside"],
)
def test_a_field_that_takes_more_gives_the_same(reader: fields.Field[Any], writer: fields.Field[Any]) -> None:
    """What was written is loaded as it was."""
    assert not is_told(hooked(refuse_nothing, a=reader), hooked(refuse_nothing, a=writer))


@pytest.mark.parametrize("hook", [keep, look])
def test_a_hook_that_sees_less_may_be_given_more_or_fewer_fields(hook: Any) -> None:
    """It sees one field, or what has passed all that refuses."""
    one, two = hooked(hook, a=integer()), hooked(hook, a=integer(), b=integer())

    assert not is_told(one, two)
    assert not is_told(two, one)
    assert not is_told(hooked(hook, a=integer(), b=integer(load_default=1)), one)
    assert is_told(hooked(hook, a=fields.Float()), one)


@pytest.mark.parametrize(
    "wrap", [fields.Nested, lambda line: fields.List(fields.Nested(line)), lambda line: fields.Nested(line, many=True)]
)
def test_a_validator_of_a_whole_must_be_given_the_same(wrap: Any) -> None:
    """Its field refers to a schema of the same name, in which something else stands."""
    line = checked(wrap(nested(a=integer())))

    assert not is_told(line, checked(wrap(nested(a=integer()))))
    assert not is_told(line, checked(wrap(nested(a=integer(validate=validate.Range(min=1))))))
    for other in (nested(a=integer(), b=integer()), nested(a=integer(), b=integer(load_default=0))):
        assert is_told(line, checked(wrap(other)))
        assert is_told(checked(wrap(other)), line)
    assert is_told(checked(wrap(nested(a=fields.Float()))), line)


def test_a_validator_of_a_dict_must_be_given_the_same() -> None:
    """Of its values, too."""
    whole, broken = (checked(fields.Dict(fields.String(), value)) for value in (integer(), fields.Float()))

    assert not is_told(whole, whole)
    assert is_told(broken, whole)


def test_a_hook_of_a_part_must_be_given_the_same() -> None:
    """A nested schema has hooks of its own, and what it refers to counts."""
    inner = {name: nested(x=field) for name, field in (("one", integer()), ("two", fields.Float()))}
    parts = {
        name: type("Part", (EventSchema,), {"line": fields.Nested(line), "hook": keep}) for name, line in inner.items()
    }
    events = {
        name: to_json_schema(type("Event", (EventSchema,), {"part": fields.Nested(part)}))
        for name, part in parts.items()
    }

    assert is_told(events["two"], events["one"])
    assert not is_told(events["one"], dict(events["one"]))
