"""Publishing from the command line."""

import sys

import click

from eventbus.cli.event_file import publish_file
from eventbus.cli.json_text import RepeatedKey, read_json
from eventbus.cli.target import plain_bus


@click.command()
@click.argument("type_", metavar="[TYPE]", required=False)
@click.argument("data", default="-", metavar="[DATA]")
@click.option("--source", help="The publishing service; with --file, for lines that name none.")
@click.option("--version", type=int, help="The version of the type's schema.")
@click.option("--correlation-id", help="Ties together the events of one story.")
@click.option(
    "--idempotency-key", metavar="KEY", help="Names this one fact of its source, so that a repeat records nothing."
)
@click.option(
    "--file", "path", metavar="PATH", help="Publish a file of events, one JSON object per line; '-' is stdin."
)
@click.option(
    "--key-prefix",
    metavar="NAME",
    help="With --file: give line 7 the key NAME:7, so that a repeat continues where it stopped.",
)
@click.pass_context
def publish(
    ctx: click.Context,
    type_: str | None,
    data: str,
    *,
    source: str | None,
    version: int | None,
    correlation_id: str | None,
    idempotency_key: str | None,
    path: str | None,
    key_prefix: str | None,
) -> None:
    """Publish an event of TYPE with DATA, a JSON text; '-' reads it from standard input. Prints the event's id.

    With --file, publish many events: each line is an object with type, data and source, and optionally version,
    correlation_id, headers and idempotency_key. If you repeat the command after an interruption, it records no line
    that has a key twice.

    \b
    Examples:
      eventbus publish order.created '{"orderId": "o-1"}' --source orders
      jq .order order.json | eventbus publish order.created - --source orders
      eventbus publish --file orders.ndjson --key-prefix import-2026-05
    """
    if path is not None:
        if any(given is not None for given in (type_, version, correlation_id, idempotency_key)):
            raise click.UsageError(
                "with --file each line says its own type, version, correlation_id and idempotency_key."
            )
        publish_file(plain_bus(ctx), path, source=source, key_prefix=key_prefix)
        return
    if type_ is None or source is None or key_prefix is not None:
        raise click.UsageError("give TYPE, DATA and --source; or --file, which alone takes --key-prefix.")
    event = plain_bus(ctx).publish(
        type_,
        _value(data),
        source=source,
        version=version,
        correlation_id=correlation_id,
        idempotency_key=idempotency_key,
    )
    click.echo(event.id)


def _value(data: str) -> object:
    if data == "-" and sys.stdin.isatty():
        click.echo("reading DATA from the terminal; Ctrl-D ends it.", err=True)
    try:
        return read_json(sys.stdin.read() if data == "-" else data)
    except RepeatedKey as error:
        raise click.UsageError(f"DATA {error}.") from None
    except UnicodeDecodeError as error:
        raise click.UsageError(f"DATA is not UTF-8: {error}.") from None
    except ValueError as error:
        raise click.UsageError(f"DATA is not JSON: {error}.") from None
    except RecursionError:
        raise click.UsageError("DATA is nested too deep to be read.") from None
