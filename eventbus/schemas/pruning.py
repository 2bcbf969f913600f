"""The tolerant reader by a JSON Schema, for a version that has no class here: what it does not name is taken out."""

from collections.abc import Mapping
from typing import Any

from eventbus.schemas.projection import resolve


def prune_stored(schema: Mapping[str, Any], data: Any) -> Any:
    """*data* without the keys that *schema*, one of ours, does not name, at any depth; *data* itself is not changed."""
    return _value(schema, schema, data)


def _value(root: Any, node: Any, value: Any) -> Any:
    for each in _said_of(root, node):
        value = _members(root, each, value)
    return value


def _said_of(root: Any, node: Any) -> list[dict[str, Any]]:
    """*node* and all that it refers to at the same place: the value is what all of them leave."""
    if not isinstance(node, dict):
        return []
    found = [node]
    for other in (resolve(root, node.get("$ref")), *node.get("allOf", ()), *node.get("anyOf", ())):
        found += _said_of(root, other)
    return found


def _members(root: Any, node: dict[str, Any], value: Any) -> Any:
    if isinstance(value, list) and "items" in node:
        items = node["items"]
        return [
            _value(root, items[index] if isinstance(items, list) and index < len(items) else items, each)
            for index, each in enumerate(value)
        ]
    if not isinstance(value, dict) or not ("properties" in node or "additionalProperties" in node):
        return value
    named, other = node.get("properties", {}), node.get("additionalProperties")
    return {
        key: _value(root, named.get(key, other), each)
        for key, each in value.items()
        if key in named or other is not False
    }
