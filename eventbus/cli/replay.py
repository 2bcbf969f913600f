"""Replays on the command line: counted, asked for, watched, stopped and resumed."""

from typing import Any
from uuid import UUID

import click

from eventbus.bus import EventBus
from eventbus.cli.app import INTERRUPTED, NO
from eventbus.cli.asking import confirm
from eventbus.cli.interrupting import interruptible
from eventbus.cli.lists import Command, as_json, attribute, paged, print_page, timed, with_options
from eventbus.cli.progress import busy, counted_progress
from eventbus.cli.tables import Column, print_rows
from eventbus.cli.target import plain_bus
from eventbus.lifecycle.replay_planning import Asked, Plan, check_rate
from eventbus.replay import DELIVERED, MEANINGS, Counts, Outcome, ReplayState, total
from eventbus.storage.latecomers import Latecomer
from eventbus.storage.replays import Job


@click.group()
def replay() -> None:
    """Deliver events of the log to a group again.

    \b
    Examples:
      eventbus replay plan 'order.*' --group analytics --since '2h ago'
      eventbus replay run 'order.*' --group analytics --since '2h ago' --rate 200
      eventbus replay run '#' --group search          # the whole log
    """


def _asking(command: Command) -> Command:
    """The options that say what to replay, named as the fields of `Asked`."""
    return with_options(
        command,
        click.argument("pattern", required=False),
        click.option("--group", required=True, help="The group that gets the events."),
        timed,
        click.option("--event-id", "event_ids", multiple=True, metavar="ID", help="Only this event; may be repeated."),
        click.option("--correlation-id", help="Only events of this story."),
        click.option("--include-dead", is_flag=True, help="Dead and discarded deliveries too."),
    )


@replay.command()
@_asking
@as_json
@click.pass_context
def plan(ctx: click.Context, /, *, as_json: bool, **asked: Any) -> None:
    """Count what a replay of PATTERN would do; this changes nothing.

    \b
    Example:
      eventbus replay plan 'order.*' --group analytics --since '2h ago'
    """
    planned = _planned(plain_bus(ctx), asked)
    _print_outcomes(planned.outcomes, as_json=as_json)
    if not as_json:
        click.echo(f"{planned.count:,} deliveries to {planned.group}.")


@replay.command()
@_asking
@click.option("--rate", type=float, help="Make at most this many deliveries due per second.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def run(ctx: click.Context, /, *, rate: float | None, yes: bool, **asked: Any) -> None:
    """Replay PATTERN to a group, after showing the count.

    Ctrl-C stops it between two batches; 'eventbus replay resume' goes on from there. A replay to a group that has just
    subscribed waits at its end for transactions that are older than the subscription, and says so.

    \b
    Examples:
      eventbus replay run 'order.*' --group analytics --since '2h ago' --rate 200
      eventbus replay run --correlation-id o-4711 --group analytics --include-dead --yes
    """
    bus = plain_bus(ctx)
    check_rate(rate)
    planned = _planned(bus, asked)
    _print_outcomes(planned.outcomes, as_json=False)
    confirm(f"Deliver {planned.count:,} events to {planned.group}?", yes=yes)
    job = bus.replaying.create(planned, rate=rate)
    click.echo(f"replay {job.id} starts.", err=True)
    _finish(bus, job)


@replay.command("list")
@click.option("--group", help="Only to this group.")
@click.option("--state", type=click.Choice([str(state) for state in ReplayState]), help="Only those in this state.")
@timed
@paged(limit=20, cursor=click.UUID)
@click.pass_context
def list_jobs(ctx: click.Context, /, *, limit: int, cursor: UUID | None, as_json: bool, **sought: Any) -> None:
    """List replays, newest first; --since and --until are about when they were requested.

    \b
    Examples:
      eventbus replay list
      eventbus replay list --state interrupted --json | jq -r .id
    """
    columns = [
        attribute("id"),
        Column("state", lambda job: job.shown_state),
        Column("quiet_seconds", lambda job: None if job.finished_at else round(job.quiet.total_seconds())),
        attribute("group"),
        Column("pattern", lambda job: job.selection.pattern),
        Column("since", lambda job: job.selection.since),
        Column("until", lambda job: job.selection.until),
        attribute("seen"),
        attribute("total"),
        Column("delivered", lambda job: total(job.counts, DELIVERED)),
        Column("skipped", lambda job: job.counts[Outcome.SKIPPED]),
        attribute("rate"),
        attribute("requested_by"),
        attribute("created_at"),
        attribute("finished_at"),
    ]
    found = plain_bus(ctx).replays(**sought, cursor=cursor, limit=limit)
    next = found[-1].id if len(found) == limit else None
    print_page(found, columns, as_json=as_json, empty="no replays.", next=next)


@replay.command()
@click.argument("id", type=click.UUID)
@click.pass_context
def resume(ctx: click.Context, id: UUID) -> None:
    """Continue replay ID from where it stopped.

    If another process still runs it, that process stops.

    \b
    Example:
      eventbus replay resume 0199c3a2-5d1e-7b5e-8f44-3f1f6d1b2a77
    """
    bus = plain_bus(ctx)
    _finish(bus, bus.replaying.find(id))


@replay.command()
@click.argument("id", type=click.UUID)
@click.pass_context
def cancel(ctx: click.Context, id: UUID) -> None:
    """Stop replay ID for good, whichever process runs it; what it replayed stays replayed.

    \b
    Example:
      eventbus replay cancel 0199c3a2-5d1e-7b5e-8f44-3f1f6d1b2a77
    """
    if not plain_bus(ctx).cancel_replay(id):
        click.echo(f"replay {id} had ended before.")
        raise click.exceptions.Exit(NO)
    click.echo(f"replay {id} cancelled.")


def _planned(bus: EventBus, asked: dict[str, Any]) -> Plan:
    with busy("counting the events of the replay"):
        return bus.replaying.plan(Asked(**{**asked, "event_ids": asked["event_ids"] or None}))


def _print_outcomes(outcomes: Counts, *, as_json: bool) -> None:
    columns = [
        Column("outcome", lambda item: item[0]),
        Column("deliveries", lambda item: item[1]),
        Column("meaning", lambda item: MEANINGS[item[0]]),
    ]
    shown = [item for item in outcomes.items() if as_json or item[1]]
    print_rows(shown, columns, as_json=as_json, empty="no event of the log is meant.")


def _finish(bus: EventBus, job: Job) -> None:
    with (
        interruptible("ending with this batch ...") as stop,
        counted_progress(f"replay to {job.group}", "deliveries", done=job.seen, total=job.total) as show,
    ):
        left = bus.replaying.run(
            job.id, watch=lambda moved: show(moved.seen, moved.total), stop=stop, tell=_tell_of_wait
        )
    come = f"{left.seen:,} of {left.total:,} deliveries"
    if left.state is ReplayState.DONE:
        click.echo(f"{total(left.counts, DELIVERED):,} deliveries to {left.group}.")
    elif left.state is ReplayState.INTERRUPTED:
        click.echo(f"interrupted after {come}; go on with: eventbus replay resume {left.id}", err=True)
        raise click.exceptions.Exit(INTERRUPTED)
    else:
        what = "cancelled" if left.state is ReplayState.CANCELLED else "resumed by another process"
        click.echo(f"replay {left.id} was {what} after {come}.", err=True)
        raise click.exceptions.Exit(NO)


def _tell_of_wait(oldest: Latecomer) -> None:
    click.echo(
        f"waiting for {oldest.holder}, whose transaction is older than the group's newest subscription: what it has published "
        "belongs to this replay.",
        err=True,
    )
