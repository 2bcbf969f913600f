"""Lists: the options that every list of commands has, by the same names, and the line that says how to go on."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click

from eventbus.cli.tables import Column, plain, print_rows

Command = TypeVar("Command", bound=Callable[..., Any])
Item = TypeVar("Item")


def paged(*, limit: int = 50, cursor: Any = click.STRING) -> Callable[[Command], Command]:
    """A page of at most --limit items behind --cursor, as a table, lines or --json."""

    def wrap(command: Command) -> Command:
        return with_options(
            command,
            click.option("--limit", type=click.IntRange(1, 1000), default=limit, show_default=True),
            click.option("--cursor", type=cursor, help="Where the last page ended."),
            as_json,
        )

    return wrap


def timed(command: Command) -> Command:
    """--since and --until."""
    return with_options(
        command,
        click.option("--since", help="From this time on: '2h ago', 30m, 1d, or ISO 8601 with an offset."),
        click.option("--until", help="Before this time."),
    )


def with_options(command: Command, *options: Callable[[Command], Command]) -> Command:
    """*command* with *options*, which its help shows in this order."""
    for option in reversed(options):
        command = option(command)
    return command


as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")


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


def cut_page(
    items: Sequence[Item], key: Callable[[Item], tuple[str | int, ...]], *, limit: int, cursor: str | None
) -> tuple[Sequence[Item], str | None]:
    """The page of *items*, which all are at hand, behind *cursor*; and the cursor of the next page.

    Args:
        key: What the items are sorted by; a cursor is the key of the last item of a page, its parts joined by colons.
    """
    left = sorted(items, key=key)
    if cursor is not None and left:
        after = _key_of(cursor, like=key(left[0]))
        left = [item for item in left if key(item) > after]
    next = ":".join(map(str, key(left[limit - 1]))) if len(left) > limit else None
    return left[:limit], next


def _key_of(cursor: str, *, like: tuple[str | int, ...]) -> tuple[str | int, ...]:
    parts = cursor.split(":")
    try:
        return tuple(type(part)(text) for part, text in zip(like, parts, strict=True))
    except ValueError:
        raise click.UsageError(f"--cursor {cursor!r:.80} is not where a page of this list ended.") from None


def attribute(name: str) -> Column:
    """A column that is an attribute of the items."""
    return Column(name, lambda item: getattr(item, name))
