"""Narration: what the person in front of the demonstration sees.

On a terminal a line at the bottom moves while something is waited for; elsewhere there are plain lines only. Nothing is
proven here.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.box import ASCII, ROUNDED
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from eventbus.demo.proof import Proof

#: Where no terminal says how wide a line may be.
_PLAIN_WIDTH = 110


class Narrator:
    """Tells the story on standard output."""

    def __init__(self, console: Console | None = None) -> None:
        plain = not (console or Console()).is_terminal
        self._console = console or (Console(width=_width(), highlight=False) if plain else Console(highlight=False))
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"))
        self._progress = Progress(
            *columns, TimeElapsedColumn(), console=self._console, transient=True, disable=not self._console.is_terminal
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, letter: str, title: str) -> None:
        """Begin a step."""
        self._line(f"({letter}) {title}", style="bold")

    def say(self, text: str) -> None:
        """Tell what happens."""
        for line in text.splitlines():
            self._line(f"    {line}")

    def command(self, text: str) -> None:
        """Show a command as one would type it."""
        self._line(f"    $ {text}", style="cyan")

    def conclude(self, proof: Proof) -> None:
        """End a step."""
        self._line(f"    {_verdict(proof)}: {_outcome(proof, '; ')}", style=_style(proof))

    @contextmanager
    def waiting(self, for_what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Show that *for_what* is waited for; call what is yielded with how much of *total* has come."""
        task = self._progress.add_task(for_what, total=total, amount="")
        try:
            yield lambda count: self._progress.update(task, completed=count, amount=f"{count:,} of {total:,}")
        finally:
            self._progress.remove_task(task)

    def close(self, title: str, proofs: Sequence[Proof]) -> None:
        """Print the closing table."""
        self._line(title, style="bold")
        table = Table(box=ROUNDED if self._console.is_terminal else ASCII, show_lines=True)
        for name in ("step", "what was shown", "read from the database"):
            table.add_column(name, overflow="fold", no_wrap=name == "step")
        for proof in proofs:
            table.add_row(*_row(proof))
        self._console.print(table)

    def _line(self, text: str, *, style: str = "") -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)


def _row(proof: Proof) -> tuple[Text, Text, Text]:
    step = f"({proof.letter}) {_verdict(proof)}"
    return Text(step, style=_style(proof)), Text(proof.claim), Text(_outcome(proof, "\n"))


def _verdict(proof: Proof) -> str:
    return "-" if not proof.reached else "ok" if proof.holds else "FAILED"


def _outcome(proof: Proof, separator: str) -> str:
    return separator.join((*([proof.failure] if proof.failure else []), *map(str, proof.figures)))


def _style(proof: Proof) -> str:
    return "" if not proof.reached else "green" if proof.holds else "bold red"


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdigit() and int(columns) >= 60 else _PLAIN_WIDTH
