"""The types that a JSON Schema describes, without a language yet: records, lists, choices.

    JSON Schema ─▶ records ─▶ python_types  (TypedDict)
                           └▶ typescript    (interface)

Deterministic: the same schema gives the same records in the same order, root last.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from eventbus.schemas.projection import resolve

ScalarName = Literal["string", "integer", "number", "boolean", "null", "any"]


@dataclass(frozen=True)
class Scalar:
    """A plain type."""

    name: ScalarName


@dataclass(frozen=True)
class Values:
    """One of some values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class ListOf:
    """A list of one type."""

    item: "TypeTree"


@dataclass(frozen=True)
class TupleOf:
    """A list with a type for each position."""

    items: tuple["TypeTree", ...]


@dataclass(frozen=True)
class MapOf:
    """An object whose keys are data."""

    value: "TypeTree"


@dataclass(frozen=True)
class Named:
    """A record by its name."""

    name: str


@dataclass(frozen=True)
class AnyOf:
    """A choice of types."""

    parts: tuple["TypeTree", ...]


TypeTree = Scalar | Values | ListOf | TupleOf | MapOf | Named | AnyOf


@dataclass(frozen=True, kw_only=True)
class Member:
    """One key of a record."""

    key: str
    type: TypeTree
    required: bool
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """An object with named keys."""

    name: str
    members: tuple[Member, ...]
    description: str = ""


@dataclass(kw_only=True)
class _Collection:
    document: Mapping[str, Any]
    root_name: str
    records: dict[str, Record] = field(default_factory=dict)
    #: Names given to referenced schemas; known before the record is, for recursion.
    names: dict[str, TypeTree] = field(default_factory=dict)


def type_name(type: str, version: int) -> str:
    """``order.created`` version 2 is ``OrderCreatedV2``."""
    return f"{_camel(type)}V{version}"


def records(json_schema: Mapping[str, Any], name: str) -> list[Record]:
    """The records of an event, those it refers to first and the event itself, called *name*, last."""
    collection = _Collection(document=json_schema, root_name=name)
    _tree(json_schema, name, collection)
    if name not in collection.records:
        collection.records[name] = Record(name=name, members=(), description=str(json_schema.get("description", "")))
    root = collection.records.pop(name)
    return [*collection.records.values(), root]


def _tree(node: Any, name: str, collection: _Collection) -> TypeTree:
    if not isinstance(node, dict):
        return Scalar("any")
    if "$ref" in node:
        return _referenced(node["$ref"], collection)
    if "const" in node or "enum" in node:
        return Values(tuple(node["enum"]) if "enum" in node else (node["const"],))
    for keyword in ("anyOf", "oneOf"):
        if isinstance(node.get(keyword), list):
            return _choice([_tree(each, f"{name}{number}", collection) for number, each in enumerate(node[keyword], 1)])
    if "type" not in node and isinstance(node.get("allOf"), list) and node["allOf"]:
        return _tree(node["allOf"][0], name, collection)
    kinds = node.get("type", "object" if "properties" in node else "any")
    return _choice([_of_type(kind, node, name, collection) for kind in ([kinds] if isinstance(kinds, str) else kinds)])


def _of_type(kind: Any, node: dict[str, Any], name: str, collection: _Collection) -> TypeTree:
    if kind == "array":
        items = node.get("items", node.get("prefixItems", True))
        if isinstance(items, list):
            return TupleOf(tuple(_tree(each, f"{name}{number}", collection) for number, each in enumerate(items, 1)))
        return ListOf(_tree(items, f"{name}Item", collection))
    if kind == "object":
        if "properties" not in node:
            return MapOf(_tree(node.get("additionalProperties", True), f"{name}Value", collection))
        _add_record(node, name, collection)
        return Named(name)
    return Scalar(kind if kind in ("string", "integer", "number", "boolean", "null") else "any")


def _referenced(reference: Any, collection: _Collection) -> TypeTree:
    if reference == "#":
        return Named(collection.root_name)
    if reference not in collection.names:
        name = f"{collection.root_name}{_camel(str(reference).rsplit('/', 1)[-1])}"
        collection.names[reference] = Named(name)
        collection.names[reference] = _tree(resolve(collection.document, reference), name, collection)
    return collection.names[reference]


def _add_record(node: dict[str, Any], name: str, collection: _Collection) -> None:
    required = node.get("required", [])
    members = tuple(
        Member(
            key=key,
            type=_tree(each, f"{name}{_camel(key)}", collection),
            required=key in required,
            description=str(each.get("description", "")) if isinstance(each, dict) else "",
        )
        for key, each in node["properties"].items()
    )
    collection.records[name] = Record(name=name, members=members, description=str(node.get("description", "")))


def _choice(parts: list[TypeTree]) -> TypeTree:
    flat: list[TypeTree] = []
    for part in parts:
        flat += part.parts if isinstance(part, AnyOf) else [part]
    # By how they are written, for values may be lists.
    unique = list({repr(part): part for part in flat}.values())
    if Scalar("any") in unique or not unique:
        return Scalar("any")
    return unique[0] if len(unique) == 1 else AnyOf(tuple(unique))


def _camel(text: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", text))
