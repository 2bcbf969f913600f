"""Sweep: wake-ups that went missing, sent again."""

import click

from eventbus.cli.target import plain_bus


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
