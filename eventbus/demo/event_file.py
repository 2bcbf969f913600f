"""Event files: newline-delimited JSON, one event a line, each ``{"type": …, "source": …, "data": …}``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eventbus.cli.json_text import RepeatedKey, read_json
from eventbus.errors import EventTooLarge, InvalidInput
from eventbus.event import Draft, check_draft, encode_data

#: Used when no file is given: JSON that is easily changed on its way.
BUILT_IN = Path(__file__).with_name("events.ndjson")
#: What the demo's bus takes, whatever the environment says.
MAX_EVENT_BYTES = 1 << 20
_KEYS = {"type", "source", "data"}


class UnusableFile(Exception):
    """A file cannot be published; the message is one sentence that names it, and the line."""


def read_events(path: Path) -> list[Draft]:
    """The events in the file at *path*, in order; none of them will be refused.

    Raises:
        UnusableFile: It cannot be read, holds no event, or a line is not one.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UnusableFile(f"{path} cannot be read: {error.strerror}.") from None
    events = list(_events(path, lines))
    if not events:
        raise UnusableFile(f'{path} holds no event: each line is one, as {{"type": …, "source": …, "data": …}}.')
    return events


def _events(path: Path, lines: list[bytes]) -> Iterator[Draft]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield _event(line)
        except (InvalidInput, UnusableFile) as error:
            raise UnusableFile(f"{path}, line {number}: {error}") from None


def _event(line: bytes) -> Draft:
    value = _parsed(line)
    if not isinstance(value, dict) or set(value) != _KEYS:
        raise UnusableFile("the line is not an object with exactly the keys 'type', 'source' and 'data'.")
    draft = Draft(type=value["type"], source=value["source"], data=value["data"])
    check_draft(draft)
    size = len(encode_data(draft.type, draft.data)[0])
    if size > MAX_EVENT_BYTES:
        raise EventTooLarge(draft.type, size, MAX_EVENT_BYTES)
    return draft


def _parsed(line: bytes) -> Any:
    try:
        return read_json(line)
    except RepeatedKey as error:
        raise UnusableFile(f"the line {error}.") from None
    except ValueError as error:
        raise UnusableFile(f"the line is not JSON ({error}).") from None
    except RecursionError:
        raise UnusableFile("the line is nested too deeply.") from None
