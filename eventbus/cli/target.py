"""The target: which bus a command works on."""

import sys
import traceback
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType

import click

from eventbus.bus import EventBus
from eventbus.errors import EventBusError
from eventbus.storage.deadlines import waiting_at_most

DEFAULT_APP = "workers.app"
#: Commands that look at what is there, soon or not at all: behind a forgotten lock they would wait for as long as it stands.
_LOOKS = {"audit", "doctor", "events", "groups", "stats", "storage", "trace", "why", "workers"}
_PATIENCE = timedelta(seconds=30)


def plain_bus(ctx: click.Context) -> EventBus:
    """The bus of the app that -A names, else the one that the environment describes; for a look, with a limit to its patience."""
    if _LOOKS.intersection(ctx.command_path.split()):
        ctx.with_resource(waiting_at_most(_PATIENCE))
    return app_bus(ctx) if named_app(ctx) else EventBus.from_env()


def named_app(ctx: click.Context) -> str | None:
    """What -A names, of ours or of Celery's."""
    return ctx.find_object(str)


def app_bus(ctx: click.Context, *, with_handlers: bool = False) -> EventBus:
    """The bus of the app that -A names, or of workers.app.

    Args:
        with_handlers: Import all the modules that a worker of the app would import.
    """
    name = named_app(ctx) or DEFAULT_APP
    module_name, _, attribute = name.partition(":")
    here = _working_directory()
    if here is not None and here not in sys.path:
        sys.path.insert(0, here)
    module = _imported(module_name, here)
    found = getattr(module, attribute, None) if attribute else _first_bus(vars(module))
    if not isinstance(found, EventBus):
        raise click.UsageError(
            f"{name} holds no EventBus: assign one there, as in 'bus = EventBus(app)', or name it as {module_name}:bus."
        )
    if with_handlers:
        try:
            found.app.loader.import_default_modules()
        except (EventBusError, KeyboardInterrupt):
            raise
        except BaseException as error:
            # Their code may raise anything, sys.exit() too; no line of ours helps to mend it.
            raise _broken(f"the modules that {name} includes", error) from error
        found.app.finalize()
    return found


def _working_directory() -> str | None:
    """Where modules are looked for first; None if it was deleted."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


def _imported(name: str, here: str | None) -> ModuleType:
    place = here or "the working directory, which was deleted,"
    missing = click.UsageError(f"there is no module {name!r} in {place} or on PYTHONPATH: name yours with -A.")
    if not all(word.isidentifier() for word in name.split(".")):
        raise missing
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise missing from None
        raise _broken(name, error) from error
    except (EventBusError, KeyboardInterrupt):
        raise
    except BaseException as error:  # as above
        raise _broken(name, error) from error


def _broken(what: str, error: BaseException) -> click.UsageError:
    """The error for code of the user's that fails on import: what, and where in that code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return click.UsageError(f"{what} cannot be imported: {reason} (at {place}).")


def _first_bus(names: dict[str, object]) -> EventBus | None:
    return next((value for value in names.values() if isinstance(value, EventBus)), None)
