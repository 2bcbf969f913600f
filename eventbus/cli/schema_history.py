"""Reports of a check against history, and its progress."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from eventbus.cli.tables import plain
from eventbus.lifecycle.schema_history import TypeHistory, VersionHistory, Watch

_LINE_SECONDS = 1.0
_SHOWN_FIELDS = 5


@contextmanager
def show_history_progress() -> Iterator[Watch]:
    """Somebody to tell how many events were tried: a line a second, on stderr."""
    said_at = time.monotonic()

    def watch(type: str, events: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= _LINE_SECONDS:
            click.echo(f"{type}: {events:,} events tried so far", err=True)
            said_at = time.monotonic()

    yield watch


def history_as_text(found: Sequence[TypeHistory]) -> str:
    """For people: what would not load, since when, and whom that concerns."""
    lines = []
    for each in found:
        state = "" if each.is_complete else " (interrupted: not all of them)"
        told = f"{each.failed:,} of {each.events:,} stored events would not load{state}"
        lines.append(f"{each.type} version {each.candidate}: {told}")
        for version in _by_number(each):
            lines += _version_lines(version)
        if each.failed:
            lines.append(f"  groups: {', '.join(each.groups) or 'none is subscribed'}")
    return plain("\n".join(lines or ["no schema is declared."])) + "\n"


def history_as_json(found: Sequence[TypeHistory]) -> str:
    """For programs."""
    types = [
        {
            "type": each.type,
            "candidate": each.candidate,
            "events": each.events,
            "failed": each.failed,
            "is_complete": each.is_complete,
            "groups": list(each.groups),
            "versions": [_version_as_json(version) for version in _by_number(each)],
        }
        for each in found
    ]
    return json.dumps({"history": types}, indent=2, ensure_ascii=False) + "\n"


def _by_number(each: TypeHistory) -> list[VersionHistory]:
    return [each.versions[number] for number in sorted(each.versions)]


def _version_lines(version: VersionHistory) -> list[str]:
    lines = [f"  of version {version.version}: {version.failed:,} of {version.events:,}"]
    if version.first_failed_at and version.last_failed_at:
        since, until = (at.isoformat(timespec="seconds") for at in (version.first_failed_at, version.last_failed_at))
        lines.append(f"    published from {since} to {until}, such as {', '.join(map(str, version.samples))}")
        for path, count in version.errors.most_common(_SHOWN_FIELDS):
            lines.append(f"    {path or 'event'}: {count:,} times, as: {version.messages[path]}")
    return lines


def _version_as_json(version: VersionHistory) -> dict[str, Any]:
    return {
        "version": version.version,
        "events": version.events,
        "failed": version.failed,
        "since": version.first_failed_at and version.first_failed_at.isoformat(),
        "until": version.last_failed_at and version.last_failed_at.isoformat(),
        "samples": [str(id) for id in version.samples],
        "errors": {
            path: {"events": count, "message": version.messages[path]} for path, count in version.errors.most_common()
        },
    }
