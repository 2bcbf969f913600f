"""From one marshmallow field to the JSON Schema of the values it writes.

Order matters: the value's own form first, then validators (which marshmallow skips for None), then null.
"""

import enum
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, fields

from eventbus.errors import InvalidSchema
from eventbus.schemas.code import Hook
from eventbus.schemas.event_schema import is_strict_boolean
from eventbus.schemas.lexical import text_form
from eventbus.schemas.moment_conversion import date_or_time, date_time, time_delta
from eventbus.schemas.opaque import describe
from eventbus.schemas.validator_conversion import add_opaque, apply_validators, with_exact_ends, within_digits

LENIENT = "x-eventbus-lenient"

#: Parts of a field's metadata that are text for people, carried over as they are.
_TEXT = ("title", "description", "examples", "deprecated")

#: Methods whose overriding makes a field's wire form unknown.
_FIELD_METHODS = [
    "_serialize",
    "_deserialize",
    "serialize",
    "deserialize",
    "get_value",
    "_validate",
    "_validate_missing",
    "_validated",
    "_format_num",
    "_to_string",
    "_load",
    "_test_collection",
    "SERIALIZATION_FUNCS",
    "DESERIALIZATION_FUNCS",
    "mapping_type",
    "num_type",
    "truthy",
    "falsy",
]

_Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class FieldConverter:
    """Converts fields; *nested* makes the reference to another schema, *warn* takes a sentence."""

    nested: Callable[[Schema, str], _Json]
    warn: Callable[[str], None]

    def convert(self, field: fields.Field[Any], path: str) -> _Json:
        """The schema of the values that *field* writes, null included if it is allowed."""
        result = self.convert_value(field, path)
        if field.allow_none:
            result = allow_null(result)
        return with_text(result, {key: field.metadata[key] for key in _TEXT if key in field.metadata})

    def convert_value(self, field: fields.Field[Any], path: str) -> _Json:
        """The schema of the values other than null."""
        if isinstance(field, fields.String):
            field.validators = with_exact_ends(field)  # another list: this one is that of the class's own field
        if is_custom(field):
            result: _Json = add_opaque({}, describe("field", field))
        else:
            result = self._form(field, path)
        result = apply_validators(result, field)
        for processor in (*getattr(field, "pre_load", ()), *getattr(field, "post_load", ())):
            result = add_opaque(result, describe("hook", processor))
        return result

    def _form(self, field: fields.Field[Any], path: str) -> _Json:
        for kind, form in _FORMS:
            if isinstance(field, kind):
                return form(self, field, path)
        return add_opaque({}, describe("field", field))

    def pluck(self, field: fields.Pluck, path: str) -> _Json:
        """The plucked field itself, once or in a list."""
        inner = field.schema.fields[field.field_name]
        if field.schema._hooks and any(field.schema._hooks.values()):
            return add_opaque({}, describe("field", type(field.schema)))
        if field.many:
            return {"type": "array", "items": self.convert(inner, f"{path}[]")}
        return self.convert_value(inner, path)

    def nested_field(self, field: fields.Nested, path: str) -> _Json:
        """A reference, once or in a list."""
        many = field.schema.many or field.many
        reference = self.nested(field.schema, f"{path}[]" if many else path)
        return {"type": "array", "items": reference} if many else reference

    def list_field(self, field: fields.List[Any], path: str) -> _Json:
        """A list of one kind of values."""
        return {"type": "array", "items": self.convert(field.inner, f"{path}[]")}

    def tuple_field(self, field: fields.Tuple, path: str) -> _Json:
        """A list of fixed length; ``items`` as a list is how draft-07 writes it."""
        items = [self.convert(each, f"{path}[{index}]") for index, each in enumerate(field.tuple_fields)]
        sizes = {"minItems": len(items), "maxItems": len(items)}
        return {"type": "array", "items": items, "additionalItems": False, **sizes}

    def mapping(self, field: fields.Mapping[Any], path: str) -> _Json:
        """An object whose keys are data."""
        values = self.convert(field.value_field, f"{path}.*") if field.value_field else {}
        result: _Json = {"type": "object", "additionalProperties": values}
        if field.key_field is not None:
            names = self._key_names(field.key_field, path)
            if names:
                result["propertyNames"] = names
        return result

    def _key_names(self, key: fields.Field[Any], path: str) -> _Json:
        if isinstance(key, fields.Integer) and not key.as_string and not key.strict:
            return text_form("integer")
        names = self.convert_value(key, f"{path}.*")
        if names.get("type") != "string":
            raise InvalidSchema(
                path, "keys of JSON objects are strings: use a String, UUID, Date or Enum field for keys."
            )
        return {keyword: value for keyword, value in names.items() if keyword != "type"}

    def integer(self, field: fields.Integer, path: str) -> _Json:
        """A JSON integer, or its digits in a string."""
        if field.as_string:
            if field.strict:
                raise InvalidSchema(path, "strict and as_string: the schema could not read what it writes.")
            return {"type": "string", **text_form("integer")}
        if field.strict:
            return {"type": "integer"}
        self.warn(f'{path}: Integer() also takes "12" and turns 1.7 into 1. Use strict=True or EventSchema.')
        return {"type": "integer", LENIENT: True}

    def float(self, field: fields.Float, path: str) -> _Json:
        """A JSON number, or its text."""
        self._refuse_nan(field, path)
        return {"type": "string", **text_form("float")} if field.as_string else {"type": "number"}

    def decimal(self, field: fields.Decimal, path: str) -> _Json:
        """A decimal in a string: the only form in which JSON keeps its digits."""
        self._refuse_nan(field, path)
        if not field.as_string:
            raise InvalidSchema(path, "a Decimal is no JSON number without losing digits. Use as_string=True.")
        if within_digits not in field.validators:
            # Another list: this one is that of the class's own field.
            field.validators = [*field.validators, within_digits]
        places = {} if field.places is None else {"x-eventbus-places": -int(field.places.as_tuple().exponent)}
        return {"type": "string", **text_form("decimal"), **places}

    def _refuse_nan(self, field: Any, path: str) -> None:
        if field.allow_nan:
            raise InvalidSchema(path, "NaN and Infinity are not JSON. Remove allow_nan.")

    def boolean(self, field: fields.Boolean, path: str) -> _Json:
        """true or false."""
        if not (True in field.truthy and False in field.falsy):
            raise InvalidSchema(
                path, "it could not read the true and false that it writes. Add True to truthy and False to falsy."
            )
        if not is_strict_boolean(field):
            self.warn(f'{path}: Boolean() also takes "yes" and 1. Use EventSchema.')
        return {"type": "boolean"}

    def enum(self, field: fields.Enum[Any], path: str) -> _Json:
        """The members by name or by value: two different wire forms."""
        if field.by_value and issubclass(field.enum, enum.Flag):
            raise InvalidSchema(path, "values of this Enum combine to others that it does not list. Use an Integer.")
        written = [field._serialize(member, None, None) for member in field.enum]
        if not all(is_json(each) and not isinstance(each, (list, dict)) for each in written):
            raise InvalidSchema(path, "values of this Enum are not JSON. Use it by name, or by_value with a field.")
        kinds = {_json_type(each) for each in written if each is not None}
        return {**({"type": kinds.pop()} if len(kinds) == 1 and None not in written else {}), "enum": written}

    def interface(self, field: Any, path: str) -> _Json:
        """An IP address with its network."""
        four, six = ({"type": "string", **text_form(f"ipv{n}-interface")} for n in (4, 6))
        if isinstance(field, fields.IPv4Interface):
            return four
        return six if isinstance(field, fields.IPv6Interface) else {"anyOf": [four, six]}

    def address(self, field: Any, path: str) -> _Json:
        """An IP address."""
        four, six = ({"type": "string", **text_form(f"ipv{n}")} for n in (4, 6))
        if isinstance(field, fields.IPv4):
            return four
        return six if isinstance(field, fields.IPv6) else {"anyOf": [four, six]}

    def raw(self, field: fields.Raw, path: str) -> _Json:
        """Anything but null, which marshmallow refuses unless allow_none is set."""
        return {} if field.allow_none else {"type": ["array", "boolean", "number", "object", "string"]}

    def code(self, field: fields.Field[Any], path: str) -> _Json:
        """Method and Function: the wire form is whatever the code does."""
        if isinstance(field, fields.Method):
            # As functions: the methods are the schema's, of which only what they use counts.
            parts = [
                Hook(type(field.parent), each.__func__) if inspect.ismethod(each) else each
                for each in (field._serialize_method, field._deserialize_method)
            ]
        else:
            parts = [getattr(field, "serialize_func", None), getattr(field, "deserialize_func", None)]
        result: _Json = {}
        for what, part in zip(("dumping code", "loading code"), parts, strict=True):
            result = add_opaque(result, describe(what, part)) if part is not None else result
        return result

    def constant(self, field: fields.Constant[Any], path: str) -> _Json:
        """Always the same value."""
        if not is_json(field.constant):
            raise InvalidSchema(path, "this Constant is not JSON.")
        if field.allow_none and field.constant is not None:
            raise InvalidSchema(path, "allow_none: null would be read as the constant. Remove it, or use OneOf.")
        return {"const": field.constant}


