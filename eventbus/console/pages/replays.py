"""Replays: how far each has come; begun in `replay_wizard`, and carried out by this console in the background."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from starlette.responses import Response

from eventbus.console.message import Message
from eventbus.console.page import Page
from eventbus.console.view import View
from eventbus.errors import InvalidInput
from eventbus.replay import DELIVERED, MEANINGS, ReplayState, total
from eventbus.storage.replays import Job

page = Page("Replays", "/replays")

_ROWS = 50
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


@page.get("/replays/{replay_id:uuid}", budget=1)
def show(view: View) -> Response:
    """One job."""
    return view.show("replays/job.html", **_job(view))


@page.live("/live/replays/{replay_id:uuid}", budget=1)
def pulse_of_one(view: View) -> Sequence[Message]:
    """How far it has come now."""
    return [view.fragment("replay", "replays/progress.html", **_job(view))]


@page.post("/replays/{replay_id:uuid}/resume")
def resume(view: View) -> Response:
    """Go on behind the last batch; whoever was at it stops."""
    job = view.bus.find_replay(view.path["replay_id"])
    if job.finished_at is not None:
        raise InvalidInput(f"replay {job.id} is {job.state}: there is nothing left to resume.")
    carry_out(view, job.id)
    return view.redirect(f"/replays/{job.id}", notice="The replay continues where it stopped.")


@page.post("/replays/{replay_id:uuid}/cancel")
def cancel(view: View) -> Response:
    """Give it up, wherever it runs."""
    id = view.path["replay_id"]
    if not view.is_confirmed:
        job = view.bus.find_replay(id)
        sentence = (
            f"{job.seen:,} of {job.total:,} deliveries were processed, and stay as they are now. It cannot be resumed."
        )
        return view.confirm("Cancel this replay?", sentence, button="Cancel the replay", back=f"/replays/{id}")
    cancelled = view.bus.cancel_replay(id)
    return view.redirect(f"/replays/{id}", notice="Cancelled." if cancelled else "It had already ended.")


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


def carry_out(view: View, id: UUID) -> None:
    """Let this console do it in the background."""
    replaying = view.bus.replaying
    view.site.background.start(lambda stop: replaying.run(id, stop=stop), name=f"replay {id}", who=view.user.name)
