"""Dead letters on the command line."""

import json
import threading
from collections.abc import Callable
from typing import Any

import click

from eventbus.cli.app import INTERRUPTED, NO
from eventbus.cli.asking import confirm
from eventbus.cli.fingerprints import acknowledge, fingerprints, resolve
from eventbus.cli.interrupting import interruptible
from eventbus.cli.lists import Command, attribute, paged, print_page, timed, with_options
from eventbus.cli.progress import counted_progress
from eventbus.cli.tables import label, plain
from eventbus.cli.target import plain_bus
from eventbus.lifecycle.dead_lettering import STATUSES
from eventbus.lifecycle.resolving import Frozen, Progress, Resolving, Watch, check_reason


@click.group()
def dead() -> None:
    """List, show, retry, discard and restore dead letters, and what they have in common: their fingerprints."""


for command in (fingerprints, acknowledge, resolve):
    dead.add_command(command)


def _sought(command: Command) -> Command:
    """The options that say which dead letters, beside --group."""
    return with_options(
        command,
        click.option(
            "--type", "type", metavar="PATTERN", help="Only of this event type, or of types that match this pattern."
        ),
        click.option("--error-type", help="Only with this exception, such as ValueError or shop.errors.Refused."),
        click.option("--error", metavar="TEXT", help="Only if the error's message contains TEXT."),
        click.option("--fingerprint", help="Only of this cause, as 'eventbus dead fingerprints' lists them."),
        click.option("--correlation-id", help="Only of events of this story."),
        timed,
    )


@dead.command("list")
@click.option("--group", help="Only of this group.")
@_sought
@click.option("--status", type=click.Choice([*STATUSES, "all"]), default="open", show_default=True)
@paged(cursor=click.INT)
@click.pass_context
def list_letters(
    ctx: click.Context, /, *, status: str, limit: int, cursor: int | None, as_json: bool, **sought: Any
) -> None:
    """List dead letters, newest first; --since and --until are about when they were given up.

    \b
    Examples:
      eventbus dead list --group notification
      eventbus dead list --type 'order.*' --since '2h ago' --error timeout --json
    """
    shown_status = None if status == "all" else status
    page = plain_bus(ctx).dead_letters(**sought, status=shown_status, cursor=cursor, limit=limit)
    columns = (
        "id",
        "group",
        "type",
        "event_id",
        "attempts",
        "deaths",
        "error_type",
        "error_message",
        "fingerprint",
        "failed_at",
        "status",
    )
    print_page(page.items, list(map(attribute, columns)), as_json=as_json, empty="no dead letters.", next=page.next)


@dead.command()
@click.argument("id", type=int)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def show(ctx: click.Context, id: int, *, as_json: bool) -> None:
    """Show dead letter ID: the event, every attempt, the traceback.

    \b
    Examples:
      eventbus dead show 17
      eventbus dead show 17 --json | jq -r .traceback
    """
    details = plain_bus(ctx).dead_letter(id)
    letter, event = vars(details.letter), details.event
    if as_json:
        attempts = [vars(attempt) for attempt in details.attempts]
        click.echo(json.dumps({**letter, "event": event.as_json(), "attempts_made": attempts}, default=plain))
        return
    for name in (
        "id",
        "status",
        "group",
        "type",
        "event_id",
        "attempts",
        "deaths",
        "failed_at",
        "fingerprint",
        "resolved_at",
        "note",
    ):
        click.echo(f"{label(name, 12)} {plain(letter[name])}")
    click.echo(f"{label('correlation', 12)} {event.correlation_id}")
    for attempt in details.attempts:
        what = f"{attempt.error_type}: {attempt.error_message}".splitlines()[0]
        click.echo(f"attempt {attempt.number:<4} {plain(attempt.failed_at)}  {plain(what)}")
    click.echo(f"{label('data', 12)} {plain(json.dumps(event.data, ensure_ascii=False))}")
    click.echo(plain(details.letter.traceback))


