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

    Idempotent, safe while workers run and from several hosts at once.

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
@click.option("--replace", is_flag=True, help="Let what is declared take the place of what it conflicts with.")
@click.pass_context
def sync(ctx: click.Context, *, replace: bool) -> None:
    """Write the subscriptions that an app declares to PostgreSQL.

    Workers do so when they start; a deploy may do so before, so that nothing published meanwhile is missed. Nothing is deleted:
    'eventbus groups remove' does that.

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

    Repairs lost messages and dead workers; waking a group for nothing does no harm.

    \b
    Example:
      eventbus sweep
    """
    sent = plain_bus(ctx).sweep()
    for group, count in sorted(sent.items()):
        click.echo(f"{group}  {count}")
    click.echo(f"{sum(sent.values())} wake-ups sent to {len(sent)} groups.")
