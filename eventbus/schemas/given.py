"""What code that JSON Schema cannot express is given: unchanged code says the same only of the same data.

    annotated(schema) ─▶ beside validators and hooks, what they are given ─▶ differences(writer's, reader's)

A validator of a list or an object, and a hook of a schema, see more than one value. Where one of these was changed they may
refuse what they took, although their own text is what it was.
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from eventbus.schemas.fingerprints import DATA, NAMED, wire_fingerprint
from eventbus.schemas.validator_conversion import OPAQUE

#: Keyword under which it stands, in what is compared and never in what is stored.
GIVEN = "x-eventbus-given"

#: Code that sees data as a whole and may refuse it. Other hooks see one field, or what has passed.
_REFUSES_THE_WHOLE = frozenset({"validator", "hook", "hook validates_schema", "hook pre_load"})

#: Keywords that say which values there are, and nothing of how one is loaded; a form has a name beside its pattern.
_BOUNDS = frozenset(
    f"{prefix}{key}"
    for prefix in ("", "x-eventbus-")
    for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "required", "pattern")
) | {f"{end}{what}" for end in ("min", "max") for what in ("Length", "Items", "Properties")}

_Given = Mapping[str, Any]


def annotated(schema: Any) -> Any:
    """*schema* with what its validators and hooks are given; *schema* itself is not changed."""
    document = deepcopy(schema)
    found = [(node, _given(node, document)) for node in _nodes(document) if _has_code(node) and _has_members(node)]
    for node, given in found:
        node[GIVEN] = given
    return document


def differences(writer: Iterable[_Given], reader: Iterable[_Given]) -> list[str]:
    """In what the reader's code is given something else than the writer's was: keys, or ``*`` for the whole; empty for the same.

    A key that only one of them has is none, as long as no code sees it that could refuse.
    """
    own = list(writer)
    for given in reader:
        closest = min((_unlike(each, given) for each in own), key=len, default=["*"])
        if closest:
            return closest
    return []


def _unlike(writer: _Given, reader: _Given) -> list[str]:
    if writer["whole"] == reader["whole"]:
        return []
    fields, others = writer["fields"], reader["fields"]
    if not fields or not others:
        return ["*"]
    shared = fields.keys() & others.keys() & set(reader["sees"] or fields)
    unlike = {key for key in shared if fields[key] != others[key]}
    if reader["refuses"]:
        unlike |= fields.keys() - others.keys() | set(reader["filled"]) - fields.keys()
    return sorted(unlike)


def _given(node: dict[str, Any], document: Any) -> _Given:
    properties = node.get("properties", {})
    filled = node.get("x-eventbus-defaults", [])

    def look(part: Any, *more: Any) -> list[Any]:
        return [wire_fingerprint(_without_bounds({"allOf": [part], "$defs": document.get("$defs", {})})), *more]

    defaults = {key: properties[key].get("default") for key in filled if isinstance(properties.get(key), dict)}
    return {
        "whole": look({key: value for key, value in node.items() if key != OPAQUE}, defaults),
        "fields": {key: look(each, defaults.get(key)) for key, each in properties.items()},
        "filled": filled,
        # Told where all of the code is declared for fields of its own.
        "sees": " ".join(each.get("fields", "") for each in node[OPAQUE]).split()
        if all("fields" in each for each in node[OPAQUE])
        else None,
        "refuses": any(each["what"] in _REFUSES_THE_WHOLE for each in node[OPAQUE]),
    }


def _without_bounds(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_bounds(each) for each in part]
    if not isinstance(part, dict):
        return part
    named = {key: {name: _without_bounds(each) for name, each in part[key].items()} for key in NAMED & part.keys()}
    told = {
        key: each if key in DATA else _without_bounds(each) for key, each in part.items() if not _is_bound(key, part)
    }
    if isinstance(told.get("type"), list):  # null is loaded as None by whoever takes it
        told["type"] = sorted(set(told["type"]) - {"null"})
    return {**told, **named, **({"type": [told["type"]]} if isinstance(told.get("type"), str) else {})}


def _is_bound(key: str, part: dict[str, Any]) -> bool:
    return key in _BOUNDS or (key == "enum" and "type" in part)


def _has_code(node: dict[str, Any]) -> bool:
    told = node.get(OPAQUE)
    return isinstance(told, list) and all(isinstance(each, dict) and "what" in each for each in told)


def _has_members(node: dict[str, Any]) -> bool:
    """Whether *node* is of a list or an object, itself or by the schema that it refers to."""
    refers = any(isinstance(each, dict) and "$ref" in each for each in node.get("allOf", ()))
    return refers or bool(node.keys() & {"properties", "items", "additionalProperties", "$ref"})


def _nodes(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, list):
        for each in part:
            yield from _nodes(each)
    elif isinstance(part, dict):
        yield part
        for key, each in part.items():
            if key not in DATA:
                yield from _nodes(each)