_FORMS: list[tuple[Any, Callable[[FieldConverter, Any, str], _Json]]] = [
    (fields.Pluck, FieldConverter.pluck),
    (fields.Nested, FieldConverter.nested_field),
    (fields.List, FieldConverter.list_field),
    (fields.Tuple, FieldConverter.tuple_field),
    (fields.Mapping, FieldConverter.mapping),
    (fields.Integer, FieldConverter.integer),
    (fields.Float, FieldConverter.float),
    (fields.Decimal, FieldConverter.decimal),
    (fields.Boolean, FieldConverter.boolean),
    (fields.Enum, FieldConverter.enum),
    (fields.DateTime, lambda self, field, path: date_time(field, path)),
    ((fields.Date, fields.Time), lambda self, field, path: date_or_time(field)),
    (fields.TimeDelta, lambda self, field, path: time_delta(field)),
    (fields.UUID, lambda self, field, path: {"type": "string", **text_form("uuid")}),
    (fields.IPInterface, FieldConverter.interface),
    (fields.IP, FieldConverter.address),
    (fields.String, lambda self, field, path: {"type": "string"}),
    (fields.Raw, FieldConverter.raw),
    ((fields.Method, fields.Function), FieldConverter.code),
    (fields.Constant, FieldConverter.constant),
]


def allow_null(schema: _Json) -> _Json:
    """*schema* or null; bounds stay on the part that is not null."""
    if not schema:
        return schema
    if set(schema) & {"$ref", "anyOf", "allOf", "const", "not"} or not isinstance(schema.get("type", []), str):
        if set(schema) == {"enum"}:
            return {"enum": [*(each for each in schema["enum"] if each is not None), None]}
        return {"anyOf": [schema, {"type": "null"}]}
    enum = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **enum}


def with_text(schema: _Json, text: _Json) -> _Json:
    """*schema* with titles and descriptions; draft-07 ignores what stands beside a $ref, so that is wrapped."""
    if text and "$ref" in schema:
        return {"allOf": [schema], **text}
    return {**schema, **text}


def is_custom(field: fields.Field[Any]) -> bool:
    """Whether a field class of somebody else's does its own reading or writing."""
    known = next(kind for kind in type(field).__mro__ if kind.__module__ == fields.__name__)
    return any(getattr(type(field), name, None) is not getattr(known, name, None) for name in _FIELD_METHODS)


def is_json(value: Any) -> bool:
    """Whether *value* is JSON as it stands."""
    if isinstance(value, (list, tuple)):
        return all(is_json(each) for each in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json(each) for key, each in value.items())
    return value is None or type(value) in (str, int, bool) or (type(value) is float and abs(value) < float("inf"))


def _json_type(value: Any) -> str:
    names: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return names[type(value)]
