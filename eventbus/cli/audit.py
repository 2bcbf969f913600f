"""What operators changed, on the command line."""

import json
from typing import Any

import click

from eventbus.cli.lists import attribute, paged, print_page, timed
from eventbus.cli.tables import Column
from eventbus.cli.target import plain_bus


@click.command()
@click.option("--who", help="Only what this person did, such as ann@host.")
@click.option(
    "--action",
    metavar="WORDS",
    help="Only this action, such as 'dead retry'; 'dead' means everything done to dead letters.",
)
@click.option("--group", help="Only what was done to this group.")
@click.option("--result", help="Only with this result: done, began, interrupted, cancelled, failed.")
@timed
@paged(cursor=click.INT)
@click.pass_context
def audit(ctx: click.Context, /, *, limit: int, cursor: int | None, as_json: bool, **sought: Any) -> None:
    """List what operators changed, newest first: who, what, which, how many they were shown, how many were changed.

    A change whose result is 'began' is still running, or was cut short.

    \b
    Examples:
      eventbus audit --since 1d
      eventbus audit --action 'dead discard' --group notification --json
    """
    found = plain_bus(ctx).audit(**sought, cursor=cursor, limit=limit)
    filter = attribute("filter") if as_json else Column("filter", lambda entry: json.dumps(dict(entry.filter)))
    names = ("asked", "changed", "result", "began_at", "ended_at")
    columns = [*map(attribute, ("id", "who", "action")), filter, *map(attribute, names)]
    next = found[-1].id if len(found) == limit else None
    empty = "no such change." if any(sought.values()) else "nobody changed anything."
    print_page(found, columns, as_json=as_json, empty=empty, next=next)
