"""From what marshmallow and user code raise to DataRefused: every field's messages, by full wire path.

The invariant: whatever data comes in, loading and dumping either works or raises DataRefused; no bare ValueError.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from marshmallow import Schema, ValidationError, fields

from eventbus.schemas.refusal import DataRefused

#: What code between data and schema raises when the data is not what it expects. Anything else is a bug of that code.
UNFIT = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError)


@contextmanager
def refusing(schema: Schema) -> Iterator[None]:
    """Turn what is raised inside into DataRefused.

    Raises:
        DataRefused: Something did not fit; each message stands under its wire path.
    """
    try:
        yield
    except DataRefused:
        raise
    except ValidationError as error:
        raise DataRefused(errors_by_path(schema, error.messages)) from error
    except UNFIT as error:
        raise DataRefused({"": [f"{type(error).__name__}: {error}"]}) from error


def errors_by_path(schema: Schema, messages: Any) -> dict[str, list[str]]:
    """marshmallow's nested messages as ``{"lines[2].sku": ["..."]}``; the empty path is the whole event."""
    found: dict[str, list[str]] = {}
    for path, message in _walk(messages, schema, ""):
        found.setdefault(path, []).append(message)
    # Whoever asks whether there are errors takes none for consent.
    return found or {"": ["The schema refuses it, and says no reason."]}


def _walk(messages: Any, node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            yield from _member(key, inner, node, path)
    elif isinstance(messages, (list, tuple)):
        for each in messages:
            yield from _walk(each, node, path)
    else:
        yield path, str(messages)


def _member(key: Any, inner: Any, node: Any, path: str) -> Iterator[tuple[str, str]]:
    if key == "_schema":
        yield from _walk(inner, node, path)
    elif isinstance(node, fields.Mapping) and isinstance(inner, Mapping):
        here = f"{path}.{key}" if path else str(key)
        yield from _walk(inner.get("key", []), None, here)
        yield from _walk(inner.get("value", []), node.value_field, here)
    elif isinstance(key, int):
        yield from _walk(inner, _item(node, key), f"{path}[{key}]")
    else:
        yield from _walk(inner, _field(node, key), f"{path}.{key}" if path else str(key))


def _item(node: Any, index: int) -> Any:
    if isinstance(node, fields.List):
        return node.inner
    if isinstance(node, fields.Tuple) and index < len(node.tuple_fields):
        return node.tuple_fields[index]
    return node


def _field(node: Any, key: Any) -> Any:
    if isinstance(node, (fields.List, fields.Tuple)):
        return None
    schema = node.schema if isinstance(node, fields.Nested) else node
    if not isinstance(schema, Schema):
        return None
    return next((each for name, each in schema.fields.items() if key in (each.data_key, name)), None)
