"""Watching events in real time from the command line."""

import json
import shutil
import sys

import click

from eventbus.cli.tables import plain
from eventbus.cli.target import plain_bus
from eventbus.event import Event


@click.command()
@click.argument("pattern")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, as in a pipe.")
@click.pass_context
def tail(ctx: click.Context, pattern: str, *, as_json: bool) -> None:
    """Show the events of PATTERN as they are published, until Ctrl-C.

    It shows only events from now on, and is best effort: it misses events that are published while the connection is
    lost.

    \b
    Examples:
      eventbus tail 'order.*'
      eventbus events tail '#' | jq .type
    """
    bus = plain_bus(ctx)
    with bus.listen(pattern) as listener:
        click.echo(f"listening to {pattern}; Ctrl-C ends it.", err=True)
        for heard in listener:
            event = bus.shown(heard)
            click.echo(json.dumps(event.as_json()) if as_json or not sys.stdout.isatty() else _line(event))


def _line(event: Event) -> str:
    """*event* for a person, cut where the terminal ends."""
    data = json.dumps(event.data, ensure_ascii=False)
    line = plain(f"{plain(event.created_at)}  {event.type}  {event.id}  {event.source}  {data}")
    width = shutil.get_terminal_size().columns
    return line if len(line) <= width else f"{line[: width - 1]}…"
