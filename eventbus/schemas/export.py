"""What the bus looks like from outside: JSON Schema files, and AsyncAPI 3 of all types, versions and groups.

channel per type ─ message per version ─ payload in components.schemas, with an example
operation per publisher (send) and per consumer group (receive)
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eventbus.schemas.examples import example

ASYNCAPI_VERSION = "3.0.0"

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ExportedSchema:
    """One version of an event type."""

    type: str
    version: int
    json_schema: Mapping[str, Any]
    description: str = ""
    deprecated: bool = False


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A consumer group and the types that it gets."""

    group: str
    types: Sequence[str]
    #: The version that its handler reads; None for all.
    version: int | None = None
    description: str = ""


def json_schema_file(schema: ExportedSchema) -> str:
    """The text of ``<type>.v<version>.json``."""
    words = {"title": f"{schema.type} version {schema.version}"}
    words |= {"description": schema.description} if schema.description else {}
    told = {key: value for key, value in schema.json_schema.items() if key not in words}
    return json.dumps({**words, **told}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def asyncapi(
    schemas: Iterable[ExportedSchema], receivers: Iterable[Receiver] = (), *, title: str = "Events", version: str = "1"
) -> Json:
    """An AsyncAPI 3 document of the bus; the same for the same input, whatever its order."""
    ordered = sorted(schemas, key=lambda each: (each.type, each.version))
    channels: Json = {}
    components: Json = {"messages": {}, "schemas": {}}
    for each in ordered:
        _add_message(each, channels, components)
    operations = {f"publish.{type}": _operation("send", type, channels) for type in channels}
    for receiver in sorted(receivers, key=lambda each: each.group):
        _add_receiver(receiver, channels, operations)
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {"title": title, "version": version},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": components,
    }


def _add_message(schema: ExportedSchema, channels: Json, components: Json) -> None:
    name = f"{schema.type}.v{schema.version}"
    components["schemas"] |= _lifted(schema.json_schema, name)
    found = example(schema.json_schema)
    message: Json = {
        "name": name,
        "title": f"{schema.type} version {schema.version}",
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }
    description = schema.description or schema.json_schema.get("description", "")
    message |= {"description": description} if description else {}
    message |= {"examples": [{"payload": found[0]}]} if found and isinstance(found[0], dict) else {}
    message |= {"x-deprecated": True} if schema.deprecated else {}
    components["messages"][name] = message
    channel = channels.setdefault(schema.type, {"address": schema.type, "messages": {}})
    channel["messages"][f"v{schema.version}"] = {"$ref": f"#/components/messages/{name}"}


def _add_receiver(receiver: Receiver, channels: Json, operations: Json) -> None:
    for type in sorted(set(receiver.types) & set(channels)):
        operation = _operation("receive", type, channels, version=receiver.version)
        operation["title"] = f"{receiver.group} receives {type}"
        if receiver.description:
            operation["description"] = receiver.description
        operations[f"{receiver.group}.{type}"] = {**operation, "x-consumer-group": receiver.group}


def _operation(action: str, type: str, channels: Json, *, version: int | None = None) -> Json:
    names = [name for name in channels[type]["messages"] if version is None or name == f"v{version}"]
    messages = [{"$ref": f"#/channels/{type}/messages/{name}"} for name in names or channels[type]["messages"]]
    return {"action": action, "channel": {"$ref": f"#/channels/{type}"}, "messages": messages}


def _lifted(json_schema: Mapping[str, Any], name: str) -> Json:
    """The schema and its definitions as components, their references with them."""
    definitions = json_schema.get("$defs", {})
    root = {key: value for key, value in json_schema.items() if key not in ("$defs", "$schema", "$id")}
    found = {name: _moved(root, name, definitions)}
    return found | {f"{name}.{each}": _moved(definition, name, definitions) for each, definition in definitions.items()}


def _moved(node: Any, name: str, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_moved(each, name, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: value if key in ("enum", "const", "default", "examples") else _moved_member(key, value, name, definitions)
        for key, value in node.items()
    }


def _moved_member(key: str, value: Any, name: str, definitions: Mapping[str, Any]) -> Any:
    if key != "$ref" or not isinstance(value, str) or not value.startswith("#"):
        return _moved(value, name, definitions)
    lifted = value.removeprefix("#/$defs/")
    if lifted in definitions:
        return f"#/components/schemas/{name}.{lifted}"
    return f"#/components/schemas/{name}{value.removeprefix('#')}"
