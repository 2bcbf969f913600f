"""`eventbus schema export`: what the bus looks like from outside, as documents and as types of other languages."""

import json
from pathlib import Path

import click

from eventbus.cli.schema_files import find_version, snapshot_with_code, write_or_compare
from eventbus.lifecycle.schema_snapshots import Snapshot
from eventbus.schemas.export import ExportedSchema, Receiver, asyncapi, json_schema_file
from eventbus.schemas.python_types import typed_dicts
from eventbus.schemas.typescript import typescript
from eventbus.subscription import matches

#: What the files of each form are called, by type and version.
_NAMES = {
    "asyncapi": "asyncapi.json",
    "json-schema": "{}.v{}.json",
    "typed-dict": "{}_v{}.py",
    "typescript": "{}.v{}.ts",
}


@click.command()
@click.argument("form", type=click.Choice(list(_NAMES)))
@click.argument("type", required=False)
@click.option("--version", type=int, help="The version of TYPE; its newest by default.")
@click.option(
    "--snapshot",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Read this file instead of the registry.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="A file, or a folder for several files; without it, the text is printed.",
)
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit with 1 if a file would change.")
@click.option("--title", default="Events", show_default=True, help="The title of the AsyncAPI document.")
@click.pass_context
def export(
    ctx: click.Context,
    form: str,
    type: str | None,
    *,
    version: int | None,
    snapshot: Path | None,
    output: Path | None,
    only_check: bool,
    title: str,
) -> None:
    """Export as FORM, all types or TYPE; the same registry gives the same text.

    asyncapi is one document of all types, versions and groups. The others are a file for each version: json-schema, typed-dict
    (Python) and typescript. With -A, what the app declares counts as registered.

    \b
    Examples:
      eventbus schema export asyncapi --output docs/asyncapi.json --check
      eventbus schema export typescript order.created
    """
    taken = snapshot_with_code(ctx, snapshot)
    files = _files(taken, form, type, version, title)
    if output is None:
        if only_check or len(files) != 1:
            raise click.UsageError("name where to write with --output, or one TYPE.")
        click.echo(next(iter(files.values())), nl=False)
        return
    is_one = form == "asyncapi" or (type is not None and output.suffix != "" and not output.is_dir())
    paths = {output if is_one else output / name: text for name, text in files.items()}
    write_or_compare(paths, only_check=only_check)


def _files(taken: Snapshot, form: str, type: str | None, version: int | None, title: str) -> dict[str, str]:
    """What is exported, by name."""
    if form == "asyncapi":
        return {_NAMES[form]: _asyncapi(taken, title)}
    chosen = list(taken.schemas) if type is None else [find_version(taken, type, version)]
    found = {}
    for each in chosen:
        name = _NAMES[form].format(each.type.replace(".", "_") if form == "typed-dict" else each.type, each.version)
        if form == "json-schema":
            found[name] = json_schema_file(
                ExportedSchema(
                    type=each.type,
                    version=each.version,
                    json_schema=each.json_schema,
                    description=each.description or "",
                )
            )
        else:
            write = typed_dicts if form == "typed-dict" else typescript
            found[name] = write(each.type, each.version, each.json_schema)
    return found


def _asyncapi(taken: Snapshot, title: str) -> str:
    schemas = [
        ExportedSchema(
            type=each.type,
            version=each.version,
            json_schema=each.json_schema,
            description=each.description or "",
            deprecated=bool(each.deprecation) or each.is_retired,
        )
        for each in taken.schemas
    ]
    receivers = [
        Receiver(
            group=each.group,
            types=[type for type in taken.types() if matches(each.pattern, type)],
            version=each.version,
        )
        for each in taken.readers
    ]
    document = asyncapi(schemas, receivers, title=title)
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
