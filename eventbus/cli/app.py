"""The command tree, and what each kind of error means for the exit code.

    0 ok · 1 the answer is no · 2 bad input · 3 cannot tell · 4 server unreachable · 130 interrupted

Commands are imported when they are called or when their own help is asked for.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from eventbus import __version__
from eventbus.cli.streams import discard_output, is_not_written, prepare_streams
from eventbus.cli.warnings import shown_warnings
from eventbus.errors import BrokerUnreachable, DatabaseBusy, DatabaseUnreachable, EventBusError, PublishUncertain

OK, NO, BAD_INPUT, CANNOT_TELL, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130

#: Name, home and one line of help for each command.
COMMANDS = {
    "audit": ("eventbus.cli.audit:audit", "List what operators changed."),
    "completion": ("eventbus.cli.completion:completion", "Print a script that completes commands in a shell."),
    "console": ("eventbus.cli.console:console", "Serve the web console, and print lines for its file of users."),
    "dead": ("eventbus.cli.dead:dead", "List, show, retry, discard and restore dead letters."),
    "doctor": ("eventbus.cli.doctor:doctor", "Check the whole bus, and say what to do about each finding."),
    "events": ("eventbus.cli.events:events", "List, show and watch events."),
    "flower": ("eventbus.cli.flower:flower", "Start Flower, which shows workers and tasks in a browser."),
    "grants": ("eventbus.cli.grants:grants", "Print the SQL that creates roles with least privilege."),
    "groups": ("eventbus.cli.groups:groups", "List, show, pause, resume and remove consumer groups."),
    "health": ("eventbus.cli.health:health", "Check the servers, or the workers of groups."),
    "metrics": ("eventbus.cli.metrics:metrics", "Serve the numbers of the bus to Prometheus."),
    "migrate": ("eventbus.cli.migrate:migrate", "Create or upgrade the tables in PostgreSQL."),
    "publish": ("eventbus.cli.publish:publish", "Publish an event, or a file of them."),
    "relay": ("eventbus.cli.relay:relay", "Wake groups that have due deliveries, without a worker."),
    "replay": ("eventbus.cli.replay:replay", "Deliver events of the log to a group again."),
    "schema": ("eventbus.cli.schema:schema", "Check, register, show and export the schemas of events."),
    "stats": ("eventbus.cli.stats:stats", "Show what was published, consumed and given up, and what is open."),
    "storage": ("eventbus.cli.storage:storage", "Show how large the tables are, and what vacuum has to do."),
    "sweep": ("eventbus.cli.sweep:sweep", "Wake the groups that have due deliveries."),
    "sync": ("eventbus.cli.sync:sync", "Write the subscriptions that an app declares to PostgreSQL."),
    "tail": ("eventbus.cli.tail:tail", "Show events as they are published."),
    "trace": ("eventbus.cli.trace:trace", "Show the events of a story as a tree, and how each group stands with them."),
    "why": ("eventbus.cli.why:why", "Say why a group did or did not get an event."),
    "workers": ("eventbus.cli.workers:workers", "List the live workers."),
    "worker": ("eventbus.cli.worker:worker", "Start a Celery worker for some or all groups of an app."),
}


class Commands(click.Group):
    """A group of commands that are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        home, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(home), name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names of commands, without importing any of them; then the options."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        found = [CompletionItem(name, help=COMMANDS[name][1]) for name in names]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the arguments, which may ask for help."""
        with _ended_by_output():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _ended_by_output():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


@contextmanager
def _ended_by_output() -> Iterator[None]:
    """End in good order where a reader of our output has seen enough, and with a sentence where it cannot be written."""
    try:
        yield
    except BrokenPipeError:
        discard_output()
        raise click.exceptions.Exit(OK) from None
    except OSError as error:
        if not is_not_written(error):
            raise
        discard_output()
        click.echo(f"eventbus: the output cannot be written: {error.strerror}.", err=True)
        raise click.exceptions.Exit(CANNOT_TELL) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-A",
    "--app",
    envvar="EVENTBUS_APP",
    metavar="MODULE",
    help="Module with the Celery app and its bus, such as workers.app.",
)
@click.version_option(__version__, prog_name="eventbus")
@click.pass_context
def eventbus(ctx: click.Context, app: str | None) -> None:
    """Run and look after an event bus on PostgreSQL and Redis.

    EVENTBUS_DATABASE_URL and EVENTBUS_BROKER_URL say which servers it uses.

    \b
    Examples:
      eventbus migrate
      eventbus -A workers.app worker inventory
      eventbus publish order.created '{"orderId": "o-1"}' --source orders
      eventbus dead list --group notification
    """
    ctx.obj = app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: an error is one sentence on stderr, never a traceback."""
    prepare_streams()
    try:
        with shown_warnings():
            code = eventbus.main(args=arguments, prog_name="eventbus", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("eventbus: interrupted.", err=True)
        code = INTERRUPTED
    except EventBusError as error:
        click.echo(f"eventbus: {error}", err=True)
        code = code_of(error)
    sys.exit(code or OK)


def code_of(error: EventBusError) -> int:
    """The exit code that says what kind of *error* it was."""
    if isinstance(error, DatabaseUnreachable | DatabaseBusy | BrokerUnreachable):
        return UNREACHABLE
    return CANNOT_TELL if isinstance(error, PublishUncertain) else BAD_INPUT
