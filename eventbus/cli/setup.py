"""Setting up: tables, subscriptions, and wake-ups that went missing."""

import click

from eventbus.cli.target import app_bus, plain_bus
from eventbus.lifecycle.auditing import audited
from eventbus.storage.migrations import upgrade
from eventbus.storage.revision import HEAD


@click.command()
@click.pass_context
def migrate(ctx: click.Context) -> None:
    """Create or upgrade the tables in PostgreSQL.

    You may repeat it, run it while workers run, and run it from several hosts at once.

    \b
    Example:
      eventbus migrate
    """
    bus = plain_bus(ctx)
    settings = bus.settings
    before = upgrade(settings.database_url, settings.schema)
    if before == HEAD:
        click.echo(f"schema {settings.schema!r} is at revision {HEAD} already.")
        return
    # Only now is there a table to write to.
    with audited(bus.database, "migrate", {"from": before, "to": HEAD}):
        click.echo(f"schema {settings.schema!r} upgraded from {before or 'nothing'} to revision {HEAD}.")


@click.command()
@click.option(
    "--replace", is_flag=True, help="Replace the subscriptions that conflict with those that the app declares."
)
@click.pass_context
def sync(ctx: click.Context, *, replace: bool) -> None:
    """Write the subscriptions that an app declares to PostgreSQL.

    Workers do this when they start. Do it before a deploy, so that the groups miss no event that is published
    meanwhile. This deletes nothing: 'eventbus groups remove' does.

    \b
    Examples:
      eventbus -A workers.app sync
      eventbus -A workers.app sync --replace     # order.* takes the place of order.created
    """
    bus = app_bus(ctx, with_handlers=True)
    bus.sync(replace=replace)
    declared = sorted((item.group, item.pattern, item.handler_name) for item in bus.subscriptions)
    for group, pattern, handler in declared:
        click.echo(f"{group}  {pattern}  {handler}")
    click.echo(f"{len(declared)} subscriptions of {len(bus.subscriptions.groups())} groups are in PostgreSQL.")


@click.command()
@click.pass_context
def sweep(ctx: click.Context) -> None:
    """Wake the groups that have due deliveries.

    This repairs what lost messages and dead workers leave behind. It does no harm if nothing is to be done.

    \b
    Example:
      eventbus sweep
    """
    sent = plain_bus(ctx).sweep()
    for group, count in sorted(sent.items()):
        click.echo(f"{group}  {count}")
    click.echo(f"{sum(sent.values())} wake-ups sent to {len(sent)} groups.")
