"""EventSchema: a marshmallow Schema whose defaults are safe for events.

The invariant: what a publisher passes is what the wire carries. marshmallow reads ``"12"`` and ``1.7`` as integers and
``"yes"`` as a boolean, and puts a constant in the place of whatever is given; an event schema does not.
"""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields

from eventbus.schemas.json_values import same, to_json
from eventbus.schemas.refusal import DataRefused


class ExactlyOne(set[Any]):
    """A set for Boolean.truthy and falsy that holds True or False, and not 1, 0 or a word that means it."""

    def __contains__(self, value: object) -> bool:
        return isinstance(value, bool) and super().__contains__(value)


class EventSchema(Schema):
    """Base class of event schemas: strict integers, booleans and constants, unknown fields refused.

    Strictness reaches into List, Dict and Tuple; a nested Schema class brings its own.
    """

    class Meta:
        """Publishing refuses what the schema does not name."""

        unknown = RAISE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Make the numbers, booleans and constants of *field_obj* strict."""
        super().on_bind_field(field_name, field_obj)
        for field in inner_fields(field_obj):
            make_strict(field)


def inner_fields(field: fields.Field[Any]) -> Iterator[fields.Field[Any]]:
    """*field* itself and the fields inside its lists, dicts and tuples, but not those of nested schemas."""
    yield field
    inner: list[Any] = []
    if isinstance(field, fields.List):
        inner = [field.inner]
    elif isinstance(field, fields.Tuple):
        inner = list(field.tuple_fields)
    elif isinstance(field, fields.Mapping):
        inner = [each for each in (field.key_field, field.value_field) if each is not None]
    for each in inner:
        yield from inner_fields(each)


def make_strict(field: fields.Field[Any]) -> None:
    """Turn off what marshmallow accepts beyond the wire form of *field*, which is changed."""
    if isinstance(field, fields.Integer) and not field.as_string:
        field.strict = True
    elif isinstance(field, fields.Boolean) and "truthy" not in vars(field):
        field.truthy, field.falsy = ExactlyOne({True}), ExactlyOne({False})
    elif isinstance(field, fields.Constant) and type(field)._deserialize is fields.Constant._deserialize:
        # What is compared is a copy: whoever loads may change what it was given.
        field._deserialize = partial(_exactly, deepcopy(field.constant))  # type: ignore[method-assign]


def is_strict_boolean(field: fields.Boolean) -> bool:
    """Whether *field* reads only true and false."""
    return isinstance(field.truthy, ExactlyOne)


def _exactly(constant: Any, value: Any, *_context: Any, **_options: Any) -> Any:
    """*constant*, if that is what *value* is on the wire."""
    try:
        is_it = same(to_json(value), to_json(constant))
    except DataRefused:
        is_it = False
    if not is_it:
        raise ValidationError(f"Must be equal to {constant}.")
    return deepcopy(constant)
