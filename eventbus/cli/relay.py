"""A relay without a worker, for groups whose workers are not always there."""

from datetime import timedelta

import click

from eventbus.cli.interrupting import interruptible
from eventbus.cli.target import plain_bus
from eventbus.worker.duties import Duty

_PERIOD = timedelta(seconds=1)
_SETTLED = timedelta(seconds=10)


@click.command()
@click.pass_context
def relay(ctx: click.Context) -> None:
    """Wake every group that has due deliveries and a short queue, every second, until Ctrl-C.

    Each worker does this for the groups that it serves. Use this command for groups whose workers are started by
    messages in their queue, so that none runs while the queue is empty. Any number may run.

    \b
    Example:
      eventbus relay
    """
    bus = plain_bus(ctx)
    # Asked here, so that a bus that cannot be used at all is an error rather than a warning.
    bus.relay()
    duties = (Duty("relay", bus.relay, period=_PERIOD), Duty("orphans", bus.settle_orphans, period=_SETTLED))
    try:
        with interruptible("ending ...") as stop:
            for duty in duties:
                duty.start()
            click.echo("relaying; Ctrl-C ends it.", err=True)
            while not stop.wait(1):
                pass
    finally:
        for duty in duties:
            duty.stop(timeout_seconds=5)
