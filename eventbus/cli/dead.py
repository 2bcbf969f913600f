"""Dead letters on the command line."""

import json
from typing import Any

import click

from eventbus.cli.app import NO
from eventbus.cli.asking import confirm
from eventbus.cli.lists import attribute, paged, print_page
from eventbus.cli.tables import Column, plain
from eventbus.cli.target import plain_bus
from eventbus.lifecycle.dead_lettering import STATUSES
from eventbus.lifecycle.fingerprinting import STATES

_fingerprint = click.option("--fingerprint", help="Only of this cause, as 'eventbus dead fingerprints' lists them.")
_note = click.option("--note", help="Kept with it in the place of the one before.")


@click.group()
def dead() -> None:
    """List, show, retry, discard and restore dead letters, and what they have in common: their fingerprints."""


@dead.command("list")
@click.option("--type", "type_", metavar="TYPE", help="Only of this event type.")
@click.option("--group", help="Only of this group.")
@click.option("--error-type", help="Only with this exception, as ValueError or shop.errors.Refused.")
@_fingerprint
@click.option("--status", type=click.Choice([*STATUSES, "all"]), default="open", show_default=True)
@paged(cursor=click.INT)
@click.pass_context
def list_letters(
    ctx: click.Context,
    *,
    type_: str | None,
    group: str | None,
    error_type: str | None,
    fingerprint: str | None,
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
        fingerprint=fingerprint,
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
    """Show dead letter ID: the event, every attempt, the traceback."""
    bus = plain_bus(ctx)
    details = bus.dead_letter(id)
    letter, event = vars(details.letter), bus.shown(details.event)
    if as_json:
        attempts = [vars(attempt) for attempt in details.attempts]
        click.echo(json.dumps({**letter, "event": event.as_json(), "attempts_made": attempts}, default=plain))
        return
    facts = (
        "id",
        "status",
        "group",
        "type",
        "event_id",
        "attempts",
        "deaths",
        "fingerprint",
        "failed_at",
        "resolved_at",
    )
    for name in (*facts, "note"):
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
@_fingerprint
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def retry(
    ctx: click.Context,
    ids: tuple[int, ...],
    *,
    group: str,
    type_: str | None,
    error_type: str | None,
    fingerprint: str | None,
    yes: bool,
) -> None:
    """Run the deliveries of a group's open dead letters again, as if new: those of the IDs, or all that match."""
    bus = plain_bus(ctx)
    meant = _meant(ids, type=type_, group=group, error_type=error_type, fingerprint=fingerprint)
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
@_fingerprint
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
    fingerprint: str | None,
    yes: bool,
) -> None:
    """Give up a group's open dead letters for good: those of the IDs, or all that match."""
    bus = plain_bus(ctx)
    meant = _meant(ids, type=type_, group=group, error_type=error_type, fingerprint=fingerprint)
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


@dead.command()
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--group", help="Only of this group.")
@paged()
@click.pass_context
def fingerprints(
    ctx: click.Context, *, state: str | None, group: str | None, limit: int, cursor: str | None, as_json: bool
) -> None:
    """List what dead letters have in common, the last seen first: a line for each cause, however many letters it has.

    \b
    Examples:
      eventbus dead fingerprints --state new
      eventbus dead list --status all --fingerprint 3f2a9c0d1b7e4856
    """
    page = plain_bus(ctx).fingerprints(state=state, group=group, cursor=cursor, limit=limit)
    groups = attribute("groups") if as_json else Column("groups", lambda item: ", ".join(item.groups))
    columns = [
        *map(attribute, ("fingerprint", "state", "open", "occurrences", "error_type", "gist", "place")),
        groups,
        *map(attribute, ("first_seen_at", "last_seen_at", "state_since", "newest_id", "note")),
    ]
    print_page(page.items, columns, as_json=as_json, empty="no fingerprints.", next=page.next)


@dead.command()
@click.argument("fingerprint")
@_note
@click.pass_context
def acknowledge(ctx: click.Context, fingerprint: str, *, note: str | None) -> None:
    """State that somebody looks after FINGERPRINT."""
    plain_bus(ctx).acknowledge_fingerprint(fingerprint, note=note)


@dead.command()
@click.argument("fingerprint")
@_note
@click.pass_context
def resolve(ctx: click.Context, fingerprint: str, *, note: str | None) -> None:
    """State that the cause of FINGERPRINT is mended: the next dead letter of it means that it has returned."""
    plain_bus(ctx).resolve_fingerprint(fingerprint, note=note)


def _meant(ids: tuple[int, ...], **filters: str | None) -> dict[str, Any]:
    return {**filters, "ids": ids or None}
