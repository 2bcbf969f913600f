"""What dead letters have in common, on the command line: parts of `eventbus dead`."""

import click

from eventbus.cli.lists import attribute, paged, print_page
from eventbus.cli.tables import Column
from eventbus.cli.target import plain_bus
from eventbus.lifecycle.fingerprinting import STATES

_note = click.option("--note", help="Stored with it, replacing the note before.")


@click.command()
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--group", help="Only of this group.")
@paged()
@click.pass_context
def fingerprints(
    ctx: click.Context, /, *, state: str | None, group: str | None, limit: int, cursor: str | None, as_json: bool
) -> None:
    """List the causes of dead letters, the last seen first: one line per cause, however many letters it has.

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


@click.command()
@click.argument("fingerprint")
@_note
@click.pass_context
def acknowledge(ctx: click.Context, /, *, fingerprint: str, note: str | None) -> None:
    """Record that somebody looks after the cause with FINGERPRINT.

    \b
    Examples:
      eventbus dead acknowledge 3f2a9c0d1b7e4856 --note 'Ann looks after it'
    """
    plain_bus(ctx).acknowledge_fingerprint(fingerprint, note=note)


@click.command()
@click.argument("fingerprint")
@_note
@click.pass_context
def resolve(ctx: click.Context, /, *, fingerprint: str, note: str | None) -> None:
    """Record that the cause with FINGERPRINT is fixed: its next dead letter means that it has returned.

    \b
    Examples:
      eventbus dead resolve 3f2a9c0d1b7e4856 --note 'fixed in 2.4.1'
    """
    plain_bus(ctx).resolve_fingerprint(fingerprint, note=note)
