"""TypeScript interfaces of events, as source."""

import json
import re
from collections.abc import Mapping
from typing import Any

from eventbus.schemas.type_trees import (
    AnyOf,
    ListOf,
    MapOf,
    Named,
    Record,
    Scalar,
    TupleOf,
    TypeTree,
    Values,
    records,
    type_name,
)

_HEADER = "// Event data; generated, edits are lost.\n"
_SCALARS = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
    "any": "unknown",
}


def typescript(type: str, version: int, json_schema: Mapping[str, Any]) -> str:
    """A module with the interface of one event type and those it refers to; the same text for the same schema."""
    return _HEADER + "".join(f"\n{_record(each)}" for each in records(json_schema, type_name(type, version)))


def _record(record: Record) -> str:
    lines = []
    for member in record.members:
        lines += [f"  /** {_comment(member.description)} */\n"] if member.description else []
        key = member.key if re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_$]*", member.key) else json.dumps(member.key)
        lines.append(f"  {key}{'' if member.required else '?'}: {_expression(member.type)};\n")
    told = f"/** {_comment(record.description)} */\n" if record.description else ""
    return f"{told}export interface {record.name} {{\n{''.join(lines)}}}\n"


def _expression(tree: TypeTree) -> str:
    match tree:
        case Scalar(name):
            return _SCALARS[name]
        case Values(values):
            return " | ".join(dict.fromkeys(map(_literal, values))) or "never"
        case ListOf(item):
            inner = _expression(item)
            return f"({inner})[]" if "|" in inner else f"{inner}[]"
        case TupleOf(items):
            return f"[{', '.join(map(_expression, items))}]"
        case MapOf(value):
            return f"Record<string, {_expression(value)}>"
        case Named(name):
            return name
        case AnyOf(parts):
            return " | ".join(dict.fromkeys(map(_expression, parts)))


def _literal(value: Any) -> str:
    return "unknown" if isinstance(value, (list, dict)) else json.dumps(value)


def _comment(text: str) -> str:
    return " ".join(text.split()).replace("*/", "*\\/")
