"""Consumer groups: who is subscribed to what."""

import click

from eventbus.cli.asking import confirm
from eventbus.cli.tables import Column, print_rows
from eventbus.cli.target import plain_bus


@click.group()
def groups() -> None:
    """List consumer groups and remove them."""


@groups.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_groups(ctx: click.Context, *, as_json: bool) -> None:
    """List all groups and their subscriptions."""
    found = plain_bus(ctx).groups()
    print_rows(
        found,
        [
            Column("group", lambda item: item.group),
            Column("pattern", lambda item: item.pattern),
            Column("handler", lambda item: item.handler),
            Column("queue", lambda item: item.queue),
            Column("paused", lambda item: item.paused),
            Column("last_seen_at", lambda item: item.last_seen_at),
        ],
        as_json=as_json,
        empty="no group has subscribed yet: start a worker or run 'eventbus sync'.",
    )


@groups.command()
@click.argument("group")
@click.option("--pattern", help="Only this pattern of the group.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def remove(ctx: click.Context, group: str, *, pattern: str | None, yes: bool) -> None:
    """Unsubscribe GROUP and cancel its open deliveries.

    A worker whose code still declares it subscribes it again when it starts.
    """
    bus = plain_bus(ctx)
    count = bus.open_deliveries(group, pattern=pattern)
    what = f"{group}'s subscription to {pattern}" if pattern else f"group {group}"
    confirm(f"Remove {what} and cancel {count} open deliveries?", yes=yes)
    cancelled = bus.remove_group(group, pattern=pattern)
    click.echo(f"removed {what}; {cancelled} open deliveries cancelled.")
