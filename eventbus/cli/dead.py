"""Dead letters on the command line."""

import json
from typing import Any

import click

from eventbus.cli.app import NO
from eventbus.cli.asking import confirm
from eventbus.cli.lists import attribute, paged, print_page
from eventbus.cli.tables import plain
from eventbus.cli.target import plain_bus
from eventbus.lifecycle.dead_lettering import STATUSES


@click.group()
def dead() -> None:
    """List, show, retry, discard and restore dead letters."""


@dead.command("list")
@click.option("--type", "type_", metavar="TYPE", help="Only of this event type.")
@click.option("--group", help="Only of this group.")
@click.option("--error-type", help="Only with this exception, as ValueError or shop.errors.Refused.")
@click.option("--status", type=click.Choice([*STATUSES, "all"]), default="open", show_default=True)
@paged(cursor=click.INT)
@click.pass_context
def list_letters(
    ctx: click.Context,
    *,
    type_: str | None,
    group: str | None,
    error_type: str | None,
    status: str,
    limit: int,
    cursor: int | None,
    as_json: bool,
) -> None:
    """List dead letters, newest first."""
    page = plain_bus(ctx).dead_letters(
        type_,
        group=group,
        error_type=error_type,
        status=None if status == "all" else status,
        cursor=cursor,
        limit=limit,
    )
    columns = (
        "id",
        "group",
        "type",
        "event_id",
        "attempts",
        "deaths",
        "error_type",
        "error_message",
        "failed_at",
        "status",
    )
    print_page(page.items, list(map(attribute, columns)), as_json=as_json, empty="no dead letters.", next=page.next)


@dead.command()
@click.argument("id", type=int)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def show(ctx: click.Context, id: int, *, as_json: bool) -> None:
    """Show dead letter ID: the event, every attempt, the traceback."""
    bus = plain_bus(ctx)
    details = bus.dead_letter(id)
    letter, event = vars(details.letter), bus.shown(details.event)
    if as_json:
        attempts = [vars(attempt) for attempt in details.attempts]
        click.echo(json.dumps({**letter, "event": event.as_json(), "attempts_made": attempts}, default=plain))
        return
    for name in ("id", "status", "group", "type", "event_id", "attempts", "deaths", "failed_at", "resolved_at", "note"):
        click.echo(f"{name.replace('_', ' '):12} {plain(letter[name])}")
    click.echo(f"{'correlation':12} {event.correlation_id}")
    for attempt in details.attempts:
        what = f"{attempt.error_type}: {attempt.error_message}".splitlines()[0]
        click.echo(f"attempt {attempt.number:<4} {plain(attempt.failed_at)}  {plain(what)}")
    click.echo(f"data         {plain(json.dumps(event.data, ensure_ascii=False))}")
    click.echo(plain(details.letter.traceback))


@dead.command()
@click.argument("ids", type=int, nargs=-1, metavar="[ID]...")
@click.option("--group", required=True)
@click.option("--type", "type_", metavar="TYPE", help="Only of this event type.")
@click.option("--error-type", help="Only with this exception.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def retry(
    ctx: click.Context, ids: tuple[int, ...], *, group: str, type_: str | None, error_type: str | None, yes: bool
) -> None:
    """Run the deliveries of a group's open dead letters again, as if new: those of the IDs, or all that match."""
    bus = plain_bus(ctx)
    meant: dict[str, Any] = {"type": type_, "group": group, "ids": ids or None, "error_type": error_type}
    frozen = bus.freeze_dead_letters(**meant)
    confirm(f"Retry {frozen.count:,} dead letters of {group}?", yes=yes)
    count = bus.retry_dead_letters(**meant, frozen=frozen)
    click.echo(f"{count} dead letters retried.")


@dead.command()
@click.argument("ids", type=int, nargs=-1, metavar="[ID]...")
@click.option("--group", required=True)
@click.option("--reason", required=True, help="Kept with the dead letters.")
@click.option("--type", "type_", metavar="TYPE", help="Only of this event type.")
@click.option("--error-type", help="Only with this exception.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def discard(
    ctx: click.Context,
    ids: tuple[int, ...],
    *,
    group: str,
    reason: str,
    type_: str | None,
    error_type: str | None,
    yes: bool,
) -> None:
    """Give up a group's open dead letters for good: those of the IDs, or all that match."""
    bus = plain_bus(ctx)
    meant: dict[str, Any] = {"type": type_, "group": group, "ids": ids or None, "error_type": error_type}
    frozen = bus.freeze_dead_letters(**meant)
    confirm(f"Discard {frozen.count:,} dead letters of {group}?", yes=yes)
    count = bus.discard_dead_letters(**meant, reason=reason, frozen=frozen)
    click.echo(f"{count} dead letters discarded.")


@dead.command()
@click.argument("ids", type=int, nargs=-1, metavar="ID...", required=True)
@click.pass_context
def restore(ctx: click.Context, ids: tuple[int, ...]) -> None:
    """Open discarded dead letters again, so that they can be retried.

    One whose delivery was replayed since is left as it is.
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
    """Keep TEXT with dead letter ID, such as who looks after it."""
    plain_bus(ctx).note_dead_letter(id, text)
