"""Redaction: what must not be seen is taken out of an event before anyone looks at it; the log keeps it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from eventbus.event import Event

#: What is shown in the place of a value.
REDACTED = "[redacted]"


def redact(event: Event, paths: Sequence[str]) -> Event:
    """*event* without the values at *paths*.

    Args:
        paths: As ``data.customer.email``; ``*`` stands for every field of an object and every item of a list.
    """
    whole: Any = {"data": event.data, "metadata": dict(event.metadata)}
    for path in paths:
        whole = _without(whole, path.split("."))
    return replace(event, data=whole["data"], metadata=whole["metadata"])


def is_redacted(path: Sequence[str], paths: Sequence[str]) -> bool:
    """Whether the value at *path*, or a part of it, or what it is a part of, must not be seen."""
    return any(
        all("*" in pair or pair[0] == pair[1] for pair in zip(path, hidden.split("."), strict=False))
        for hidden in paths
    )


def _without(value: Any, path: Sequence[str]) -> Any:
    if not path:
        return REDACTED
    first, *rest = path
    if isinstance(value, list):
        hits = range(len(value)) if first == "*" else [int(first)] if first.isdecimal() else []
        return [_without(item, rest) if index in hits else item for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {name: _without(item, rest) if first in ("*", name) else item for name, item in value.items()}
    return value
