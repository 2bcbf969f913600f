"""Starting a worker: Celery's own, with the queues of the groups."""

import click

from eventbus.broker.kombu_broker import check_url
from eventbus.cli.target import DEFAULT_APP, app_bus, named_app
from eventbus.subscription import check_group


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("groups", nargs=-1, metavar="[GROUP]...")
@click.pass_context
def worker(ctx: click.Context, groups: tuple[str, ...]) -> None:
    """Start a Celery worker for GROUPs, or for all groups of the app.

    Other options are passed on to 'celery worker'.

    \b
    Examples:
      eventbus worker inventory
      eventbus -A shop.app worker billing shipping -c 4 -l INFO
    """
    split = next((index for index, item in enumerate(groups) if item.startswith("-")), len(groups))
    names, options = list(groups[:split]), list(groups[split:])
    bus = app_bus(ctx, with_handlers=True)
    known = bus.subscriptions.groups()
    for name in names:
        if check_group(name) not in known:
            raise click.UsageError(
                f"{name!r} is no group of {named_app(ctx) or DEFAULT_APP}: it declares {', '.join(known) or 'none'}."
            )
    _ = bus.broker  # made, so that a URL of no use is said before Celery stumbles over it
    check_url(bus.app, bus.settings.broker_url)
    queues = ["-Q", ",".join(bus.settings.queue(name) for name in names)] if names else []
    bus.app.worker_main(["worker", *queues, *options, *ctx.args])
