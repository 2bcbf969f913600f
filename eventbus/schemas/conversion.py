"""From a marshmallow schema to the JSON Schema of its wire form.

The wire form is the canonical one: what ``dump(load(data))`` writes. The result is draft-07, so that AsyncAPI and older
tools can carry it; nested schemas are ``$ref`` into ``$defs`` (any draft reads a JSON pointer), which is what makes
recursion finite. Four keywords of our own say what JSON Schema cannot:

    x-eventbus-defaults    fields that are always written and may be missing when read (load_default, dump_default)
    x-eventbus-load-only   a field that is read and never written
    x-eventbus-lenient     an integer whose reader takes more than integers
    x-eventbus-opaque      code that decides what loads, with its identity

From the one document both projections follow (projection.py): the writer's, closed, and the reader's, open.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema, ValidationError, fields, missing
from marshmallow.exceptions import RegistryError

from eventbus.errors import InvalidSchema
from eventbus.schemas.code import Hook
from eventbus.schemas.failures import UNFIT
from eventbus.schemas.field_conversion import FieldConverter, is_json
from eventbus.schemas.json_values import to_json
from eventbus.schemas.opaque import describe
from eventbus.schemas.refusal import DataRefused

DRAFT = "http://json-schema.org/draft-07/schema#"
DEFAULTS = "x-eventbus-defaults"
LOAD_ONLY = "x-eventbus-load-only"

#: Methods of Schema whose overriding changes what load and dump do.
_SCHEMA_METHODS = ("load", "dump", "_deserialize", "_serialize", "_do_load", "get_attribute", "handle_error")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """The wire form of a schema, and what about the schema deserves a second look."""

    json_schema: dict[str, Any]
    #: One sentence each, starting with the wire path.
    warnings: tuple[str, ...] = ()


@dataclass(kw_only=True)
class _Walk:
    """What is known while one schema is being converted."""

    definitions: dict[str, dict[str, Any]] = field(default_factory=dict)
    names: dict[Any, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def to_json_schema(schema: Schema | type[Schema]) -> dict[str, Any]:
    """The JSON Schema of what *schema* writes; see :func:`convert`."""
    return convert(schema).json_schema


def convert(schema: Schema | type[Schema]) -> Conversion:
    """Describe the wire form of *schema*.

    Raises:
        InvalidSchema: It cannot describe an event: a dump_only field, a number that is not JSON, a default that the
            field itself refuses, a name of a schema that is none, words that are no text.
    """
    instance = instance_of(schema)
    walk = _Walk()
    document = {"$schema": DRAFT, **_object_schema(instance, "", walk)}
    if walk.definitions:
        document["$defs"] = {name: walk.definitions[name] for name in sorted(walk.definitions)}
    try:
        document = to_json(document)
    except DataRefused as error:
        path, said = next(iter(error.errors.items()))
        raise InvalidSchema(path, " ".join(said)) from error
    return Conversion(json_schema=document, warnings=tuple(dict.fromkeys(walk.warnings)))


def instance_of(schema: Schema | type[Schema]) -> Schema:
    """*schema* itself, or an instance of the class.

    Raises:
        InvalidSchema: marshmallow cannot make one of it.
    """
    try:
        return schema if isinstance(schema, Schema) else schema()
    except ValueError as error:
        raise InvalidSchema("", str(error)) from error
    except UNFIT as error:
        raise InvalidSchema("", f"{_said(error)} The class must be such that Schema() makes one.") from error


def wire_name(name: str, each: fields.Field[Any]) -> str:
    """The key of a field on the wire."""
    return each.data_key if each.data_key is not None else name


def _object_schema(schema: Schema, path: str, walk: _Walk) -> dict[str, Any]:
    if schema.partial:
        raise InvalidSchema(
            path, "partial: what may be left out is said by its fields. Remove partial and required=True."
        )
    properties: dict[str, Any] = {}
    required: list[str] = []
    defaults: list[str] = []
    converter = FieldConverter(nested=lambda nested, where: _reference(nested, where, walk), warn=walk.warnings.append)
    for name, each in schema.fields.items():
        key = wire_name(name, each)
        where = f"{path}.{key}" if path else key
        _refuse_what_is_no_event(each, key, where, properties)
        try:
            properties[key] = _property(each, where, converter)
        except InvalidSchema:  # of a field in it
            raise
        # Where marshmallow looks only now, as for the schema that a field names.
        except (RegistryError, *UNFIT) as error:
            raise InvalidSchema(where, _said(error)) from error
        if is_always_written(each):
            required.append(key)
            if not each.required:
                defaults.append(key)
    return {
        "type": "object",
        **_text(schema),
        "properties": properties,
        **({"required": sorted(required)} if required else {}),
        "additionalProperties": False,
        **({DEFAULTS: sorted(defaults)} if defaults else {}),
        **_hooks(schema),
    }


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).rstrip('.')}."


def is_always_written(each: fields.Field[Any]) -> bool:
    """Whether dump(load(data)) always has this field."""
    if each.load_only:
        return False
    return each.required or each.load_default is not missing or each.dump_default is not missing


def _refuse_what_is_no_event(each: fields.Field[Any], key: str, path: str, taken: Mapping[str, Any]) -> None:
    if each.dump_only:
        raise InvalidSchema(
            path, "dump_only: the event could not be read by the schema that wrote it. Remove dump_only."
        )
    if each.load_only and each.required:
        raise InvalidSchema(path, "load_only and required: it is never written, so no event could be read again.")
    if key in taken:
        raise InvalidSchema(path, "two fields have this name on the wire. Give one another data_key.")


def _property(each: fields.Field[Any], path: str, converter: FieldConverter) -> dict[str, Any]:
    result = converter.convert(each, path)
    if each.load_only:
        result[LOAD_ONLY] = True
        converter.warn(f"{path}: load_only: the value is accepted at publish and never written.")
    for source in ("load_default", "dump_default"):
        default = getattr(each, source)
        if default is not missing:
            written = _default_on_the_wire(each, default, source, path)
            is_told = isinstance(each, fields.Constant) or callable(default) or not is_json(written)
            if source == "load_default" and not is_told:
                result["default"] = written
    return result


def _default_on_the_wire(each: fields.Field[Any], default: Any, source: str, path: str) -> Any:
    """What a default looks like when written; marshmallow never validates defaults, so it is read back here."""
    value = default() if callable(default) else default
    try:
        written = each._serialize(value, None, None)
        each.deserialize(written)
    except (ValidationError, ValueError, TypeError, AttributeError, KeyError, ArithmeticError) as error:
        raise InvalidSchema(path, f"{source} {value!r} is refused by the field itself: {error}") from error
    return written


def _reference(schema: Schema, path: str, walk: _Walk) -> dict[str, Any]:
    key = _shape_of(schema)
    if key not in walk.names:
        walk.names[key] = name = _free_name(type(schema).__name__, walk)
        walk.definitions[name] = {}
        walk.definitions[name] = _object_schema(schema, path, walk)
    return {"$ref": f"#/$defs/{walk.names[key]}"}


def _shape_of(schema: Schema) -> Any:
    """Equal for two instances of one class that show the same fields, also further down."""

    def chosen(each: fields.Field[Any], option: str) -> Any:
        names = getattr(each, option, None)
        return None if names is None else frozenset(names)

    return type(schema), frozenset(
        (name, chosen(each, "only"), chosen(each, "exclude")) for name, each in schema.fields.items()
    )


def _free_name(wanted: str, walk: _Walk) -> str:
    number, name = 1, wanted
    while name in walk.definitions:
        number += 1
        name = f"{wanted}_{number}"
    return name


def _text(schema: Schema) -> dict[str, str]:
    """The first paragraph of the class's own docstring."""
    docstring = type(schema).__dict__.get("__doc__") or ""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    return {"description": paragraph} if paragraph else {}


