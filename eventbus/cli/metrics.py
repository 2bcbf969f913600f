"""Serving metrics from the command line."""

import threading

import click
from prometheus_client import CollectorRegistry, start_http_server

from eventbus.cli.interrupting import interruptible
from eventbus.cli.target import plain_bus
from eventbus.metrics import BusCollector


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=9108, show_default=True, help="0 takes any free port.")
@click.pass_context
def metrics(ctx: click.Context, *, host: str, port: int) -> None:
    """Serve the numbers of the bus to Prometheus at /metrics, until Ctrl-C.

    Each scrape reads PostgreSQL, so one such process is enough, wherever it runs.

    \b
    Examples:
      eventbus metrics
      eventbus metrics --host 0.0.0.0 --port 9108
    """
    registry = CollectorRegistry()
    registry.register(BusCollector(plain_bus(ctx)))
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise click.UsageError(f"{host}:{port} cannot be listened on: {error.strerror}.") from error
    click.echo(f"serving http://{host}:{server.server_port}/metrics; Ctrl-C ends it.", err=True)
    with interruptible("ending ...") as stop:
        _wait(stop)
    server.shutdown()
    thread.join()


def _wait(stop: threading.Event) -> None:
    """Wait without being deaf to signals for long."""
    while not stop.wait(1):
        pass
