"""Retrying a few dead letters first: how they are doing, and what becomes of the others, whether anybody looks or not."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from eventbus.console.filters import Filters
from eventbus.console.message import Message
from eventbus.console.pages.dead import TEXTS
from eventbus.console.pages.dead import page as page
from eventbus.console.pages.dead_selection import LONGEST, fixed, freeze_again
from eventbus.console.trial_plan import TrialPlan, read_plan, sign_plan
from eventbus.console.view import View
from eventbus.errors import InvalidInput, TrialNotPassed
from eventbus.lifecycle.resolving import Frozen


@page.get("/dead/trial", budget=6)
def show(view: View) -> Response:
    """How those that were retried first are doing; without a trial one is led to the causes."""
    if "plan" not in view.filters:
        return view.redirect("/dead")
    return view.show("dead/trial.html", **_read(view))


@page.live("/live/dead/trial", budget=5)
def pulse(view: View) -> Sequence[Message]:
    """How they are doing now."""
    return [view.fragment("trial", "dead/trial_state.html", **_read(view))]


@page.post("/dead/trial")
def take_up(view: View) -> Response:
    """Wait for the first ones again, and retry the others when these are done, after whoever waited was ended."""
    word = view.form.text("plan", longest=LONGEST) or ""
    plan = read_plan(word, view.site)
    trial = view.bus.trial(plan.tried)
    if trial.failed:
        raise TrialNotPassed(waiting=len(trial.waiting), failed=len(trial.failed))
    _begin(view, word, plan, _others(view, plan))
    return view.redirect("/dead/trial", plan=word)


def try_first(view: View, frozen: Frozen, first: int) -> Response:
    """Retry the *first* of what is *frozen*, and the others in the background as soon as these are done."""
    tried, others = frozen.ids[:first], replace(frozen, ids=frozen.ids[first:])
    view.bus.resolving.retry(replace(frozen, ids=tried))
    plan = TrialPlan(
        tried=list(tried), others=others.count, fields=_fields(view.form, frozen, others), who=view.user.name
    )
    word = sign_plan(plan, view.site)
    _begin(view, word, plan, others)
    return view.redirect("/dead/trial", notice=f"{len(tried)} dead letters are retried first.", plan=word)


def _begin(view: View, word: str, plan: TrialPlan, others: Frozen) -> None:
    work = view.site.trials.work(word, view.bus, plan.tried, others)
    if work is not None:
        view.site.background.start(work, name="dead letters tried", who=view.user.name)


def _read(view: View) -> dict[str, Any]:
    word = view.filters.text("plan", longest=LONGEST) or ""
    plan, course = read_plan(word, view.site), view.site.trials.course(word)
    trial, left = view.bus.trial(plan.tried), None
    if course is None and plan.fields is not None and not trial.failed:
        left = _others(view, plan).count
    return {"plan": plan, "word": word, "course": course, "trial": trial, "left": left}


def _others(view: View, plan: TrialPlan) -> Frozen:
    """Those of the others that are still open."""
    if plan.fields is None:
        raise InvalidInput("these are too many for an address: find them again, and retry those that are still open.")
    return freeze_again(view, Filters([*plan.fields.items()]))


def _fields(form: Filters, frozen: Frozen, others: Frozen) -> dict[str, str] | None:
    """What means *others* later on; None where that is too much for an address."""
    kept = {name: text for name in (*TEXTS, "status", "scope") if (text := form.text(name)) is not None}
    fields = {**kept, **{name: str(value) for name, value in fixed(others).items()}}
    if frozen.sought.ids is not None:
        fields["id"] = ",".join(map(str, others.ids))
    return fields if sum(map(len, fields.values())) < LONGEST // 2 else None
