"""Files of the schema commands: snapshots that are read, and output that is written or compared."""

from collections.abc import Mapping
from pathlib import Path

import click

from eventbus.cli.app import NO
from eventbus.cli.target import app_bus, named_app, plain_bus
from eventbus.errors import UnknownEventVersion
from eventbus.lifecycle.schema_snapshots import Snapshot, read_snapshot, take_snapshot, with_declared
from eventbus.storage.schemas import StoredSchema


def load_snapshot(path: Path, *, may_be_new: bool = False) -> Snapshot:
    """The snapshot in a file; an empty one if there is no such file and it *may be new*.

    Raises:
        InvalidInput: It holds none.
        UsageError: It cannot be read.
    """
    text = _read(path)
    if text is None and may_be_new:
        return Snapshot()
    return read_snapshot(text or "", name=str(path))


def snapshot_with_code(ctx: click.Context, path: Path | None = None) -> Snapshot:
    """The snapshot in a file, or the registry; with what the app declares, if -A names one."""
    taken = take_snapshot(plain_bus(ctx).database) if path is None else load_snapshot(path)
    if named_app(ctx) is None:
        return taken
    return with_declared(taken, app_bus(ctx, with_handlers=True).schemas)


def find_version(snapshot: Snapshot, type: str, version: int | None) -> StoredSchema:
    """One version of a type, the newest if none is named.

    Raises:
        UnknownEventVersion: There is none.
    """
    found = snapshot.of(type)
    if not found:
        known = ", ".join(snapshot.types()) or "none"
        raise click.UsageError(f"{type} has no schema: types with one are {known}.")
    for each in found:
        if version in (each.version, None) and (version is not None or each is found[-1]):
            return each
    raise UnknownEventVersion(type, version, [each.version for each in found])


def write_or_compare(files: Mapping[Path, str], *, only_check: bool) -> None:
    """Write *files*; or write nothing, name those that would change, and exit with 1 if there are any."""
    stale = [path for path, text in files.items() if _read(path) != text]
    if only_check:
        for path in stale:
            click.echo(f"{path} is out of date.", err=True)
        if stale:
            raise click.exceptions.Exit(NO)
        click.echo("up to date.")
        return
    for path in stale:
        write_file(path, files[path])
    for path in files:
        click.echo(f"{path}  {'written' if path in stale else 'unchanged'}")


def write_file(path: Path, text: str) -> None:
    """Write *text* into a file, and make the folders that it needs.

    Raises:
        UsageError: It cannot be written; what the file held is gone only if the device failed in the middle.
    """
    try:
        content = text.encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except UnicodeEncodeError as error:
        raise click.UsageError(f"{path} cannot be written: a schema says what is no Unicode text.") from error
    except FileExistsError as error:
        raise click.UsageError(f"{path} cannot be written: {error.filename} is no folder.") from error
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}.") from error


def _read(path: Path) -> str | None:
    """The text of a file; None if there is no such file.

    Raises:
        UsageError: It cannot be read, or is of a kind that we never wrote.
    """
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path} holds no text in UTF-8: name another file, or remove it.") from error
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}.") from error
