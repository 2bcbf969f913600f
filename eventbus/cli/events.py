"""Events on the command line: found in the log, and looked at one by one."""

import json
from typing import Any
from uuid import UUID

import click

from eventbus.cli.lists import attribute, paged, print_page, timed
from eventbus.cli.tables import Column, label, plain, print_rows
from eventbus.cli.tail import tail
from eventbus.cli.target import plain_bus
from eventbus.delivery import State
from eventbus.event import Event
from eventbus.storage.overview.stories import Standing

STANDING = [
    attribute(name)
    for name in ("group", "state", "attempts", "deaths", "due_at", "finished_at", "worker", "last_error", "replay_id")
]


@click.group()
def events() -> None:
    """List, show and watch events."""


events.add_command(tail)


@events.command("list")
@click.argument("pattern", required=False)
@timed
@click.option("--correlation-id", help="Only events of this story.")
@click.option("--group", help="Only events with a delivery to this group.")
@click.option(
    "--state",
    type=click.Choice([str(state) for state in State]),
    help="Only if a delivery (to --group) is in this state.",
)
@click.option("--error", metavar="TEXT", help="Only if a delivery's last error contains TEXT.")
@click.option(
    "--where", "where", multiple=True, metavar="data.PATH=VALUE", help="Only with this value; may be repeated."
)
@paged(cursor=click.UUID)
@click.pass_context
def list_events(
    ctx: click.Context, /, *, where: tuple[str, ...], as_json: bool, limit: int, cursor: UUID | None, **sought: Any
) -> None:
    """List events of PATTERN, newest first.

    --where needs a type and --since. A page looks at no more than 10,000 events, and says how far it came.

    \b
    Examples:
      eventbus events list 'order.*' --since '2h ago'
      eventbus events list --group inventory --state dead --json
      eventbus events list order.created --since 1d --where data.customer.id=42
    """
    page = plain_bus(ctx).events(**sought, data=dict(map(_field, where)), cursor=cursor, limit=limit)
    columns = _JSON if as_json else _COLUMNS
    print_page(
        page.items,
        columns,
        as_json=as_json,
        empty="no events.",
        next=page.next,
        looked_at=page.looked_at,
        looked_until=page.looked_until,
    )


@events.command()
@click.argument("id", type=click.UUID)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def show(ctx: click.Context, id: UUID, *, as_json: bool) -> None:
    """Show event ID, and how each group stands with it.

    \b
    Examples:
      eventbus events show 0199c3a2-5d1e-7b5e-8f44-3f1f6d1b2a77
      eventbus events show 0199c3a2-5d1e-7b5e-8f44-3f1f6d1b2a77 --json | jq .deliveries
    """
    details = plain_bus(ctx).event_details(id)
    event = details.event
    if as_json:
        click.echo(json.dumps({**event.as_json(), "deliveries": list(map(standing_json, details.standings))}))
        return
    for name in ("id", "type", "version", "source", "created_at", "correlation_id", "causation_id"):
        click.echo(f"{label(name, 14)} {plain(getattr(event, name))}")
    if "traceparent" in event.metadata:
        click.echo(f"traceparent    {plain(event.metadata['traceparent'])}")
    if event.headers:
        click.echo(f"headers        {plain(json.dumps(dict(event.headers), ensure_ascii=False))}")
    click.echo(f"data           {plain(_data(event))}")
    print_rows(details.standings, STANDING, as_json=False, empty="no group has a delivery of it.")


def standing_json(standing: Standing) -> dict[str, Any]:
    """How a group stands with an event, as JSON values."""
    found = {column.name: column.read(standing) for column in STANDING}
    numbers = {"attempts": standing.attempts, "deaths": standing.deaths}
    return {name: None if value is None else plain(value) for name, value in found.items()} | numbers


def _field(text: str) -> tuple[str, str]:
    path, separator, value = text.partition("=")
    if not separator or not path.startswith("data."):
        raise click.UsageError(f"--where {text!r:.80} is not of the form data.customer.id=42.")
    return path.removeprefix("data."), value


def _data(event: Event) -> str:
    return json.dumps(event.data, ensure_ascii=False)


_NAMES = ("id", "type", "version", "source", "created_at", "correlation_id")
_COLUMNS = [*map(attribute, _NAMES), Column("data", _data)]
_JSON = [*map(attribute, (*_NAMES, "causation_id", "headers", "data"))]
