"""Progress of long work, on standard error: a bar on a terminal, a line now and then in a pipe.

a file ─▶ file_progress     counted work ─▶ counted_progress     what nobody can count ─▶ busy
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_FILE_LINE_SECONDS = 1.0
_LINE_SECONDS = 5.0

#: Told how many events are recorded, and how many bytes of the file are read.
ShowFile = Callable[[int, int], None]
#: Told how much was done, and of how much.
Show = Callable[[int, int], None]


@contextmanager
def file_progress(size_bytes: int | None) -> Iterator[ShowFile]:
    """Somebody to tell, after each batch, how far a file is published.

    Args:
        size_bytes: Of the whole; None if that is unknown.
    """
    if not sys.stderr.isatty():
        yield _FileLines()
        return
    columns = (BarColumn(), TextColumn("{task.fields[events]:,} events"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=size_bytes, events=0)

        def show(events: int, at_bytes: int) -> None:
            progress.update(task, completed=at_bytes, events=events)

        yield show


@contextmanager
def counted_progress(title: str, what: str, *, done: int = 0, total: int) -> Iterator[Show]:
    """Somebody to tell, after each batch, how far work has come.

    Args:
        title: What is being done, as "replay to inventory".
        what: What is counted, as "deliveries".
        done: What was done before, which says nothing about the rate.
    """
    if not sys.stderr.isatty():
        yield _Lines(what, done=done)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), _Left())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=max(total, done), completed=done, before=done)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=max(total, done))

        yield show


@contextmanager
def busy(title: str) -> Iterator[None]:
    """Show on a terminal that something goes on, and since when, where nobody knows how far it has come; gone at the end."""
    if not sys.stderr.isatty():
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(title, total=None)
        yield


class _Rate(ProgressColumn):
    """How many a second, from the start: batches are too few for a rate of the last moments."""

    def render(self, task: Task) -> Text:
        rate = _rate(task)
        return Text(f"{rate:,.0f}/s" if rate else "", style="progress.data.speed")


class _Left(ProgressColumn):
    """How long it will take."""

    def render(self, task: Task) -> Text:
        rate, left = _rate(task), (task.total or 0) - task.completed
        text = str(timedelta(seconds=round(left / rate))) if rate else "-:--:--"
        return Text(text, style="progress.remaining")


def _rate(task: Task) -> float:
    return (task.completed - float(task.fields["before"])) / max(task.elapsed or 0, 0.001)


class _FileLines:
    """Prints a line each second."""

    def __init__(self) -> None:
        self._said_seconds = time.monotonic()

    def __call__(self, events: int, at_bytes: int) -> None:
        del at_bytes
        if time.monotonic() - self._said_seconds >= _FILE_LINE_SECONDS:
            click.echo(f"{events:,} events recorded so far", err=True)
            self._said_seconds = time.monotonic()


class _Lines:
    """Prints a line after the first batch, then every few seconds, and after the last one."""

    def __init__(self, what: str, *, done: int) -> None:
        self._what, self._done_before = what, done
        self._began = time.monotonic()
        self._next_line_at = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        left = max(total - done, 0)
        if now < self._next_line_at and left:
            return
        self._next_line_at = now + _LINE_SECONDS
        rate = (done - self._done_before) / max(now - self._began, 0.001)
        line = f"{done} of {total} {self._what}, {rate:.0f}/s"
        if left and rate:
            line += f", {timedelta(seconds=round(left / rate))} left"
        click.echo(line, err=True)
