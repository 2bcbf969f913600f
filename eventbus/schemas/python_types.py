"""TypedDicts of events, as Python source: what ``event.data`` holds."""

import keyword
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

_HEADER = '"""Event data as TypedDicts; generated, edits are lost."""\n'
_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None", "any": "Any"}


def typed_dicts(type: str, version: int, json_schema: Mapping[str, Any]) -> str:
    """A module with the TypedDict of one event type and those it refers to; the same text for the same schema."""
    body = "".join(f"\n\n{_record(each)}" for each in records(json_schema, type_name(type, version)))
    names = [name for name in ("Any", "Literal", "NotRequired", "TypedDict") if re.search(rf"\b{name}\b", body)]
    imports = f"\nfrom typing import {', '.join(names)}\n" if names else ""
    return f"{_HEADER}{imports}{body}"


def _record(record: Record) -> str:
    if all(_is_name(member.key) for member in record.members):
        return _class(record)
    lines = [f'        "{_escaped(m.key)}": {_member_type(m.type, m.required)},\n' for m in record.members]
    return f'{record.name} = TypedDict(\n    "{record.name}",\n    {{\n{"".join(lines)}    }},\n)\n'


def _class(record: Record) -> str:
    lines = [f'    """{_escaped(record.description)}"""\n\n'] if record.description else []
    for member in record.members:
        if member.description:
            lines.append(f"    #: {' '.join(member.description.split())}\n")
        lines.append(f"    {member.key}: {_member_type(member.type, member.required)}\n")
    body = "".join(lines) or "    pass\n"
    return f"class {record.name}(TypedDict):\n{body}"


def _member_type(tree: TypeTree, required: bool) -> str:
    """Names are quoted, since records may refer to each other in a circle."""
    text = _expression(tree)
    text = f'"{text}"' if _refers(tree) else text
    return text if required else f"NotRequired[{text}]"


def _expression(tree: TypeTree) -> str:
    match tree:
        case Scalar(name):
            return _SCALARS[name]
        case Values(values):
            return _values(values)
        case ListOf(item):
            return f"list[{_expression(item)}]"
        case TupleOf(items):
            return f"list[{' | '.join(dict.fromkeys(map(_expression, items))) or 'Any'}]"
        case MapOf(value):
            return f"dict[str, {_expression(value)}]"
        case Named(name):
            return name
        case AnyOf(parts):
            return " | ".join(dict.fromkeys(map(_expression, parts)))


def _values(values: tuple[Any, ...]) -> str:
    """Python has no literals for floats and collections."""
    literal = [each for each in values if isinstance(each, (str, int, bool))]
    parts = [f"Literal[{', '.join(map(_literal, literal))}]"] if literal else []
    parts += ["float"] if any(isinstance(each, float) for each in values) else []
    parts += ["Any"] if any(isinstance(each, (list, dict)) for each in values) else []
    parts += ["None"] if None in values else []
    return " | ".join(parts) or "Any"


def _literal(value: Any) -> str:
    return f"'{_escaped(value)}'" if isinstance(value, str) else repr(value)


def _refers(tree: TypeTree) -> bool:
    match tree:
        case Named():
            return True
        case ListOf(inner) | MapOf(inner):
            return _refers(inner)
        case TupleOf(parts) | AnyOf(parts):
            return any(map(_refers, parts))
    return False


def _is_name(key: str) -> bool:
    return key.isidentifier() and not keyword.iskeyword(key) and not key.startswith("__")


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode().replace('"', '\\"').replace("'", "\\'")
