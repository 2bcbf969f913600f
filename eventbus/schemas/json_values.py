"""JSON values: from Python values, compared with each other, and by type."""

from typing import Any

from eventbus.schemas.refusal import DataRefused


def to_json(value: Any, path: str = "") -> Any:
    """*value* as JSON: tuples as lists, keys as strings, subclasses of plain types as those.

    Raises:
        DataRefused: Some value has no JSON, or is text that PostgreSQL cannot keep (U+0000, half a surrogate pair).
    """
    kind = type(value)
    if kind is str:
        return _text(value, path)
    if value is None or kind is int or kind is bool:
        return value
    if kind is float:
        if value - value != 0:  # only for infinity and NaN
            raise DataRefused({path: ["NaN and Infinity are not JSON."]})
        return value
    if isinstance(value, dict):
        return {_key(key, path): to_json(each, f"{path}.{key}" if path else str(key)) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(each, f"{path}[{index}]") for index, each in enumerate(value)]
    for plain in (str, bool, int, float):
        if isinstance(value, plain):
            return to_json(plain(value), path)
    raise DataRefused({path: [f"{kind.__name__} is not JSON."]})


def _text(value: str, path: str) -> str:
    if "\x00" in value:
        raise DataRefused({path: ["The event log cannot keep the character U+0000."]})
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataRefused({path: ["Not valid Unicode text."]}) from error
    return value


def _key(key: Any, path: str) -> str:
    if isinstance(key, str):
        return _text(str(key), path)
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    raise DataRefused({path: [f"a key of type {type(key).__name__} is not JSON."]})


def same(one: Any, two: Any) -> bool:
    """Equality of JSON values: 1 is 1.0 and not true, at any depth."""
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    return bool(one == two)


def type_of(value: Any) -> str:
    """The JSON type of a value."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    names: dict[type, str] = {str: "string", list: "array", dict: "object", type(None): "null"}
    return names[type(value)]
