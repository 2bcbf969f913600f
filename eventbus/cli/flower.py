"""Starting Flower for the broker of a bus, and keeping it from strangers.

Flower opens its pages to everyone on every interface unless it is told otherwise. Here it is reached from this machine only,
or asks for a password.
"""

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click
from celery.signals import import_modules
from tornado.options import Error as OptionError

from eventbus.broker.kombu_broker import check_url
from eventbus.cli.addresses import is_local
from eventbus.cli.app import BAD_INPUT
from eventbus.cli.target import plain_bus

_FLOWERS_COLUMNS = "name,uuid,state,received,runtime,worker"
#: With the arguments, which name the event.
_COLUMNS = "name,args,state,retries,received,runtime,worker,uuid"


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("options", nargs=-1, metavar="[OPTION]...", type=click.UNPROCESSED)
@click.pass_context
def flower(ctx: click.Context, options: tuple[str, ...]) -> None:
    """Start Flower on http://127.0.0.1:5555, to watch workers and tasks. It sees tasks only of workers with -E.

    Options that Flower knows are passed on to it, and so are FLOWER_* in the environment. Any other address than this
    machine's needs --basic-auth or --auth. Flower shows /metrics and /healthcheck to everyone who reaches it.

    \b
    Examples:
      eventbus flower
      eventbus flower --port=5556 --basic-auth=me:secret --address=0.0.0.0
    """
    bus = plain_bus(ctx)
    _ = bus.broker  # made, which tells the Celery app where its broker is, or us that there can be none
    check_url(bus.app, bus.settings.broker_url)
    has_options = False

    def protect_this_flower(**_: Any) -> None:
        nonlocal has_options
        has_options = True
        _protect_this_flower(options)

    # Flower sends this signal when it has put its options together, and before it listens to anyone.
    import_modules.connect(protect_this_flower, weak=False)
    try:
        bus.app.start(["flower", *options])
    except (ValueError, OSError, OptionError) as error:
        if has_options:
            raise
        raise click.UsageError(f"Flower cannot use its options, or FLOWER_* in the environment: {error}.") from error
    finally:
        import_modules.disconnect(protect_this_flower)


def protect(options: Any) -> None:
    """Let Flower, before it starts with *options*, be reached from this machine only, unless it asks for a password.

    Raises:
        SystemExit: It is to be reached from elsewhere, by anybody. No other exception would get through to Flower's user.
    """
    if options.tasks_columns == _FLOWERS_COLUMNS:
        options.tasks_columns = _COLUMNS
    if options.unix_socket:
        return
    options.address = options.address or "127.0.0.1"
    credentials = [*options.basic_auth] if options.basic_auth else []
    if any(not all(item.partition(":")[::2]) for item in credentials):
        _refuse("--basic-auth (FLOWER_BASIC_AUTH) must be user:password.")
    if not is_local(options.address) and not credentials and not options.auth:
        _refuse(
            f"Flower on {options.address} would be open to everyone who reaches it: "
            "give it --basic-auth=user:password (FLOWER_BASIC_AUTH), or leave --address out."
        )


def refuse_unknown(given: Sequence[str], options: Any) -> None:
    """Refuse the first of the *given* arguments that Flower, which has these *options*, would ignore without a word.

    Raises:
        SystemExit: There is one.
    """
    for argument in given:
        name = argument.partition("=")[0]
        if not name.startswith("-"):
            # It may be a password that somebody wrote after --basic-auth and a space.
            _refuse("Flower takes options alone, as --port=5556: write the value of one after '='.")
        if name.lstrip("-") not in options:
            _refuse(f"Flower has no option {name}: https://flower.readthedocs.io/en/latest/config.html lists them.")


def _protect_this_flower(given: Sequence[str]) -> None:
    from flower.options import options  # noqa: PLC0415 - defines options of the whole process, which only Flower needs

    refuse_unknown(given, options)
    protect(options)


def _refuse(reason: str) -> NoReturn:
    click.echo(f"eventbus: {reason}", err=True)
    sys.exit(BAD_INPUT)
