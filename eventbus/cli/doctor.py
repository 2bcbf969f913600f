"""A check-up of the whole bus on the command line."""

import click

from eventbus.cli.app import NO, UNREACHABLE
from eventbus.cli.lists import as_json, attribute
from eventbus.cli.tables import plain, print_rows
from eventbus.cli.target import plain_bus
from eventbus.lifecycle.diagnosing import Level

_STYLES = {Level.OK: "green", Level.NOTICE: "yellow", Level.FAULT: "red"}


@click.command()
@click.option("--quiet", is_flag=True, help="Show only faults and notices.")
@as_json
@click.pass_context
def doctor(ctx: click.Context, *, quiet: bool, as_json: bool) -> None:
    """Check servers, tables, workers, groups, types, clocks and partitions: one line per finding, with what to do.

    Exits with 0 if there is no fault, with 1 if there is one, with 4 if PostgreSQL or the broker cannot be reached.
    A notice may be intended, such as a paused group.

    \b
    Examples:
      eventbus doctor
      eventbus doctor --quiet
      eventbus doctor --json | jq 'select(.level == "fault")'
    """
    found = [item for item in plain_bus(ctx).diagnose() if not quiet or item.level is not Level.OK]
    if as_json:
        columns = [attribute(name) for name in ("check", "level", "sentence", "advice")]
        print_rows(found, columns, as_json=True, empty="")
    else:
        for item in found:
            level = click.style(f"{item.level:6}", fg=_STYLES[item.level])
            advice = f" {item.advice}" if item.advice else ""
            click.echo(f"{level}  {item.check:12}  {plain(item.sentence)}{plain(advice)}")
    if any(item.level is Level.FAULT for item in found):
        raise click.exceptions.Exit(UNREACHABLE if any(item.is_away for item in found) else NO)