def _hooks(schema: Schema) -> dict[str, Any]:
    """Code that runs around load and dump of the whole object."""
    found = [
        {**describe(f"hook {tag}", _function_of(type(schema), name)), **_seen_fields(schema, options)}
        for tag, hooks in schema._hooks.items()
        for name, _many, options in hooks
    ]
    overridden = [name for name in _SCHEMA_METHODS if _is_overridden(type(schema), name)]
    found += [describe("hook", _function_of(type(schema), name)) for name in overridden]
    if type(schema).OPTIONS_CLASS is not Schema.OPTIONS_CLASS:
        found.append(describe("options", type(schema).OPTIONS_CLASS))
    return {"x-eventbus-opaque": sorted(found, key=lambda each: (each["what"], each["name"]))} if found else {}


def _seen_fields(schema: Schema, options: Mapping[str, Any]) -> dict[str, str]:
    """The keys on the wire of the fields that a hook is declared for; nothing for one that sees them all."""
    names = [name for name in options.get("field_names", ()) if name in schema.fields]
    return {"fields": " ".join(sorted(wire_name(name, schema.fields[name]) for name in names))} if names else {}


def _function_of(schema_class: type[Schema], name: str) -> Any:
    """The function behind an attribute of a schema, with the schema; the attribute itself if it is none."""
    found = inspect.getattr_static(schema_class, name)
    found = getattr(found, "__func__", found)
    return Hook(schema_class, found) if inspect.isfunction(found) else found


def _is_overridden(schema_class: type[Schema], name: str) -> bool:
    own: Callable[..., Any] = getattr(schema_class, name)
    return own is not getattr(Schema, name)
