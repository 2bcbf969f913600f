"""Why a group did or did not get an event, on the command line."""

import json
from uuid import UUID

import click

from eventbus.cli.events import standing_json
from eventbus.cli.tables import plain
from eventbus.cli.target import plain_bus


@click.command()
@click.argument("event", type=click.UUID)
@click.argument("group")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def why(ctx: click.Context, event: UUID, group: str, *, as_json: bool) -> None:
    """Say why GROUP did or did not get EVENT, and what to do about it.

    \b
    Examples:
      eventbus why 0199c3a2-5d1e-7b5e-8f44-3f1f6d1b2a77 inventory
      eventbus why 0199c3a2-5d1e-7b5e-8f44-3f1f6d1b2a77 inventory --json | jq .reason
    """
    found = plain_bus(ctx).explain(event, group)
    facts = found.facts
    if as_json:
        delivery = None if facts.standing is None else standing_json(facts.standing)
        answer = {"reason": found.reason, "sentence": found.sentence, "advice": found.advice, "delivery": delivery}
        runs = [{name: plain(value) for name, value in vars(run).items()} for run in facts.runs]
        click.echo(
            json.dumps({"event_id": str(event), "type": facts.event.type, "group": group, **answer, "runs": runs})
        )
        return
    click.echo(f"{click.style(found.reason, bold=True)}: {plain(found.sentence)}")
    if found.advice is not None:
        click.echo(plain(found.advice))
    for run in facts.runs:
        what = f"{run.error_type}: {run.error_message}".splitlines()[0]
        click.echo(f"{run.kind:6} {plain(run.failed_at)}  {plain(run.worker)}  {plain(what)}")
