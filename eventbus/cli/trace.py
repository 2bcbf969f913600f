"""Tracing a story on the command line: what led to what, and what each group made of it."""

import json
from collections.abc import Sequence
from datetime import datetime

import click

from eventbus.cli.app import NO
from eventbus.cli.events import standing_json
from eventbus.cli.tables import plain
from eventbus.cli.target import plain_bus
from eventbus.delivery import State
from eventbus.event import Event
from eventbus.lifecycle.causality import in_causal_order
from eventbus.storage.overview.stories import Standing

_STYLES = {State.DONE: "green", State.DEAD: "red", State.RETRYING: "yellow", State.PARKED: "yellow"}


@click.command()
@click.argument("correlation_id")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event, causes before effects.")
@click.pass_context
def trace(ctx: click.Context, correlation_id: str, *, as_json: bool) -> None:
    """Show the events of CORRELATION_ID as a tree, and how each group stands with each of them.

    An event stands below the one whose handler published it. Times are seconds since the first event. Exits with 1 if there
    is no such event.

    \b
    Examples:
      eventbus trace order-4711
      eventbus trace order-4711 --json | jq .type
    """
    story = plain_bus(ctx).story(correlation_id)
    if not story.events:
        click.echo(f"no event has the correlation id {plain(correlation_id)}.", err=True)
        raise click.exceptions.Exit(NO)
    for depth, event in in_causal_order(story.events):
        standings = [item for item in story.standings if item.event_id == event.id]
        if as_json:
            deliveries = list(map(standing_json, standings))
            click.echo(json.dumps({**event.as_json(), "depth": depth, "deliveries": deliveries}))
        else:
            _print(event, standings, depth=depth, begin=story.events[0].created_at)
    if story.is_cut:
        click.echo(f"there are more events than these {len(story.events):,}.", err=True)


def _print(event: Event, standings: Sequence[Standing], *, depth: int, begin: datetime) -> None:
    indent = "  " * depth
    at = (event.created_at - begin).total_seconds()
    click.echo(f"{indent}{click.style(event.type, bold=True)}  +{at:.3f}s  {event.id}  {plain(event.source)}")
    for standing in standings:
        click.echo(f"{indent}  · {_line(standing, begin=begin)}")


def _line(standing: Standing, *, begin: datetime) -> str:
    parts = [standing.group, click.style(standing.state, fg=_STYLES.get(standing.state))]
    if standing.finished_at is not None:
        parts.append(f"+{(standing.finished_at - begin).total_seconds():.3f}s")
    if standing.worker:
        parts.append(f"by {plain(standing.worker)}")
    failed = standing.attempts + standing.deaths
    if failed:
        parts.append(f"after {failed} failed run{'s' if failed > 1 else ''}")
    if standing.last_error:
        parts.append(plain(standing.last_error.splitlines()[0]))
    return "  ".join(parts)
