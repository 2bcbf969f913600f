"""The commands as a part of Celery's own command line: ``celery -A shop.app eventbus ...``."""

import sys
from typing import Any

import click

from eventbus.bus import EventBus
from eventbus.cli.app import INTERRUPTED, Commands, code_of
from eventbus.cli.streams import prepare_streams
from eventbus.cli.warnings import shown_warnings
from eventbus.errors import EventBusError


class PluggedCommands(Commands):
    """The same commands, whose errors are sentences and exit codes here too."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        prepare_streams()
        return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with shown_warnings():
                return super().invoke(ctx)
        except EventBusError as error:
            click.echo(f"eventbus: {error}", err=True)
            raise click.exceptions.Exit(code_of(error)) from error
        except (click.Abort, KeyboardInterrupt):
            click.echo("eventbus: interrupted.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None


@click.group(cls=PluggedCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def eventbus(ctx: click.Context) -> None:
    """Run and look after the event bus of the app."""
    ctx.obj = _holder(ctx.find_root().params.get("app"))


def _holder(app: str | None) -> str | None:
    """The module that Celery was told to take the app from, or the one below it that it took, if it holds the bus."""
    if app is None:
        return None
    name = app.partition(":")[0]
    for module in (name, f"{name}.celery", f"{name}.app"):
        if any(isinstance(value, EventBus) for value in vars(sys.modules.get(module, object)).values()):
            return module
    return name
