"""The progress of a replay: a bar with rate and time left on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from datetime import timedelta

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from eventbus.cli.interrupting import interruptible
from eventbus.lifecycle.replaying import Replaying
from eventbus.storage.replays import Job

_LINE_SECONDS = 5.0


def watch_replay(replaying: Replaying, job: Job) -> Job:
    """Carry *job* out, showing how it goes; Ctrl-C interrupts it between two batches."""
    with interruptible("ending with this batch ...") as stop:
        if sys.stderr.isatty():
            return _with_bar(replaying, job, stop)
        return replaying.run(job.id, watch=_Lines(seen=job.seen), stop=stop)


def _with_bar(replaying: Replaying, job: Job, stop: threading.Event) -> Job:
    columns = (
        TextColumn("replay to {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(job.group, total=max(job.total, job.seen), completed=job.seen)

        def show(moved: Job) -> None:
            progress.update(task, completed=moved.seen, total=max(moved.total, moved.seen))

        return replaying.run(job.id, watch=show, stop=stop)


class _Rate(ProgressColumn):
    """Deliveries per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


class _Lines:
    """Prints a line after the first batch, then every few seconds, and after the last one."""

    def __init__(self, *, seen: int) -> None:
        self._began = time.monotonic()
        self._seen_before = seen
        self._next_line_at = 0.0

    def __call__(self, job: Job) -> None:
        now = time.monotonic()
        if now < self._next_line_at and job.finished_at is None:
            return
        self._next_line_at = now + _LINE_SECONDS
        rate = (job.seen - self._seen_before) / max(now - self._began, 0.001)
        left = max(job.total - job.seen, 0)
        line = f"{job.seen} of {job.total} deliveries, {rate:.0f}/s"
        if left and rate:
            line += f", {timedelta(seconds=round(left / rate))} left"
        click.echo(line, err=True)
