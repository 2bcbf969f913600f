"""Publishing from the command line."""

import json
import sys

import click

from eventbus.cli.target import plain_bus


@click.command()
@click.argument("type_", metavar="TYPE")
@click.argument("data", default="-", metavar="[DATA]")
@click.option("--source", required=True, help="The publishing service.")
@click.option("--version", type=int, help="Of the type's schema.")
@click.option("--correlation-id", help="Ties together what belongs to one story.")
@click.pass_context
def publish(
    ctx: click.Context, type_: str, data: str, *, source: str, version: int | None, correlation_id: str | None
) -> None:
    """Publish an event of TYPE with DATA, a JSON text; '-' reads it from standard input. Prints the event's id.

    \b
    Examples:
      eventbus publish order.created '{"orderId": "o-1"}' --source orders
      jq .order order.json | eventbus publish order.created - --source orders
    """
    if data == "-" and sys.stdin.isatty():
        click.echo("reading DATA from the terminal; Ctrl-D ends it.", err=True)
    text = sys.stdin.read() if data == "-" else data
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"DATA is not JSON: {error}.") from None
    except RecursionError:
        raise click.UsageError("DATA is nested too deep to be read.") from None
    event = plain_bus(ctx).publish(type_, value, source=source, version=version, correlation_id=correlation_id)
    click.echo(event.id)
