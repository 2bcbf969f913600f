"""Redaction: what must not be seen is taken out of an event before anyone looks at it; the log keeps it.

    event ─▶ redact ─▶ the event without the values at some paths
    event ─▶ secrets_of ─▶ the texts of these values ─▶ conceal ─▶ an error or traceback of its handler without them

In a text a value is known by how it is written: as it is, in any case, escaped as Python and JSON do, or quoted for a URL. What
a handler made of it (a hash, a part of it) is not known.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, quote_plus

from eventbus.errors import InvalidInput
from eventbus.event import Event

#: What is shown in the place of a value.
REDACTED = "[redacted]"
#: Shorter texts, and numbers, are recognised as whole words only: they occur in others by chance.
_DISTINCT = 4
_INDEX = re.compile(r"\s*[-+]?\d{1,9}")
#: Stands where the middle of a long traceback was left out, or behind a message that was cut, as `failure` writes it.
_LEFT_OUT = re.compile(
    r"(\n\[\.\.\. \d+ characters left out \.\.\.\]\n|\n\(the process died before its traceback was recorded\))"
)


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
    return any(all(map(_may_be, path, hidden.split("."))) for hidden in paths)


def refuse_correlation_id(correlation_id: str | None, paths: Sequence[str]) -> None:
    """Let nobody find out by looking for it what no view shows.

    Raises:
        InvalidInput: One is looked for, and must not be seen.
    """
    if correlation_id is not None and hides_correlation_ids(paths):
        raise InvalidInput("metadata.correlation_id is redacted, so nobody may look for its value.")


def hides_correlation_ids(paths: Sequence[str]) -> bool:
    """Whether no view shows which story an event belongs to."""
    return is_redacted(["metadata", "correlation_id"], paths)


def _may_be(word: str, hidden: str) -> bool:
    """Whether a word of a path may mean what *hidden* does; PostgreSQL takes 00 for 0, and counts below it from the end."""
    if "*" in (word, hidden) or word == hidden:
        return True
    return (
        hidden.isdecimal() and _INDEX.fullmatch(word) is not None and int(word) in {int(hidden), *range(int(word), 0)}
    )


def secrets_of(event: Event, paths: Sequence[str]) -> tuple[str, ...]:
    """The texts under which the values of *event* at *paths* may appear elsewhere; the longest first."""
    return _secrets({"data": event.data, "metadata": dict(event.metadata)}, paths)


def secrets_in(data: Any, paths: Sequence[str]) -> tuple[str, ...]:
    """The same of an event whose *data* alone is known."""
    return _secrets({"data": data}, paths)


def _secrets(whole: Any, paths: Sequence[str]) -> tuple[str, ...]:
    return longest_first(
        text for path in paths for value in _values_at(whole, path.split(".")) for text in _spellings(value)
    )


def longest_first(secrets: Iterable[str]) -> tuple[str, ...]:
    """*secrets* in the order in which they are looked for: one may be a part of another."""
    return tuple(sorted(set(secrets), key=lambda text: (-len(text), text)))


def conceal(text: str, secrets: Sequence[str]) -> str:
    """*text* without *secrets*, nor the beginning of one at an end where the text was cut."""
    if not secrets:
        return text
    pattern = re.compile("|".join(map(_pattern, secrets)), re.IGNORECASE)
    parts = [pattern.sub(REDACTED, part) for part in _LEFT_OUT.split(text)]
    parts[::2] = [_without_cut_end(part, secrets) for part in parts[::2]]
    parts[2::2] = [_without_cut_begin(part, secrets) for part in parts[2::2]]
    return "".join(parts)


def _values_at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """All texts and numbers at or below *path*."""
    if not path:
        yield from _leaves(value)
        return
    first, *rest = path
    inside: dict[str, Any] = {}
    if isinstance(value, list):
        inside = {str(index): item for index, item in enumerate(value)}
    elif isinstance(value, dict):
        inside = value
    for name, item in inside.items():
        if first in ("*", name):
            yield from _values_at(item, rest)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield value


def _spellings(value: Any) -> Iterator[str]:
    text = str(value)
    if not text.strip():
        return
    written = {text, repr(text)[1:-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    yield from written | {quote(text, safe=""), quote_plus(text)}


def _pattern(secret: str) -> str:
    escaped = re.escape(secret)
    is_number = re.fullmatch(r"[-+.\deE]+", secret) is not None
    return escaped if len(secret) >= _DISTINCT and not is_number else rf"(?<!\w){escaped}(?!\w)"


def _without_cut_end(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        for length in range(len(secret) - 1, _DISTINCT - 1, -1):
            if text.endswith(secret[:length]):
                return text[:-length] + REDACTED
    return text


def _without_cut_begin(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        for length in range(len(secret) - 1, _DISTINCT - 1, -1):
            if text.startswith(secret[-length:]):
                return REDACTED + text[length:]
    return text


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
