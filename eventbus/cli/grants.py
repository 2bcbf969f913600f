"""Least privilege, printed for whoever owns the database."""

import click

from eventbus.cli.target import plain_bus
from eventbus.storage.grants import ROLES, describe


@click.command()
@click.argument("roles", nargs=-1, type=click.Choice(ROLES), metavar="[ROLE]...")
@click.option("--prefix", default="eventbus", show_default=True, help="Roles are called PREFIX_ROLE.")
@click.pass_context
def grants(ctx: click.Context, roles: tuple[str, ...], *, prefix: str) -> None:
    """Print, but do not run, the SQL that creates roles with least privilege: publisher, worker, viewer, operator.

    Run it as the owner of the tables, after each migration; it is safe to run again. Then let a user log in with the role, as in
    GRANT eventbus_worker TO inventory_service.

    \b
    Examples:
      eventbus grants | psql "$EVENTBUS_DATABASE_URL"
      eventbus grants publisher viewer
    """
    if not prefix.replace("_", "a").isalnum():
        raise click.UsageError(f"--prefix {prefix!r:.60} is not a name: use letters, digits and '_'.")
    click.echo(describe(roles or ROLES, schema=plain_bus(ctx).settings.schema, prefix=prefix))
