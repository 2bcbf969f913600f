"""Migrate: the tables in PostgreSQL, brought to the revision of this code. The one command that needs Alembic."""

import click

from eventbus.cli.target import plain_bus
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
