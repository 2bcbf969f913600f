"""Replays: how far each has come; counted before they start, and carried out by this console in the background."""

import threading
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from starlette.responses import Response

from eventbus.bus import EventBus
from eventbus.console.filters import Filters
from eventbus.console.message import Message
from eventbus.console.page import Page
from eventbus.console.view import View
from eventbus.errors import InvalidInput
from eventbus.lifecycle.replay_planning import Asked, Plan, check_rate
from eventbus.replay import DELIVERED, Outcome, ReplayState, total
from eventbus.storage.replays import Job

page = Page("Replays", "/replays")

_ROWS = 50
_TEXTS = ("pattern", "since", "until", "correlation_id")
_LONGEST_IDS = 100_000
MEANINGS = {
    Outcome.RESET: "ended before, delivered again",
    Outcome.REVIVED: "dead or discarded, delivered again",
    Outcome.INSERTED: "never delivered to this group, delivered now",
    Outcome.RERUN: "running now, run once more afterwards",
    Outcome.LEFT_OPEN: "still to be handled, as part of the replay",
    Outcome.LEFT_DEAD: "dead or discarded, left so",
    Outcome.SKIPPED: "their subscription opts out of replays",
    Outcome.UNMATCHED: "no subscription of the group matches",
}
_KINDS = {
    ReplayState.RUNNING: "ok",
    ReplayState.DONE: "ok",
    ReplayState.INTERRUPTED: "notice",
    ReplayState.PLANNED: "notice",
}


@page.get("/replays", budget=2)
def list_jobs(view: View) -> Response:
    """The newest jobs, with how far they have come."""
    return view.show("replays/list.html", **_listed(view))


@page.live("/live/replays", budget=2)
def pulse(view: View) -> Sequence[Message]:
    """How far those jobs have come now."""
    return [view.fragment("replays", "replays/rows.html", **_listed(view))]


@page.get("/replays/new", budget=7)
def plan(view: View) -> Response:
    """The form; and, once it was sent, what the replay would do, counted."""
    asked = view.filters
    if "count" not in asked:
        return _form(view, planned=None)
    try:
        _rate(asked)
        return _form(view, planned=view.bus.replaying.plan(_asked(asked)))
    except InvalidInput as error:
        return _form(view, planned=None, error=str(error))


@page.get("/replays/{replay_id:uuid}", budget=1)
def show(view: View) -> Response:
    """One job."""
    return view.show("replays/job.html", **_job(view))


@page.live("/live/replays/{replay_id:uuid}", budget=1)
def pulse_of_one(view: View) -> Sequence[Message]:
    """How far it has come now."""
    return [view.fragment("replay", "replays/progress.html", **_job(view))]


@page.post("/replays")
def start(view: View) -> Response:
    """Begin what was counted: events that were recorded after the count are no part of it."""
    rate = _rate(view.form)
    planned = view.bus.replaying.plan(_asked(view.form))
    counted = view.form.number("counted")
    if counted is not None and planned.count > counted:
        raise InvalidInput(
            f"{planned.count:,} deliveries are meant now, more than the {counted:,} counted: count again."
        )
    job = view.bus.replaying.create(planned, rate=rate)
    _run(view, job.id)
    return view.redirect(f"/replays/{job.id}", notice=f"Replaying to {job.group}: {planned.count:,} deliveries.")


@page.post("/replays/{replay_id:uuid}/resume")
def resume(view: View) -> Response:
    """Go on behind the last batch; whoever was at it stops."""
    job = view.bus.find_replay(view.path["replay_id"])
    if job.finished_at is not None:
        raise InvalidInput(f"replay {job.id} is {job.state}: there is nothing left to resume.")
    _run(view, job.id)
    return view.redirect(f"/replays/{job.id}", notice="It goes on from where it was.")


@page.post("/replays/{replay_id:uuid}/cancel")
def cancel(view: View) -> Response:
    """Give it up, wherever it runs."""
    id = view.path["replay_id"]
    if not view.is_confirmed:
        job = view.bus.find_replay(id)
        sentence = f"{job.seen:,} of {job.total:,} deliveries were dealt with, and stay so. It cannot be resumed."
        return view.confirm("Cancel this replay?", sentence, button="Cancel the replay", back=f"/replays/{id}")
    cancelled = view.bus.cancel_replay(id)
    return view.redirect(f"/replays/{id}", notice="Cancelled." if cancelled else "It had ended before.")


def _listed(view: View) -> dict[str, Any]:
    jobs = view.bus.replays(cursor=view.filters.uuid("cursor"), limit=_ROWS + 1)
    return {"jobs": jobs[:_ROWS], "next": jobs[_ROWS - 1].id if len(jobs) > _ROWS else None, **_SHOWING}


def _job(view: View) -> dict[str, Any]:
    return {"job": view.bus.find_replay(view.path["replay_id"]), **_SHOWING}


def _delivered(job: Job) -> int:
    return total(job.counts, DELIVERED)


def _pace(job: Job) -> float | None:
    """Deliveries in a second, on average since it was asked for; None before the first second is over."""
    seconds = (job.updated_at - job.created_at).total_seconds()
    return job.seen / seconds if seconds >= 1 else None


_SHOWING = {"delivered": _delivered, "pace": _pace, "kinds": _KINDS, "meanings": MEANINGS}


def _form(view: View, *, planned: Plan | None, error: str | None = None) -> Response:
    """With *planned*, the times of its fields are those that it found, so that the same events are meant when it starts."""
    fields = {name: view.filters.text(name) for name in ("group", *_TEXTS, "rate")}
    fields["event_ids"] = view.filters.text("event_ids", longest=_LONGEST_IDS)
    groups = sorted({each.group for each in view.bus.groups()})
    fixed = dict(fields)
    if planned is not None:
        selection = planned.selection
        for name, moment in (("since", selection.since), ("until", selection.until)):
            fixed[name] = None if moment is None else moment.isoformat()
        fixed["last_id"], fixed["counted"] = str(selection.last_id), str(planned.count)
    return view.show(
        "replays/new.html",
        status=200 if error is None else 400,
        fields=fields,
        fixed=fixed,
        include_dead="include_dead" in view.filters,
        groups=groups,
        planned=planned,
        meanings=MEANINGS,
        error=error,
    )


def _asked(given: Filters) -> Asked:
    ids = given.text("event_ids", longest=_LONGEST_IDS)
    return Asked(
        group=given.text("group") or "",
        **{name: given.text(name) for name in _TEXTS},
        event_ids=ids.replace(",", " ").split() if ids else None,
        include_dead="include_dead" in given,
        last_id=given.uuid("last_id"),
    )


def _rate(given: Filters) -> float | None:
    text = given.text("rate", longest=30)
    if text is None:
        return None
    try:
        return check_rate(float(text))
    except ValueError:
        raise InvalidInput(f"rate={text!r} must be a positive number of events per second.") from None


def _run(view: View, id: UUID) -> None:
    bus: EventBus = view.bus

    def work(stop: threading.Event) -> None:
        bus.replaying.run(id, stop=stop)

    view.site.background.start(work, name=f"replay {id}", who=view.user.name)
