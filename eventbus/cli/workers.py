"""Workers on the command line: which live, and what they serve."""

import socket

import click

from eventbus.cli.lists import attribute, cut_page, paged, print_page
from eventbus.cli.tables import Column
from eventbus.cli.target import plain_bus
from eventbus.subscription import check_group


@click.command()
@click.option("--group", help="Only those that serve this group.")
@click.option("--here", is_flag=True, help="Only those on this host, which is this container.")
@paged()
@click.pass_context
def workers(
    ctx: click.Context, *, group: str | None, here: bool, limit: int, cursor: str | None, as_json: bool
) -> None:
    """List the workers that had a heartbeat in the last 30 seconds, and the groups that they serve.

    \b
    Examples:
      eventbus workers
      eventbus workers --group inventory --json | jq -r .name
    """
    if group is not None:
        check_group(group)
    found = [
        item
        for item in plain_bus(ctx).workers()
        if (group is None or group in item.groups) and (not here or item.host == socket.gethostname())
    ]
    page, next = cut_page(found, lambda item: (item.name, str(item.id)), limit=limit, cursor=cursor)
    groups = attribute("groups") if as_json else Column("groups", lambda item: ", ".join(item.groups) or "none")
    names = ("name", "host", "pid", "pool", "concurrency", "version")
    columns = [*map(attribute, names), groups, *map(attribute, ("started_at", "seen_at", "id"))]
    print_page(
        page,
        columns,
        as_json=as_json,
        empty="no such worker is running." if group or here else "no worker is running.",
        next=next,
    )
