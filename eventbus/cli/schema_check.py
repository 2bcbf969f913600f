"""`eventbus schema check`: would what code declares break somebody? Asked offline, of the registry, or of all stored events."""

from datetime import date
from pathlib import Path

import click

from eventbus.bus import EventBus
from eventbus.cli.app import CANNOT_TELL, INTERRUPTED, NO
from eventbus.cli.interrupting import interruptible
from eventbus.cli.lists import Command, with_options
from eventbus.cli.schema_files import load_snapshot, write_file
from eventbus.cli.schema_history import history_as_json, history_as_text, show_history_progress
from eventbus.cli.schema_reports import FORMATS
from eventbus.cli.target import app_bus
from eventbus.lifecycle.schema_checking import Status, check_declared
from eventbus.lifecycle.schema_history import check_history
from eventbus.lifecycle.schema_registration import today
from eventbus.lifecycle.schema_snapshots import take_snapshot
from eventbus.schemas.acceptance import Acceptance
from eventbus.schemas.findings import Rule


def accepting(command: Command) -> Command:
    """The options by which somebody answers for a kind of problem."""
    return with_options(
        command,
        click.option(
            "--accept", multiple=True, metavar="RULE", help="Accept problems of this rule; TYPE:RULE for one type."
        ),
        click.option("--until", metavar="DATE", help="The last day on which they are accepted, such as 2026-12-31."),
        click.option("--reason", help="Why; stored with the registered version."),
    )


def acceptances(accept: tuple[str, ...], until: str | None, reason: str | None) -> list[Acceptance]:
    """What the options say; on stderr, that they say nothing any more.

    Raises:
        UsageError: They say too little, or name no rule or no day.
    """
    if not accept:
        if until or reason:
            raise click.UsageError("--until and --reason belong to --accept.")
        return []
    if not until or not (reason or "").strip():
        raise click.UsageError("--accept needs --until DATE and --reason TEXT.")
    try:
        day = date.fromisoformat(until)
    except ValueError:
        raise click.UsageError(f"--until {until!r} is no day: write it as 2026-12-31.") from None
    if day < today():
        # No error: what was accepted is registered by now, most often, and the command stands in a pipeline.
        click.echo(
            f"eventbus: --accept lets nothing pass any more: its last day was {day}; give a later --until, or leave it out.",
            err=True,
        )
    found = []
    for text in accept:
        type, _, rule = text.rpartition(":")
        if rule not in list(Rule):
            raise click.UsageError(f"{rule!r} is no rule: those that exist are {', '.join(Rule)}.")
        found.append(Acceptance(rule=Rule(rule), until=day, reason=str(reason), type=type or None))
    return found


@click.command()
@click.option(
    "--snapshot",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Check against this file, written by 'schema snapshot', instead of the registry.",
)
@click.option("--history", is_flag=True, help="Try each type's newest version on all of its stored events.")
@click.option("--type", "types", multiple=True, help="With --history: only this type; may be repeated.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the report to this file.")
@accepting
@click.pass_context
def check(
    ctx: click.Context,
    *,
    snapshot: Path | None,
    history: bool,
    types: tuple[str, ...],
    form: str,
    output: Path | None,
    accept: tuple[str, ...],
    until: str | None,
    reason: str | None,
) -> None:
    """Check the schemas that an app declares; this changes nothing.

    Exits with 0 if they break nobody, with 1 if they do, with 3 if nobody can tell.

    \b
    Examples:
      eventbus -A shop.app schema check --snapshot schemas.json --format github
      eventbus -A shop.app schema check --accept required-missing --until 2026-12-31 --reason 'only our team reads it'
      eventbus -A shop.app schema check --history --type order.created
    """
    answers = acceptances(accept, until, reason)
    bus = app_bus(ctx, with_handlers=True)
    if history:
        if snapshot is not None or form not in ("text", "json"):
            raise click.UsageError("--history reads the database, and reports as text or json.")
        if answers:
            raise click.UsageError(
                "--accept is for problems between versions: --history tries stored events, and nothing lets them pass."
            )
        _check_history(bus, types, form=form, output=output)
        return
    if types:
        raise click.UsageError("--type is for --history: without it, all types that the app declares are checked.")
    base = load_snapshot(snapshot) if snapshot is not None else take_snapshot(bus.database)
    found = check_declared(bus.schemas, base, acceptances=answers)
    _say(FORMATS[form](found), output)
    statuses = {each.status for each in found}
    if statuses & {Status.BREAKING, Status.EDITED}:
        raise click.exceptions.Exit(NO)
    if Status.CANNOT_TELL in statuses:
        raise click.exceptions.Exit(CANNOT_TELL)


def _check_history(bus: EventBus, types: tuple[str, ...], *, form: str, output: Path | None) -> None:
    chosen = list(types) or bus.schemas.types()
    unknown = [type for type in chosen if type not in bus.schemas.types()]
    if unknown:
        raise click.UsageError(f"the app declares no schema of {', '.join(unknown)}.")
    with interruptible("ending with this batch ...") as stop, show_history_progress() as watch:
        found = [
            check_history(bus.database, bus.catalog, type, hidden=bus.settings.redact, watch=watch, stop=stop)
            for type in chosen
        ]
    _say(history_as_json(found) if form == "json" else history_as_text(found), output)
    if any(each.failed for each in found):
        raise click.exceptions.Exit(NO)
    if not all(each.is_complete for each in found):
        raise click.exceptions.Exit(INTERRUPTED)


def _say(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        write_file(output, text)