@dead.command()
@click.argument("ids", type=int, nargs=-1, metavar="[ID]...")
@click.option("--group", required=True)
@_sought
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def retry(ctx: click.Context, /, *, yes: bool, **sought: Any) -> None:
    """Run the deliveries of a group's open dead letters again, as if new: those with the IDs, or all that match.

    Exactly the counted dead letters are retried, not those that arrive later. Ctrl-C stops it between two batches.

    \b
    Examples:
      eventbus dead retry 17 18 --group notification
      eventbus dead retry --group notification --type 'order.*' --error-type ValueError --yes
    """
    resolving, frozen = _frozen(ctx, sought)
    confirm(f"Retry {frozen.count:,} dead letters of {frozen.sought.group}?", yes=yes)
    _carry_out(frozen, lambda watch, stop: resolving.retry(frozen, watch=watch, stop=stop), "retried")


@dead.command()
@click.argument("ids", type=int, nargs=-1, metavar="[ID]...")
@click.option("--group", required=True)
@click.option("--reason", required=True, help="Stored with the dead letters.")
@_sought
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def discard(ctx: click.Context, /, *, reason: str, yes: bool, **sought: Any) -> None:
    """Give up a group's open dead letters: those with the IDs, or all that match.

    Exactly the counted dead letters are discarded, not those that arrive later. Ctrl-C stops it between two batches.

    \b
    Examples:
      eventbus dead discard 17 --group notification --reason 'a test order'
      eventbus dead discard --group notification --until '30d ago' --reason 'nobody needs them any more' --yes
    """
    check_reason(reason)
    resolving, frozen = _frozen(ctx, sought)
    confirm(f"Discard {frozen.count:,} dead letters of {frozen.sought.group}?", yes=yes)
    _carry_out(
        frozen, lambda watch, stop: resolving.discard(frozen, reason=reason, watch=watch, stop=stop), "discarded"
    )


@dead.command()
@click.argument("ids", type=int, nargs=-1, metavar="ID...", required=True)
@click.pass_context
def restore(ctx: click.Context, ids: tuple[int, ...]) -> None:
    """Reopen discarded dead letters, so that they can be retried.

    A dead letter whose delivery was replayed since counts as retried, and stays so.

    \b
    Example:
      eventbus dead restore 17
    """
    count = plain_bus(ctx).restore_dead_letters(ids)
    click.echo(f"{count} dead letters restored.")
    if count < len(set(ids)):
        raise click.exceptions.Exit(NO)


@dead.command()
@click.argument("id", type=int)
@click.argument("text")
@click.pass_context
def note(ctx: click.Context, id: int, text: str) -> None:
    """Store TEXT with dead letter ID, such as who looks after it.

    \b
    Example:
      eventbus dead note 17 'Ann looks after it'
    """
    plain_bus(ctx).note_dead_letter(id, text)


def _frozen(ctx: click.Context, sought: dict[str, Any]) -> tuple[Resolving, Frozen]:
    bus = plain_bus(ctx)
    return bus.resolving, bus.freeze_dead_letters(**{**sought, "ids": sought["ids"] or None})


def _answer_for_the_rest(frozen: Frozen) -> None:
    """Let nobody who mistypes an id believe that it was dealt with."""
    if left := sorted(set(frozen.sought.ids or ()) - set(frozen.ids)):
        which = ", ".join(map(str, left))
        click.echo(f"not among the open dead letters of {frozen.sought.group} that match: {which}.", err=True)
        raise click.exceptions.Exit(NO)


def _carry_out(frozen: Frozen, work: Callable[[Watch, threading.Event], Progress], done: str) -> None:
    """Do *work*, showing how it goes; Ctrl-C ends it between two batches."""
    with (
        interruptible("ending with this batch ...") as stop,
        counted_progress(f"dead letters of {frozen.sought.group}", "dead letters", total=frozen.count) as show,
    ):
        left = work(lambda progress: show(progress.seen, progress.total), stop)
    if left.is_complete:
        click.echo(f"{left.changed} dead letters {done}.")
        if left.left:
            group = frozen.sought.group
            unwanted = f"no subscription of {group} takes their types now, or " if done == "retried" else ""
            why = f"{unwanted}somebody else held them"
            click.echo(
                f"{left.left} of them are open still: {why}. 'eventbus dead list --group {group}' shows them.", err=True
            )
        _answer_for_the_rest(frozen)
        if left.left:
            raise click.exceptions.Exit(NO)
        return
    click.echo(
        f"interrupted: {left.changed:,} of {left.total:,} dead letters were {done}, the others are as they were.",
        err=True,
    )
    raise click.exceptions.Exit(INTERRUPTED)
