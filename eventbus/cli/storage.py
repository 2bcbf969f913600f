"""How large the tables are, and what vacuum has to do."""

from dataclasses import asdict
from typing import Any

import click

from eventbus.cli.lists import as_json, attribute
from eventbus.cli.tables import Column, plain, print_rows
from eventbus.cli.target import plain_bus
from eventbus.storage.overview.space import Space

_COLUMNS = ("table", "name", "table_bytes", "index_bytes", "live_rows", "dead_rows", "vacuumed_at")


@click.command()
@click.option("--parts", is_flag=True, help="List each partition.")
@as_json
@click.pass_context
def storage(ctx: click.Context, *, parts: bool, as_json: bool) -> None:
    """Show how large the tables are, how many rows vacuum has yet to remove, and which transaction holds it back.

    Numbers of rows are PostgreSQL's estimates: nothing is counted.

    \b
    Examples:
      eventbus storage
      eventbus storage --parts --json
    """
    found = plain_bus(ctx).space()
    if parts:
        print_rows(_parts(found), [_column(name) for name in _COLUMNS], as_json=as_json, empty="")
    else:
        names = ("name", "bytes", "live_rows", "dead_rows", "vacuumed_at")
        print_rows(found.tables, [attribute(name) for name in names], as_json=as_json, empty="")
    if found.snapshot is not None:
        age = round(found.snapshot.age.total_seconds(), 1)
        click.echo(f"oldest snapshot: {plain(found.snapshot.holder)}, for {age} s; vacuum waits for it.", err=True)


def _column(name: str) -> Column:
    return Column(name, lambda row: row[name])


def _parts(space: Space) -> list[dict[str, Any]]:
    return [{"table": table.name, **asdict(part)} for table in space.tables for part in table.parts]
