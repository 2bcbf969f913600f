"""Event files: one event a line, published in batches, so that whoever is interrupted knows where to go on.

line ─▶ draft ─▶ batch of 1,000 ─▶ recorded, at once or 8 MiB at a time ─▶ progress
a bad line, Ctrl-C or a lost server ─▶ which lines are recorded, and how to go on
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import click

from eventbus.bus import EventBus
from eventbus.cli.app import BAD_INPUT, INTERRUPTED
from eventbus.cli.interrupting import interruptible
from eventbus.cli.json_text import RepeatedKey, read_json
from eventbus.cli.progress import file_progress
from eventbus.errors import EventBusError, InvalidInput, PublishUncertain
from eventbus.event import Draft

BATCH_LINES = 1000
_FIELDS = ("type", "source", "data", "version", "correlation_id", "headers", "idempotency_key")


class BadLine(Exception):
    """A line that is no event; its text says which, why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the file, as a draft."""

    number: int
    draft: Draft


@dataclass(kw_only=True)
class Position:
    """How far the file is recorded."""

    path: str
    #: The last line that is known to be recorded.
    line: int = 0
    events: int = 0
    #: Whether the batch after it was interrupted, or lost its server, while it was being recorded.
    is_uncertain: bool = False
    #: Whether lines without a key were recorded, or may have been: a repeat from the start would record them twice.
    has_keyless: bool = False

    @property
    def name(self) -> str:
        return "standard input" if self.path == "-" else self.path

    def advance(self, lines: list[Line]) -> None:
        """Count in what was recorded: *lines*, the first ones of a batch, or none."""
        if lines:
            self.line, self.events = lines[-1].number, self.events + len(lines)

    def doubt(self) -> str:
        """Which lines may or may not be recorded; empty where that is known, or where a repeat records no line twice."""
        if not self.is_uncertain or not self.has_keyless:
            return ""
        return f"up to {BATCH_LINES} lines from line {self.line + 1} on may or may not be recorded"

    def way_on(self) -> str:
        """What is recorded, and how to record the rest."""
        if not self.line:
            return "no line is known to be recorded" if self.is_uncertain else "no line is recorded"
        recorded = f"lines 1 to {self.line} are recorded"
        if not self.has_keyless:
            return f"{recorded}; repeat the command to go on: lines with a key are recorded once"
        rest = f"{recorded}; to go on, publish the lines from {self.line + 1} on"
        return rest if self.path == "-" else f"{rest}: tail -n +{self.line + 1} {self.path} | eventbus publish --file -"


def publish_file(bus: EventBus, path: str, *, source: str | None, key_prefix: str | None) -> None:
    """Publish every line of *path*, or of standard input, and say how many.

    Args:
        source: Of lines that name none.
        key_prefix: Makes a key from the line's number, for lines without a key of their own.
    """
    position = Position(path=path)
    try:
        with _opened(path) as file, file_progress(_size(path)) as show:
            lines = _lines(file, source=source, key_prefix=key_prefix)
            while batch := list(islice(lines, BATCH_LINES)):
                _publish(bus, batch, position)
                show(position.events, file.tell() if file.seekable() else 0)
    except BadLine as error:
        click.echo(f"eventbus: {position.name}:{error}\neventbus: {position.way_on()}.", err=True)
        raise click.exceptions.Exit(BAD_INPUT) from error
    except KeyboardInterrupt:
        told = "; ".join(filter(None, ["interrupted", position.doubt(), position.way_on()]))
        click.echo(f"\neventbus: {told}.", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except EventBusError as error:
        for told in filter(None, [position.doubt(), position.way_on()]):
            click.echo(f"eventbus: {told}.", err=True)
        error.args = (_reason(error),)
        raise
    click.echo(f"{position.events:,} events recorded.")


def _publish(bus: EventBus, batch: list[Line], position: Position) -> None:
    position.has_keyless |= any(line.draft.idempotency_key is None for line in batch)
    try:
        with interruptible("ending with this batch ...") as stop:
            position.is_uncertain = True
            bus.publish_many(line.draft for line in batch)
            position.is_uncertain = False
            position.advance(batch)
        if stop.is_set():
            raise KeyboardInterrupt
    except EventBusError as error:
        # A batch of large lines is recorded by more than one statement.
        position.advance(batch[: len(error.recorded)])
        position.is_uncertain = isinstance(error, PublishUncertain)
        if isinstance(error, InvalidInput):
            raise BadLine(f"{batch[error.index or 0].number}: {_reason(error)}") from error
        raise


def _reason(error: EventBusError) -> str:
    """What *error* says, without the item's number, which counts from the start of its batch."""
    return str(error).partition("): ")[2] or str(error)


def _lines(file: BinaryIO, *, source: str | None, key_prefix: str | None) -> Iterator[Line]:
    for number, text in enumerate(file, start=1):
        if text.strip():
            try:
                draft = _draft(text, source=source)
            except BadLine as error:
                raise BadLine(f"{number}: {error}") from error
            if key_prefix is not None and draft.idempotency_key is None:
                draft = replace(draft, idempotency_key=f"{key_prefix}:{number}")
            yield Line(number=number, draft=draft)


def _draft(text: bytes, *, source: str | None) -> Draft:
    try:
        given = read_json(text)
    except RepeatedKey as error:
        raise BadLine(f"{error}.") from error
    except ValueError as error:
        raise BadLine(f"is not JSON ({error}); write one object on each line.") from error
    except RecursionError as error:
        raise BadLine("is nested too deep to be read.") from error
    if not isinstance(given, Mapping):
        raise BadLine("is not a JSON object; write one with type, source and data on each line.")
    fields: dict[str, Any] = {**({} if source is None else {"source": source}), **given}
    if unknown := sorted(set(fields) - set(_FIELDS)):
        raise BadLine(f"has {', '.join(map(repr, unknown))}; the fields of an event are {', '.join(_FIELDS)}.")
    if missing := [name for name in ("type", "source", "data") if name not in fields]:
        raise BadLine(f"lacks {', '.join(missing)}; add it{' or pass --source' if 'source' in missing else ''}.")
    return Draft(**fields)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - an error of opening it is told from those of what follows
    except OSError as error:
        raise click.UsageError(f"--file {path} cannot be read: {error.strerror}.") from error
    with file:
        yield file


def _size(path: str) -> int | None:
    """Bytes of the file; None where nobody knows."""
    return Path(path).stat().st_size if Path(path).is_file() else None
