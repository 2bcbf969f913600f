"""Health checks, as docker-compose and Kubernetes run them: the exit code is the answer."""

import json
import socket

import click

from eventbus.cli.app import NO, OK, UNREACHABLE
from eventbus.cli.target import plain_bus
from eventbus.lifecycle.health import Health, Verdict
from eventbus.subscription import check_group

_CODES = {Verdict.OK: OK, Verdict.UNFIT: NO, Verdict.UNREACHABLE: UNREACHABLE}


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def health(ctx: click.Context, *, as_json: bool) -> None:
    """Check that PostgreSQL has the tables and takes writes, and that the broker takes messages.

    Exits with 0 if all of it holds, with 1 if PostgreSQL lacks the tables that this code needs or is read-only, or the
    broker refuses, with 4 if a server cannot be reached.

    \b
    Examples:
      eventbus health
      eventbus health worker inventory        # does any worker serve it?
      eventbus health worker --here           # does one on this host serve anything?
    """
    if ctx.invoked_subcommand is not None:
        return
    found = plain_bus(ctx).health()
    if as_json:
        click.echo(json.dumps(_as_json(found)))
    else:
        for name, answer in (("database", found.database), ("broker", found.broker)):
            click.echo(f"{name}  {answer.verdict}" + (f": {answer.reason}" if answer.reason else ""))
    raise click.exceptions.Exit(_CODES[found.verdict])


@health.command()
@click.argument("groups", nargs=-1, metavar="[GROUP]...")
@click.option("--here", is_flag=True, help="Only workers on this host, which is this container.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def worker(ctx: click.Context, groups: tuple[str, ...], *, here: bool, as_json: bool) -> None:
    """Check that a living worker serves each GROUP, or any group if none is named.

    Exits with 0 if so, else with 1. Workers say that they live every 5 seconds, in PostgreSQL; one that was silent for 30 is
    taken for dead. The broker is not asked.

    \b
    Examples:
      eventbus health worker inventory
      eventbus health worker --here
    """
    for name in groups:
        check_group(name)
    found = plain_bus(ctx).live_workers(*groups, host=socket.gethostname() if here else None)
    healthy = bool(found) and all(found.values())
    names = {group: [worker.name for worker in workers] for group, workers in found.items()}
    if as_json:
        click.echo(json.dumps({"healthy": healthy, "groups": names}))
    else:
        for group, workers in names.items():
            click.echo(f"{group}  {', '.join(workers) or 'no worker'}")
        if not found:
            click.echo("no worker serves any group.")
    raise click.exceptions.Exit(OK if healthy else NO)


def _as_json(found: Health) -> dict[str, object]:
    return {
        "healthy": found.verdict is Verdict.OK,
        **{
            name: {"verdict": answer.verdict, "reason": answer.reason}
            for name, answer in (("database", found.database), ("broker", found.broker))
        },
    }
