"""Lists: the options that every list of commands has, by the same names, and the line that says how to go on."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click

from eventbus.cli.tables import Column, plain, print_rows

Command = TypeVar("Command", bound=Callable[..., Any])


def paged(*, limit: int = 50, cursor: Any = click.STRING) -> Callable[[Command], Command]:
    """A page of at most --limit items behind --cursor, as a table, lines or --json."""

    def wrap(command: Command) -> Command:
        return _with(
            command,
            click.option("--limit", type=click.IntRange(1, 1000), default=limit, show_default=True),
            click.option("--cursor", type=cursor, help="Where the last page ended."),
            as_json,
        )

    return wrap


def timed(command: Command) -> Command:
    """--since and --until."""
    return _with(
        command,
        click.option("--since", help="From this time on: '2h ago', 30m, 1d, or ISO 8601 with an offset."),
        click.option("--until", help="Before this time."),
    )


as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


def print_page(
    items: Sequence[Any],
    columns: Sequence[Column],
    *,
    as_json: bool,
    empty: str,
    next: object = None,
    looked_at: int | None = None,
    looked_until: datetime | None = None,
) -> None:
    """Print a page; how far it looked, and how to go on, where people look and programs do not: on standard error."""
    print_rows(items, columns, as_json=as_json, empty=empty)
    if looked_at is not None:
        click.echo(f"looked at {looked_at:,} events, back to {plain(looked_until)}.", err=True)
    if next is not None:
        click.echo(f"more with --cursor {next}", err=True)


def attribute(name: str) -> Column:
    """A column that is an attribute of the items."""
    return Column(name, lambda item: getattr(item, name))


def _with(command: Command, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
