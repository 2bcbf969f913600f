"""Schemas on the command line: the registry, what code declares, and what lies between them."""

import json
from pathlib import Path

import click

from eventbus.cli.app import CANNOT_TELL, NO
from eventbus.cli.asking import confirm
from eventbus.cli.schema_check import acceptances, accepting, check
from eventbus.cli.schema_export import export
from eventbus.cli.schema_files import find_version, load_snapshot, snapshot_with_code, write_or_compare
from eventbus.cli.schema_lists import list_all, parked, state_of
from eventbus.cli.schema_reports import problem_as_json
from eventbus.cli.target import app_bus, plain_bus
from eventbus.errors import IncompatibleSchema, SchemaEditedInPlace
from eventbus.lifecycle.schema_comparing import compare
from eventbus.lifecycle.schema_snapshots import take_snapshot, with_declared, write_snapshot
from eventbus.schemas.assessment import Assessment


@click.group()
def schema() -> None:
    """Check, register, show and export the schemas of events.

    \b
    Examples:
      eventbus -A shop.app schema check --snapshot schemas.json      # in CI, without a database
      eventbus -A shop.app schema check --history                    # on all stored events
      eventbus -A shop.app schema push                               # a deploy's own step
      eventbus schema list
    """


schema.add_command(check)
schema.add_command(export)
schema.add_command(list_all)
schema.add_command(parked)


@schema.command()
@click.argument("type")
@click.argument("version", type=int, required=False)
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
@click.pass_context
def show(ctx: click.Context, type: str, version: int | None, *, as_json: bool) -> None:
    """Show one version of TYPE, the newest by default, and who reads it.

    \b
    Examples:
      eventbus schema show order.created
      eventbus schema show order.created 2 --json | jq .json_schema
    """
    snapshot = take_snapshot(plain_bus(ctx).database)
    found = find_version(snapshot, type, version)
    groups = [{"group": each.group, "version": each.version, "reads": each.reads} for each in snapshot.contracts(type)]
    facts = {
        "type": found.type,
        "version": found.version,
        "compatibility": found.compatibility,
        "state": state_of(found),
        "owner": found.owner,
        "description": found.description,
        "deprecation": found.deprecation,
        "changelog": found.changelog,
        "accepted": list(found.accepted),
        "registered_by": found.registered_by,
        "registered_at": found.registered_at.isoformat() if found.registered_at else None,
        "fingerprint": found.wire_fingerprint,
        "groups": groups,
    }
    if as_json:
        click.echo(json.dumps({**facts, "json_schema": found.json_schema}, ensure_ascii=False))
        return
    for name, value in facts.items():
        if value not in (None, [], ""):
            click.echo(f"{name}: {value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)}")
    click.echo(json.dumps(found.json_schema, indent=2, ensure_ascii=False))


@schema.command()
@click.argument("type")
@click.argument("old", type=int, required=False)
@click.argument("new", type=int, required=False)
@click.option("--json", "as_json", is_flag=True, help="The problems, one JSON object a line.")
@click.pass_context
def diff(ctx: click.Context, type: str, old: int | None, new: int | None, *, as_json: bool) -> None:
    """Show the differences between two versions of TYPE, by default its two newest.

    With -A, what the app declares counts as registered. Exits with 1 if one version cannot read the other.

    \b
    Examples:
      eventbus schema diff order.created
      eventbus schema diff order.created 1 3 --json
    """
    snapshot = snapshot_with_code(ctx)
    versions = [each.version for each in snapshot.of(type)]
    if new is None:
        later = [each for each in versions if old is None or each > old]
        new = later[-1] if later else None
    if old is None:
        earlier = [each for each in versions if new is None or each < new]
        old = earlier[-1] if earlier else None
    if old is None or new is None:
        raise click.UsageError(f"{type} has fewer than two versions: {', '.join(map(str, versions)) or 'none'}.")
    before, after = find_version(snapshot, type, old), find_version(snapshot, type, new)
    found = compare(before, after)
    if as_json:
        for each in found.problems:
            click.echo(json.dumps(problem_as_json(each), ensure_ascii=False))
    else:
        for line in found.lines:
            click.echo(line)
        for each in found.problems:
            click.echo(str(each))
        click.echo(f"{len(found.problems)} problems." if found.problems else "compatible both ways.")
    if found.problems:
        raise click.exceptions.Exit(NO)


@schema.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default=Path("schemas.json"))
@click.option("--from-code", is_flag=True, help="Add what the app declares to the file; no database is asked.")
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit with 1 if the file would change.")
@click.pass_context
def snapshot(ctx: click.Context, path: Path, *, from_code: bool, only_check: bool) -> None:
    """Write the registry, and what groups read, to PATH (schemas.json): a file to commit and check against.

    \b
    Examples:
      eventbus schema snapshot
      eventbus -A shop.app schema snapshot schemas.json --from-code --check
    """
    if from_code:
        taken = with_declared(load_snapshot(path, may_be_new=True), app_bus(ctx, with_handlers=True).schemas)
    else:
        taken = take_snapshot(plain_bus(ctx).database)
    write_or_compare({path: write_snapshot(taken)}, only_check=only_check)


@schema.command()
@accepting
@click.pass_context
def push(ctx: click.Context, *, accept: tuple[str, ...], until: str | None, reason: str | None) -> None:
    """Write the schemas that an app declares to the registry, all or none of them.

    Exits with 1 if one would break somebody, with 3 if nobody can tell.

    \b
    Examples:
      eventbus -A shop.app schema push
      eventbus -A shop.app schema push --accept required-missing --until 2026-12-31 --reason 'only our team reads it'
    """
    bus = app_bus(ctx, with_handlers=True)
    try:
        done = bus.push_schemas(acceptances=acceptances(accept, until, reason))
    except (IncompatibleSchema, SchemaEditedInPlace) as error:
        click.echo(f"eventbus: {error}", err=True)
        found = getattr(error, "assessment", None)
        unproven = isinstance(found, Assessment) and not found.is_provable
        raise click.exceptions.Exit(CANNOT_TELL if unproven else NO) from error
    for each in done.added:
        click.echo(f"{each.type}  version {each.version}  registered")
    for each in done.reworded:
        click.echo(f"{each.type}  version {each.version}  reworded")
    total = sum(len(bus.schemas.versions(type)) for type in bus.schemas.types())
    click.echo(f"{total} schemas of {len(bus.schemas.types())} types are in the registry.")


@schema.command()
@click.argument("type")
@click.argument("version", type=int)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def retire(ctx: click.Context, type: str, version: int, *, yes: bool) -> None:
    """Take VERSION of TYPE out of use for good: nobody may publish it any more, and nothing is checked against it.

    \b
    Example:
      eventbus schema retire order.created 1
    """
    bus = plain_bus(ctx)
    find_version(take_snapshot(bus.database), type, version)
    confirm(f"Retire {type} version {version} for good?", yes=yes)
    done = bus.retire_schema(type, version)
    click.echo(f"{type} version {version} {'retired' if done else 'was retired before'}.")
