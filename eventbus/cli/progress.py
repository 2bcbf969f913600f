"""Progress of long work: a bar on a terminal, a line a second in a pipe; always on stderr, out of the way of results."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_LINE_SECONDS = 1.0


class Progress(Protocol):
    """What long work reports to."""

    def report(self, events: int, *, at_bytes: int) -> None:
        """Say that so many events are recorded, and how far the file is read."""


@contextmanager
def show_progress(size_bytes: int | None) -> Iterator[Progress]:
    """Somebody to report to.

    Args:
        size_bytes: Of the whole; None if that is unknown.
    """
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (BarColumn(), TextColumn("{task.fields[events]:,} events"), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _OnTerminal(bar, bar.add_task("", total=size_bytes, events=0))


class _OnTerminal:
    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def report(self, events: int, *, at_bytes: int) -> None:
        self._bar.update(self._task, completed=at_bytes, events=events)


class _Lines:
    def __init__(self) -> None:
        self._said_seconds = time.monotonic()

    def report(self, events: int, *, at_bytes: int) -> None:
        del at_bytes
        if time.monotonic() - self._said_seconds >= _LINE_SECONDS:
            click.echo(f"{events:,} events recorded so far", err=True)
            self._said_seconds = time.monotonic()
