"""What counts as another wire form, and what as other words."""

from collections.abc import Callable
from typing import Any

import pytest
from marshmallow import Schema, fields, validate

from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.event_schema import EventSchema
from eventbus.schemas.fingerprints import text_fingerprint, wire_fingerprint
from eventbus.schemas.opaque import identity_of


def schema(**members: Any) -> dict[str, Any]:
    """The JSON Schema of an event schema with these fields."""
    return to_json_schema(type("Some", (EventSchema,), members))


def named(name: str) -> dict[str, Any]:
    """A schema that nests a class of this name."""
    return schema(n=fields.Nested(type(name, (EventSchema,), {"a": fields.String()})))


def at_least(limit: int) -> Callable[[int], None]:
    """A validator made for a limit."""

    def check(value: int) -> None:
        assert value >= limit

    return check


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (schema(a=fields.String()), schema(a=fields.String(metadata={"description": "x"}))),
        (schema(a=fields.String()), schema(b=fields.String(data_key="a"))),
        (named("One"), named("Two")),
        (schema(a=fields.String(), b=fields.Integer()), schema(b=fields.Integer(), a=fields.String())),
        (schema(a=fields.Integer(load_default=1)), schema(a=fields.Integer(load_default=2))),
        (schema(a=fields.Integer(validate=at_least(1))), schema(a=fields.Integer(validate=at_least(1)))),
    ],
)
def test_what_is_written_alike_has_one_wire_fingerprint(one: Any, two: Any) -> None:
    """Words, class names and order are not on the wire."""
    assert wire_fingerprint(one) == wire_fingerprint(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (schema(a=fields.String()), schema(a=fields.String(required=True))),
        (schema(a=fields.String()), schema(a=fields.String(validate=validate.Length(max=3)))),
        (schema(a=fields.Integer(required=True)), schema(a=fields.Integer(load_default=1))),
        (schema(a=fields.Integer(validate=at_least(1))), schema(a=fields.Integer(validate=at_least(2)))),
        (schema(title=fields.String()), schema(title=fields.Integer())),
        (named("One"), schema(n=fields.Nested(type("One", (EventSchema,), {"a": fields.Integer()})))),
    ],
)
def test_what_is_written_otherwise_has_another_one(one: Any, two: Any) -> None:
    """Also where only the code of a validator is another one."""
    assert wire_fingerprint(one) != wire_fingerprint(two)


def test_words_have_their_own_fingerprint() -> None:
    """A better description is no new version, and is seen."""
    one = schema(a=fields.String(metadata={"description": "x"}))
    two = schema(a=fields.String(metadata={"description": "y"}))

    assert text_fingerprint(one) != text_fingerprint(two)
    assert text_fingerprint(schema(a=fields.String())) == text_fingerprint(schema(a=fields.Integer()))


def test_identities_hold_no_addresses() -> None:
    """Two processes give one part the same identity."""

    class Limit:
        def __init__(self) -> None:
            self.schema = Schema

        def __call__(self, value: int) -> None: ...

    assert identity_of(Limit()) == identity_of(Limit())
    assert identity_of(at_least(1)) != identity_of(at_least(2))
    assert identity_of(lambda value: value) != identity_of(lambda value: None)
