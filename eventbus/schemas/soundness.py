"""Whether what was read from a file can be worked with: it has the form that is asked for, and what is called a JSON Schema is one.

What is made of a class always can. What a person or a merge has changed may hold anything.
"""

from typing import Any

import jsonschema_rs

from eventbus.errors import InvalidInput, InvalidSchema
from eventbus.schemas.documents import Document
from eventbus.schemas.fingerprints import DATA, NAMED
from eventbus.schemas.stored import wire_path
from eventbus.wording import readable

_NODE = {"$ref": "#/definitions/node"}
_NODES = {"type": "object", "additionalProperties": _NODE}
_TRUTH, _NUMBER, _TEXT = {"type": "boolean"}, {"type": "number"}, {"type": "string"}

#: What the drafts leave open: our own keywords, and definitions where draft-07 does not look for them.
_KEYWORDS = {
    **_NODE,
    "definitions": {
        "node": {
            "properties": {
                **dict.fromkeys(sorted(NAMED), _NODES),
                **dict.fromkeys(sorted({*DATA, "default", "examples"}), True),
                **{f"x-eventbus-{name}": _TRUTH for name in ("lenient", "load-only", "prunes")},
                **{f"x-eventbus-{name}": _NUMBER for name in ("minimum", "maximum")},
                **{f"x-eventbus-{name}": _NUMBER for name in ("exclusiveMinimum", "exclusiveMaximum")},
                "x-eventbus-format": _TEXT,
                "x-eventbus-places": {"type": "integer", "minimum": -1000, "maximum": 1000},
                "x-eventbus-defaults": {"type": "array", "items": _TEXT},
                "x-eventbus-opaque": {"type": "array", "items": {"type": "object", "additionalProperties": _TEXT}},
            },
            "items": _NODE,
            "additionalProperties": _NODE,
        }
    },
}
#: What is in the place of what a class may say and a draft does not allow: patterns of Python's, no items, any words.
_LENIENT: dict[str, Any] = {"pattern": "", "items": True, "title": "", "description": "", "examples": []}
_OWN = jsonschema_rs.Draft7Validator(_KEYWORDS)


def refuse_unfit(form: jsonschema_rs.Draft7Validator, value: Any) -> None:
    """Make sure that *value* has a *form*.

    Raises:
        InvalidInput: It has not.
    """
    try:
        form.validate(value)
    except ValueError as error:
        raise InvalidInput(_reason(error)) from error


def refuse_unsound(json_schema: Any, name: str) -> None:
    """Make sure that *json_schema*, which is called *name*, is a JSON Schema that refers to nothing but its own parts.

    Patterns may be of any dialect: a class may have one that no validator knows.

    Raises:
        InvalidSchema: It is none, or one of our own keywords has a value that means nothing.
    """
    try:
        document = Document(_with_any_pattern(json_schema))
        document.validator_of(document.root)
        _OWN.validate(json_schema)
    except (ValueError, TypeError, RecursionError, jsonschema_rs.ReferencingError) as error:
        raise InvalidSchema(name, _reason(error)) from error


def _with_any_pattern(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_any_pattern(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {key: _LENIENT[key] if _is_lenient(key, value) else _with_any_pattern(value) for key, value in node.items()}


def _is_lenient(key: str, value: Any) -> bool:
    if key == "items":
        return bool(value == [])
    if key == "pattern":
        return isinstance(value, str)
    return key in _LENIENT and not isinstance(value, dict | type(_LENIENT[key]))


def _reason(error: Exception) -> str:
    """What *error* says, and of what, in one line."""
    place = wire_path(list(getattr(error, "instance_path", ())))
    said = " ".join(str(getattr(error, "message", error)).split())
    if "ecursion" in said:  # Python's, or the validator's own
        said = "it is nested too deep"
    return f"{f'{readable(place)}: ' if place else ''}{said:.200}."
