"""Loading, tried: whether data loads in a schema and why not, as reading it says, in a fraction of the time.

    data ─▶ does the whole satisfy its JSON Schema? ─▶ it loads
              └─ no ─▶ does each field's value? ─▶ those that do not are really loaded, one by one
                                                      └─ anything odd ─▶ the whole is really loaded

What a JSON Schema accepts loads, and what it refuses may load all the same. Fields are independent of each other, but for code of
the schema's own: with such code, all is really loaded.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from marshmallow import Schema, ValidationError, fields, missing

from eventbus.schemas.canonical import CanonicalForm
from eventbus.schemas.compiled_scalars import Unusual
from eventbus.schemas.documents import Document
from eventbus.schemas.failures import errors_by_path
from eventbus.schemas.projection import exact_projection
from eventbus.schemas.reading import prune, prune_value, read
from eventbus.schemas.refusal import DataRefused

Errors = dict[str, list[str]]
_OPAQUE = '"x-eventbus-opaque"'
#: How many answers are kept for each field: where many events fail, they mostly fail alike.
_KEPT = 1000
_KEEPABLE = frozenset({str, int, bool, type(None), type(missing)})
_METHODS = ("load", "_do_load", "_deserialize", "handle_error", "set_class", "_invoke_field_validators")


class Trial:
    """Tries whether data loads in one schema."""

    def __init__(self, schema: Schema, json_schema: dict[str, Any]) -> None:
        """Make ready to try *schema*, which was converted to *json_schema*."""
        self._schema = schema
        document = Document(exact_projection(json_schema))
        # Code that JSON Schema cannot express decides too: then everything is really loaded.
        self._accepts: Callable[[Any], bool] = lambda _data: False
        self._object: _Object | None = None
        if _OPAQUE not in json.dumps(json_schema):
            self._accepts = document.validator_of(document.root).is_valid
            self._object = _Object(schema, document, document.root)

    def errors(self, data: Any) -> Errors:
        """Why *data* would not load, by wire path; empty if it would. Not to be changed."""
        if self._accepts(data):
            return {}
        found = self._object.errors(data) if self._object is not None else None
        if found is not None:
            return found
        try:
            read(self._schema, data)
        except DataRefused as error:
            return error.errors
        return {}


class TriedForm:
    """The canonical form of one schema, whose refusals are found by a trial."""

    def __init__(self, form: CanonicalForm, json_schema: dict[str, Any]) -> None:
        """Make ready to bring data into *form*, that of a schema which was converted to *json_schema*."""
        self._form = form
        self._trial = Trial(form.schema, json_schema)

    def __call__(self, data: Any) -> Any:
        """The canonical form of *data*, which is not changed.

        Raises:
            DataRefused: It does not fit the schema; every field's messages by wire path.
        """
        try:
            return self._form.of_plain(data)
        except Unusual:
            if _is_json(data):
                self._refuse(data)
        return self._form.by_marshmallow(data)

    def _refuse(self, data: Any) -> None:
        errors = self._trial.errors(data)
        # What goes wrong as a whole is told without the fields that nobody knows.
        if errors and "" not in errors:
            unknown = {path: ["Unknown field."] for path in prune(self._form.schema, data).exact}
            raise DataRefused({**errors, **unknown})


def _is_json(data: Any) -> bool:
    """Whether *data* is what a validator and marshmallow see the same in: a step may leave anything in what it returns."""
    kind = type(data)
    if kind is dict:
        return all(type(key) is str and _is_json(value) for key, value in data.items())
    if kind is list:
        return all(map(_is_json, data))
    if kind is int:
        return bool(-(1 << 63) <= data < 1 << 64)
    return data is None or kind is str or kind is bool or (kind is float and math.isfinite(data))


class _Object:
    """An object of the data: its schema, and where the document describes it."""

    def __init__(self, schema: Schema, document: Document, node: Any) -> None:
        self._schema = schema
        self._document = document
        self._node = node

    def errors(self, data: Any) -> Errors | None:
        """Why *data*, which the document refuses here, would not load; None if only the whole can tell."""
        if self._parts is None or type(data) is not dict:
            return None
        errors: Errors = {}
        is_explained = False
        for part in self._parts:
            value = data.get(part.key, missing)
            if (not part.reader.required) if value is missing else part.accepts(value):
                continue
            is_explained = True
            found = part.errors(value, data)
            if found is None:
                return None
            errors |= found
        return errors if is_explained else None

    @cached_property
    def _parts(self) -> "list[_Part] | None":
        """The fields with their own JSON Schemas, found when first asked for; None if they do not decide alone."""
        schema, document = self._schema, self._document
        node = _resolved(document, self._node)
        keys = {each.data_key if each.data_key is not None else name: each for name, each in schema.load_fields.items()}
        is_plain = (
            not any(schema._hooks.values())
            and not (schema.partial or schema.many)
            and all(getattr(type(schema), name, None) is getattr(Schema, name, None) for name in _METHODS)
            and not any("." in (each.attribute or "") for each in keys.values())
        )
        if not is_plain or keys.keys() - node.get("properties", {}).keys():
            return None
        return [_part(schema, key, each, document, node["properties"][key]) for key, each in keys.items()]


@dataclass(kw_only=True)
class _Part:
    """One field of an object."""

    schema: Schema
    key: str
    reader: fields.Field[Any]
    accepts: Callable[[Any], bool]
    #: What is inside, where that decides alone: an object, or a list of such.
    inside: _Object | None = None
    accepts_item: Callable[[Any], bool] | None = None
    #: What was found before: the errors by type and value.
    known: dict[tuple[type, Any], Errors] = field(default_factory=dict)

    def errors(self, value: Any, data: dict[str, Any]) -> Errors | None:
        """Why *value*, which its JSON Schema refuses, would not load; None if only the whole can tell."""
        if type(value) in _KEEPABLE:
            return self._kept_errors(value, data)
        if self.inside is not None:
            found = dict(self._errors_inside(self.inside, value))
            if None not in found.values():
                return {path: messages for path, messages in found.items() if messages}
        return self._own_errors(value, data)

    def _errors_inside(self, inside: _Object, value: Any) -> Iterator[tuple[str, list[str] | None]]:
        """What is wrong inside of *value*, by path; None where the whole field has to tell."""
        places = [(self.key, value)]
        if self.accepts_item is not None:
            places = [(f"{self.key}[{index}]", each) for index, each in enumerate(value)] if type(value) is list else []
            if not places:
                yield self.key, None
        for place, each in places:
            if self.accepts_item is not None and self.accepts_item(each):
                continue
            found = inside.errors(each)
            if found is None:
                yield place, None
                return
            for path, messages in found.items():
                yield (f"{place}.{path}" if path else place), messages

    def _kept_errors(self, value: Any, data: dict[str, Any]) -> Errors | None:
        key = type(value), value
        if key in self.known:
            return self.known[key]
        found = self._own_errors(value, data)
        if found is not None and len(self.known) < _KEPT:
            self.known[key] = found
        return found

    def _own_errors(self, value: Any, data: dict[str, Any]) -> Errors | None:
        try:
            self.reader.deserialize(prune_value(self.reader, value), self.key, data)
        except ValidationError as error:
            return errors_by_path(self.schema, {self.key: error.messages})
        except Exception:  # noqa: BLE001 - what it means for the whole is told by loading the whole
            return None
        return {}


def _part(schema: Schema, key: str, each: fields.Field[Any], document: Document, node: Any) -> _Part:
    part = _Part(schema=schema, key=key, reader=each, accepts=document.validator_of(node).is_valid)
    item = each.inner if type(each) is fields.List and not _has_code(each) else each
    if type(item) is fields.Nested and not (_has_code(item) or item.many or item.schema.many):
        place = node if item is each else _resolved(document, node).get("items")
        if isinstance(place, dict):
            part.inside = _Object(item.schema, document, place)
            part.accepts_item = None if item is each else document.validator_of(place).is_valid
    return part


def _has_code(each: fields.Field[Any]) -> bool:
    return bool(each.validators or each.pre_load or each.post_load)


def _resolved(document: Document, node: Any) -> dict[str, Any]:
    """*node* behind its references; empty if it is none."""
    while isinstance(node, dict) and "$ref" in node:
        node = document.resolve(node["$ref"])
    return node if isinstance(node, dict) else {}
