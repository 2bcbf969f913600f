"""The canonical form by a stored JSON Schema, for a publisher that has no class for the type.

The writer's projection decides, formats included. Fields that a class would fill in by a fixed default are filled in,
and 1.0 becomes 1 where an integer is written, so that both kinds of publisher store the same.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from eventbus.schemas.documents import Document
from eventbus.schemas.json_values import to_json
from eventbus.schemas.projection import writer_projection
from eventbus.schemas.refusal import DataRefused


class StoredForm:
    """Brings data into the canonical form that a JSON Schema describes."""

    def __init__(self, json_schema: Mapping[str, Any]) -> None:
        self._document = Document(writer_projection(dict(json_schema)))

    def __call__(self, data: Any) -> Any:
        """The canonical form of *data*, which is not changed.

        Raises:
            DataRefused: It does not fit; every field's messages by wire path.
        """
        normal = self._normal(self._document.root, to_json(data))
        errors: dict[str, list[str]] = {}
        for path, message in self._document.errors(normal):
            errors.setdefault(wire_path(path), []).append(message)
        if errors:
            raise DataRefused(errors)
        return normal

    def _normal(self, node: Any, value: Any) -> Any:
        """*value* with defaults, and whole numbers where integers are written."""
        for _ in range(20):
            if not isinstance(node, dict) or "$ref" not in node:
                break
            node = self._document.resolve(node["$ref"])
        if not isinstance(node, dict):
            return value
        if isinstance(value, float) and value.is_integer() and node.get("type") in ("integer", ["integer", "null"]):
            return int(value)
        for branch in (*node.get("anyOf", ()), *node.get("allOf", ())):
            value = self._normal(branch, value)
        if isinstance(value, list):
            return [self._normal(_item(node, index), each) for index, each in enumerate(value)]
        return self._object(node, value) if isinstance(value, dict) else value

    def _object(self, node: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
        properties = node.get("properties", {})
        missing = [key for key in node.get("x-eventbus-defaults", ()) if key not in value]
        filled = {key: deepcopy(properties[key]["default"]) for key in missing if "default" in properties.get(key, {})}
        other = node.get("additionalProperties")
        return {**{key: self._normal(properties.get(key, other), each) for key, each in value.items()}, **filled}


def _item(node: dict[str, Any], index: int) -> Any:
    items = node.get("items")
    return items[index] if isinstance(items, list) and index < len(items) else items


def wire_path(path: list[str | int]) -> str:
    """Where *path* leads, as ``lines[2].sku``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
