"""The bus in numbers."""

import dataclasses
import json
import sys
from datetime import timedelta
from typing import Any

import click

from eventbus.bus import EventBus
from eventbus.cli.interrupting import interruptible
from eventbus.cli.progress import counted_progress
from eventbus.cli.tables import Column, print_rows
from eventbus.cli.target import plain_bus
from eventbus.storage.deadlines import waiting_at_most
from eventbus.storage.overview import Stats

_EVERY_SECONDS = 2
#: For a day, and more than anybody waits.
_RECOUNT = timedelta(hours=6)
_COLUMNS = ("what", "name", "published", "consumed", "dead", "open", "in_broker")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option(
    "--recount", is_flag=True, help="First count everything again, which reads the whole log and all deliveries."
)
@click.option("--watch", is_flag=True, help="Again every two seconds, until Ctrl-C.")
@click.pass_context
def stats(ctx: click.Context, *, as_json: bool, recount: bool, watch: bool) -> None:
    """Show what was published, consumed and given up, and what is open.

    All numbers come from PostgreSQL, except in_broker, the messages in each group's queue. A message is only a
    wake-up: the number of messages says little about the number of open deliveries.

    \b
    Examples:
      eventbus stats --watch
      eventbus stats --json | jq .queue_depths
    """
    bus = plain_bus(ctx)
    if recount:
        with waiting_at_most(_RECOUNT), counted_progress("count again", "days", total=1) as show:
            bus.recount(watch=show)
    if not watch:
        _show(bus, as_json=as_json)
        return
    with interruptible("ending ...") as stop:
        while not stop.is_set():
            if sys.stdout.isatty():
                click.clear()
            _show(bus, as_json=as_json)
            stop.wait(_EVERY_SECONDS)


def _show(bus: EventBus, *, as_json: bool) -> None:
    found = bus.stats()
    depths = bus.broker_depths(list(found.by_group))
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(found), "broker_depths": depths}))
        return
    rows = _rows(found, depths)
    print_rows(rows, [_column(name) for name in _COLUMNS], as_json=False, empty="")


def _rows(found: Stats, depths: dict[str, int] | None) -> list[dict[str, Any]]:
    types = [{"what": "type", "name": name, **vars(item)} for name, item in found.by_type.items()]
    groups = [
        {
            "what": "group",
            "name": name,
            "consumed": item.consumed,
            "dead": item.dead,
            "open": item.depth,
            "in_broker": "unreachable" if depths is None else depths[name],
        }
        for name, item in found.by_group.items()
    ]
    total = {
        "what": "total",
        "published": found.published,
        "consumed": found.consumed,
        "dead": found.dead,
        "open": sum(found.queue_depths.values()),
        "in_broker": "unreachable" if depths is None else sum(depths.values()),
    }
    return [*types, *groups, total]


def _column(name: str) -> Column:
    return Column(name, lambda row: row.get(name))
