"""Sync: the subscriptions that an app declares, written to PostgreSQL before its workers start."""

import click

from eventbus.cli.target import app_bus


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
