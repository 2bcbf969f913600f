"""Consumer groups: who is subscribed to what."""

import json
from typing import Any

import click

from eventbus.cli.app import INTERRUPTED
from eventbus.cli.asking import confirm
from eventbus.cli.interrupting import interruptible
from eventbus.cli.lists import attribute, cut_page, paged, print_page
from eventbus.cli.progress import counted_progress
from eventbus.cli.tables import label, plain, print_rows
from eventbus.cli.target import plain_bus
from eventbus.subscription import check_group, check_pattern, overlap


@click.group()
def groups() -> None:
    """List, show, pause, resume and remove consumer groups."""


@groups.command("list")
@click.option("--type", "type", metavar="PATTERN", help="Only subscriptions that get events of these types.")
@click.option("--group", help="Only of this group.")
@click.option("--state", type=click.Choice(["active", "paused"]), help="Only of groups in this state.")
@paged()
@click.pass_context
def list_groups(
    ctx: click.Context,
    *,
    type: str | None,
    group: str | None,
    state: str | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List all groups and their subscriptions.

    \b
    Examples:
      eventbus groups list
      eventbus groups list --type order.created --json
    """
    if type is not None:
        check_pattern(type)
    if group is not None:
        check_group(group)
    found = [
        item
        for item in plain_bus(ctx).groups()
        if (type is None or overlap(item.pattern, type))
        and group in (None, item.group)
        and (state is None or item.paused == (state == "paused"))
    ]
    page, next = cut_page(found, lambda item: (item.group, item.pattern), limit=limit, cursor=cursor)
    names = ("group", "pattern", "handler", "queue", "paused", "last_seen_at")
    empty = "no group has subscribed yet: start a worker or run 'eventbus -A MODULE sync'."
    if type or group or state or cursor:
        empty = "no such subscription."
    print_page(page, list(map(attribute, names)), as_json=as_json, empty=empty, next=next)


@groups.command()
@click.argument("group")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def show(ctx: click.Context, group: str, *, as_json: bool) -> None:
    """Show the subscriptions, open deliveries and workers of GROUP.

    \b
    Examples:
      eventbus groups show inventory
      eventbus groups show inventory --json | jq .open
    """
    found = plain_bus(ctx).group_details(group)
    facts: dict[str, Any] = {
        "group": found.group.name,
        "queue": found.group.queue,
        "paused": found.group.paused,
        "paused_by": found.group.paused_by,
        "paused_at": found.group.paused_at,
        "owner": found.group.owner,
        "description": found.group.description,
        "open": dict(found.open),
        "due_since": found.group.due_since,
        "lag_seconds": round(found.group.lag.total_seconds(), 3),
        "workers": [f"{worker.name} ({worker.version})" for worker in found.workers],
    }
    if as_json:
        wishes = [{"pattern": wish.pattern, "handler": wish.handler, "policy": wish.policy} for wish in found.wishes]
        click.echo(json.dumps({**facts, "subscriptions": wishes}, default=plain))
        return
    states = ", ".join(f"{count:,} {state}" for state, count in found.open.items())
    for name, value in {**facts, "open": states or "nothing", "workers": ", ".join(facts["workers"]) or "none"}.items():
        click.echo(f"{label(name, 12)} {plain(value)}")
    columns = [attribute(name) for name in ("pattern", "handler", "created_at", "last_seen_at")]
    print_rows(found.wishes, columns, as_json=False, empty="no subscription.")


@groups.command()
@click.argument("group")
@click.pass_context
def pause(ctx: click.Context, group: str) -> None:
    """Stop workers from claiming deliveries of GROUP; running handlers finish, and events are still recorded.

    \b
    Example:
      eventbus groups pause inventory
    """
    changed = plain_bus(ctx).pause_group(group)
    click.echo(f"{group} is paused." if changed else f"{group} was paused before.")


@groups.command()
@click.argument("group")
@click.pass_context
def resume(ctx: click.Context, group: str) -> None:
    """Let workers claim deliveries of GROUP again; they start within two seconds.

    \b
    Example:
      eventbus groups resume inventory
    """
    changed = plain_bus(ctx).resume_group(group)
    click.echo(f"{group} goes on." if changed else f"{group} was not paused.")


@groups.command()
@click.argument("group")
@click.option("--pattern", help="Only this pattern of the group.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def remove(ctx: click.Context, group: str, *, pattern: str | None, yes: bool) -> None:
    """Unsubscribe GROUP and cancel its open deliveries.

    If a worker's code still declares the group, the worker subscribes it again when it starts.

    \b
    Examples:
      eventbus groups remove analytics
      eventbus groups remove analytics --pattern order.paid --yes
    """
    bus = plain_bus(ctx)
    count = bus.open_deliveries(group, pattern=pattern)
    what = f"{group}'s subscription to {pattern}" if pattern else f"group {group}"
    confirm(f"Remove {what} and cancel {count} open deliveries?", yes=yes)
    with (
        interruptible("ending with this batch ...") as stop,
        counted_progress(f"open deliveries of {group}", "deliveries", total=count) as show,
    ):
        cancelled = bus.remove_group(group, pattern=pattern, watch=lambda done: show(done, count), stop=stop)
    if stop.is_set() and cancelled < count:
        click.echo(
            f"interrupted: removed {what}; {cancelled:,} of {count:,} open deliveries were cancelled; the same command, or a "
            "worker's relay, cancels the others.",
            err=True,
        )
        raise click.exceptions.Exit(INTERRUPTED)
    click.echo(f"removed {what}; {cancelled} open deliveries cancelled.")
