"""Lists of schemas: what the registry holds, and what waits for code that can read it."""

import click

from eventbus.cli.lists import attribute, cut_page, paged, print_page
from eventbus.cli.tables import Column
from eventbus.cli.target import plain_bus
from eventbus.storage.schemas import StoredSchema
from eventbus.subscription import check_pattern, matches

_STATES = ("live", "deprecated", "retired")


@click.command("list")
@click.argument("type", metavar="[PATTERN]", required=False)
@click.option("--state", type=click.Choice(_STATES), help="Only versions in this state.")
@click.option("--owner", help="Only versions with this owner.")
@paged()
@click.pass_context
def list_all(
    ctx: click.Context,
    *,
    type: str | None,
    state: str | None,
    owner: str | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List the versions in the registry, of the types that match PATTERN or of all.

    \b
    Examples:
      eventbus schema list 'order.*'
      eventbus schema list --state deprecated --json
    """
    if type is not None:
        check_pattern(type)
    found = [
        each
        for each in plain_bus(ctx).stored_schemas()
        if (type is None or matches(type, each.type))
        and state in (None, state_of(each))
        and owner in (None, each.owner)
    ]
    page, next = cut_page(found, lambda each: (each.type, each.version), limit=limit, cursor=cursor)
    columns = [
        attribute("type"),
        attribute("version"),
        Column("compatibility", lambda each: _mode(each, as_json=as_json)),
        Column("state", state_of),
        attribute("owner"),
        Column("fingerprint", lambda each: each.wire_fingerprint[:12]),
        attribute("registered_at"),
        attribute("description"),
    ]
    empty = "no schema is registered: start a service or run 'schema push'."
    if type or state or owner or cursor:
        empty = "no such schema."
    print_page(page, columns, as_json=as_json, empty=empty, next=next)


@click.command()
@click.option("--group", help="Only of this group.")
@click.option("--type", "type", metavar="PATTERN", help="Only of types that match this pattern.")
@paged()
@click.pass_context
def parked(
    ctx: click.Context, *, group: str | None, type: str | None, limit: int, cursor: str | None, as_json: bool
) -> None:
    """List parked deliveries: they wait for code that can read the version of their event.

    \b
    Examples:
      eventbus schema parked
      eventbus schema parked --group billing --type 'order.*' --json
    """
    if type is not None:
        check_pattern(type)
    found = [each for each in plain_bus(ctx).parked(group) if type is None or matches(type, each.type)]
    page, next = cut_page(found, lambda each: (each.group, each.type, each.version), limit=limit, cursor=cursor)
    columns = list(map(attribute, ("group", "type", "version", "deliveries", "since", "oldest_event", "reason")))
    print_page(page, columns, as_json=as_json, empty="nothing is parked.", next=next)


def state_of(each: StoredSchema) -> str:
    """Whether that version is live, deprecated or retired."""
    if each.is_retired:
        return "retired"
    return "deprecated" if each.deprecation else "live"


def _mode(each: StoredSchema, *, as_json: bool) -> str:
    """The mode; the one that checks nothing stands out to a reader."""
    return "NONE (unchecked!)" if each.compatibility == "NONE" and not as_json else each.compatibility
