"""Fingerprints of a JSON Schema: one of its wire form, one of its words.

Two schemas with one wire fingerprint write the same and read the same, whatever their classes are called and whatever
is said about them. Another text fingerprint alone is no new version.
"""

import hashlib
import json
from typing import Any

#: Keywords that are words for people and do not change what is written or read.
TEXT_KEYWORDS = frozenset(
    {"title", "description", "examples", "default", "deprecated", "$comment", "$schema", "$id", "readOnly", "writeOnly"}
)

#: Keywords whose members are names chosen by the user, so that none of them is a keyword.
NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})

#: Keywords whose value is data, in which nothing is a keyword.
DATA = frozenset({"enum", "const", "x-eventbus-opaque"})


def wire_fingerprint(schema: Any) -> str:
    """A digest of everything that decides what is written and what loads."""
    return _digest(without_text(_with_numbered_definitions(schema)))


def text_fingerprint(schema: Any) -> str:
    """A digest of the words, with the places where they stand."""
    return _digest(_words(_with_numbered_definitions(schema)))


def without_text(schema: Any) -> Any:
    """*schema* without its words; lists whose order means nothing are sorted."""
    if isinstance(schema, list):
        return [without_text(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _member_without_text(key, value) for key, value in schema.items() if key not in TEXT_KEYWORDS}


def _member_without_text(key: str, value: Any) -> Any:
    if key in NAMED and isinstance(value, dict):
        return {name: without_text(each) for name, each in value.items()}
    if key in DATA or key in {"required", "type", "x-eventbus-defaults"}:
        return sorted(value, key=_json) if isinstance(value, list) and key != "const" else value
    return without_text(value)


def _words(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_words(each) for each in schema]
    if not isinstance(schema, dict):
        return None
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in TEXT_KEYWORDS - {"$schema", "$id"}:
            found[key] = value
        elif key in NAMED and isinstance(value, dict):
            found[key] = {name: _words(each) for name, each in value.items()}
        elif key not in DATA and isinstance(value, (dict, list)):
            found[key] = _words(value)
    return found


def _with_numbered_definitions(schema: Any) -> Any:
    """*schema* whose ``$defs`` are named in the order in which they are met: class names are not on the wire."""
    if not isinstance(schema, dict) or not isinstance(schema.get("$defs"), dict):
        return schema
    names: dict[str, str] = {}
    numbered: dict[str, Any] = {}

    def rename(node: Any) -> Any:
        if isinstance(node, list):
            return [rename(each) for each in node]
        if not isinstance(node, dict):
            return node
        return {key: value if key in DATA else _reference(key, value) for key, value in sorted(node.items())}

    def _reference(key: str, value: Any) -> Any:
        name = value.removeprefix("#/$defs/") if key == "$ref" and isinstance(value, str) else None
        if name is None or name not in schema["$defs"]:
            return rename(value)
        if name not in names:
            names[name] = f"{len(names)}"
            numbered[names[name]] = rename(schema["$defs"][name])
        return f"#/$defs/{names[name]}"

    root = rename({key: value for key, value in schema.items() if key != "$defs"})
    return {**root, **({"$defs": numbered} if numbered else {})}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def _digest(value: Any) -> str:
    return hashlib.sha256(_json(value).encode("utf-8", "surrogatepass")).hexdigest()
