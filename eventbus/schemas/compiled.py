"""The fast path of the canonical form: a schema compiled to plain functions, one per field.

It accepts only data that is plainly right, and raises :class:`Unusual` for the rest, which marshmallow then judges.
So it has no error messages, and no opinion: a field it does not know makes it refuse the whole schema. Validators are
the schema's own.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from marshmallow import Schema, fields, missing, validate

from eventbus.schemas.compiled_scalars import Convert, Unsupported, Unusual, boolean, decimal, float_, integer, text
from eventbus.schemas.field_conversion import is_custom
from eventbus.schemas.json_values import to_json
from eventbus.schemas.unrolled import Slot, unroll
from eventbus.schemas.validator_conversion import within_digits


def compile_schema(schema: Schema) -> Convert | None:
    """A function from data to its canonical form, raising Unusual; None if the schema needs marshmallow throughout."""
    try:
        return _object(schema)
    except Unsupported:
        return None


def _object(schema: Schema) -> Convert:
    hooked = any(schema._hooks.values()) or schema.partial or schema.many
    if hooked or type(schema).get_attribute is not Schema.get_attribute:
        raise Unsupported
    attributes = [each.attribute or name for name, each in schema.fields.items()]
    if len(set(attributes)) < len(attributes) or any("." in attribute for attribute in attributes):
        raise Unsupported
    return unroll([_slot(name, each) for name, each in schema.fields.items()])


def _slot(name: str, each: fields.Field[Any]) -> Slot:
    if each.dump_only:
        raise Unsupported
    key = each.data_key if each.data_key is not None else name
    return Slot(
        key=key,
        convert=_field(each),
        allow_none=bool(each.allow_none),
        required=each.required,
        default=None if each.load_only else _default(each),
        written=not each.load_only,
    )


def _default(each: fields.Field[Any]) -> Callable[[], Any] | None:
    source = each.load_default if each.load_default is not missing else each.dump_default
    if source is missing:
        return None
    if callable(source):
        return lambda: to_json(each._serialize(source(), None, None))
    written = to_json(each._serialize(source, None, None))
    return (lambda: copy.deepcopy(written)) if isinstance(written, (list, dict)) else (lambda: written)


def _field(each: fields.Field[Any]) -> Convert:
    """The function for the values of one field, null excepted."""
    if is_custom(each) or getattr(each, "pre_load", None) or getattr(each, "post_load", None):
        raise Unsupported
    make = _CONTAINERS.get(type(each))
    if make is not None:
        return _with_lengths(make(each), each)
    if isinstance(each, (fields.Nested, fields.Method, fields.Function, fields.List, fields.Mapping, fields.Tuple)):
        raise Unsupported
    is_unchecked = all(validator is within_digits for validator in each.validators)
    if type(each) is fields.Decimal and each.as_string and each.places is None and is_unchecked:
        return decimal(_by_marshmallow(each))
    scalar = _SCALARS.get(type(each))
    return _checked(scalar(each), each.validators) if scalar else _by_marshmallow(each)


def _by_marshmallow(each: fields.Field[Any]) -> Convert:
    def convert(value: Any) -> Any:
        return to_json(each._serialize(each.deserialize(value), "", None))

    return convert


def _checked(convert: Convert, validators: Sequence[Callable[[Any], Any]]) -> Convert:
    """*convert*, whose result is also the loaded value, followed by validators."""
    if not validators:
        return convert
    if len(validators) == 1:
        only = validators[0]

        def check_one(value: Any) -> Any:
            result = convert(value)
            only(result)
            return result

        return check_one

    def check_all(value: Any) -> Any:
        result = convert(value)
        for validator in validators:
            validator(result)
        return result

    return check_all


def _with_lengths(convert: Convert, each: fields.Field[Any]) -> Convert:
    """Containers are not loaded here, so only validators that count their members can be asked."""
    if any(type(validator) is not validate.Length for validator in each.validators):
        raise Unsupported
    return _checked(convert, each.validators)


def _item(each: fields.Field[Any]) -> Convert:
    convert, allow_none = _field(each), each.allow_none

    def convert_item(value: Any) -> Any:
        if value is None:
            if not allow_none:
                raise Unusual
            return None
        return convert(value)

    return convert_item


def _list(each: fields.List[Any]) -> Convert:
    convert = _item(each.inner)

    def convert_list(value: Any) -> Any:
        if type(value) is not list:
            raise Unusual
        return [convert(item) for item in value]

    return convert_list


def _tuple(each: fields.Tuple) -> Convert:
    converts = [_item(inner) for inner in each.tuple_fields]

    def convert_tuple(value: Any) -> Any:
        if type(value) is not list or len(value) != len(converts):
            raise Unusual
        return [convert(item) for convert, item in zip(converts, value, strict=True)]

    return convert_tuple


def _dict(each: fields.Dict) -> Convert:
    if each.key_field is not None and not _is_plain_text(each.key_field):
        raise Unsupported
    convert = _item(each.value_field) if each.value_field is not None else to_json

    def convert_dict(value: Any) -> Any:
        if type(value) is not dict or not all(type(key) is str for key in value):
            raise Unusual
        return {text(key): convert(item) for key, item in value.items()}

    return convert_dict


def _is_plain_text(each: fields.Field[Any]) -> bool:
    return type(each) is fields.String and not (each.validators or each.pre_load or each.post_load)


def _nested(each: fields.Nested) -> Convert:
    """Compiled when first met, since a recursive schema has no end."""
    compiled: list[Convert] = []

    def convert(value: Any) -> Any:
        if not compiled:
            try:
                compiled.append(_one_or_many(each))
            except Unsupported as error:
                raise Unusual from error
        return compiled[0](value)

    return convert


def _one_or_many(each: fields.Nested) -> Convert:
    convert = _object(_single(each.schema))
    if not (each.many or each.schema.many):
        return convert

    def convert_many(value: Any) -> Any:
        if type(value) is not list:
            raise Unusual
        return [convert(item) for item in value]

    return convert_many


def _single(schema: Schema) -> Schema:
    """*schema* for one object; ``many`` is the business of the field around it."""
    if not schema.many:
        return schema
    single = copy.copy(schema)
    single.many = False
    return single


_SCALARS: dict[type, Callable[[Any], Convert]] = {
    fields.String: lambda each: text,
    fields.Email: lambda each: text,
    fields.Url: lambda each: text,
    fields.Integer: integer,
    fields.Float: float_,
    fields.Boolean: lambda each: boolean,
    fields.Raw: lambda each: to_json,
}
_CONTAINERS: dict[type, Callable[[Any], Convert]] = {
    fields.List: _list,
    fields.Tuple: _tuple,
    fields.Dict: _dict,
    fields.Nested: _nested,
}
