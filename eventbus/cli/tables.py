"""Tables: rows as a table on a terminal, as tab-separated lines in a pipe, as JSON lines on request."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

Item = TypeVar("Item")
#: A cell of so many characters may be broken into lines.
_SHRED = 12
#: Control characters, but for tabs and line ends.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Column:
    """A column: its stable name, and how to read it off an item."""

    name: str
    read: Callable[[Any], Any]


def print_rows(items: Sequence[Item], columns: Sequence[Column], *, as_json: bool, empty: str) -> None:
    """Print *items*; where there are none, say *empty* to a person, and nothing to a program."""
    rows = [{column.name: column.read(item) for column in columns} for item in items]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, default=plain))
    elif not rows:
        click.echo(empty, err=True)
    elif sys.stdout.isatty():
        _print_table(rows)
    else:
        for row in rows:
            click.echo("\t".join(plain(value).replace("\t", " ").replace("\n", " ") for value in row.values()))


def plain(value: Any) -> str:
    """*value* as text: times in UTC with offset, nothing as an empty text, without what would command a terminal."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return _COMMANDS.sub(lambda found: f"\\x{ord(found[0]):02x}", str(value))


def label(name: str, width: int) -> str:
    """The *name* of what stands behind it."""
    return click.style(name.replace("_", " ").ljust(width), bold=True)


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    console = Console()
    if _wanted_width(rows) > console.width:
        _print_records(rows)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(value)) for value in row.values()))
    console.print(table)


def _wanted_width(rows: Sequence[dict[str, Any]]) -> int:
    """What a table needs so that no cell is broken into shreds."""
    longest = (max(len(name), *(len(plain(row[name])) for row in rows)) for name in rows[0])
    return sum(min(length, _SHRED) + 2 for length in longest) - 2


def _print_records(rows: Sequence[dict[str, Any]]) -> None:
    """Each row as lines of name and value, for terminals that are too narrow for a table."""
    width = max(map(len, rows[0]))
    for number, row in enumerate(rows):
        if number:
            click.echo()
        for name, value in row.items():
            click.echo(f"{label(name, width)}  {plain(value)}")
