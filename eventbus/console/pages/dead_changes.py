"""Changing dead letters: what is meant is counted and frozen, confirmed, and exactly that is changed.

    selection or filter ─▶ freeze ─▶ how many? ─▶ confirmed ─▶ those of them that are still open
                                        └─ a few first ─▶ trial ─▶ all done ─▶ the others

Between question and answer nothing is kept here: the form carries the filter, the largest id and the count, and each id where they
are not too many. What is found again may be fewer, never more and never others.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from starlette.responses import Response

from eventbus.console.filters import Filters
from eventbus.console.id_lists import read_ids, write_ids
from eventbus.console.message import Message
from eventbus.console.pages.dead import TEXTS, sought_of
from eventbus.console.pages.dead import page as page
from eventbus.console.trial_plan import TrialPlan, read_plan, sign_plan
from eventbus.console.view import View
from eventbus.errors import InvalidInput
from eventbus.lifecycle.dead_lettering import STATUSES
from eventbus.lifecycle.resolving import Frozen, Progress, check_reason
from eventbus.lifecycle.trying import MOST_TRIED

#: More than these are changed in the background.
_AT_ONCE = 2000
_MOST_CHOSEN = 500
_LONGEST = 10_000
_FIRST = 5


@dataclass(frozen=True, kw_only=True)
class _Back:
    """Where a form was made: the letter, the cause or the list, with its filter."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)


@page.post("/dead/retry")
def retry(view: View) -> Response:
    """Run deliveries again, all at once or a few first."""
    if not view.is_confirmed:
        frozen = _freeze(view, view.form)
        first = _first(view.form)
        sentence = (
            f"{frozen.count:,} open dead letters are meant. "
            "Their deliveries run again as if new; what dies later is not touched."
        )
        if first is not None and frozen.count > first:
            sentence += f" {first} of them are retried first, the others only if all of these are done then."
        return view.confirm(
            f"Retry {frozen.count:,} dead letters?",
            sentence,
            button="Retry",
            fields=_fixed(frozen),
            back=_back(view.form).path,
            back_query=_back(view.form).query,
        )
    frozen = _freeze_again(view, view.form)
    first = _first(view.form)
    if first is not None and frozen.count > first:
        return _try_first(view, frozen, first)
    return _retry_all(view, frozen, back=_back(view.form))


@page.get("/dead/trial", budget=6)
def show_trial(view: View) -> Response:
    """How those that were retried first are doing; without a trial one is led to the causes."""
    if "plan" not in view.filters:
        return view.redirect("/dead")
    return view.show("dead/trial.html", **_trial(view))


@page.live("/live/dead/trial", budget=1)
def pulse(view: View) -> Sequence[Message]:
    """How they are doing now."""
    return [view.fragment("trial", "dead/trial_state.html", **_trial(view))]


@page.post("/dead/trial")
def go_on(view: View) -> Response:
    """Retry the others, if the trial is passed."""
    plan = read_plan(view.form.text("plan", longest=_LONGEST) or "", view.site)
    view.bus.require_trial(plan.tried)
    confirmed = Filters([*plan.fields.items()])
    return _retry_all(view, _freeze_again(view, confirmed), back=_back(confirmed))


@page.post("/dead/discard")
def discard(view: View) -> Response:
    """Give letters up for good, for a reason."""
    reason = view.form.text("reason", longest=4000)
    check_reason(reason or "")
    assert reason is not None
    if not view.is_confirmed:
        frozen = _freeze(view, view.form)
        sentence = f"{frozen.count:,} open dead letters are meant. Their deliveries are cancelled; the reason is kept: {reason}"
        return view.confirm(
            f"Discard {frozen.count:,} dead letters?",
            sentence,
            button="Discard",
            fields=_fixed(frozen),
            back=_back(view.form).path,
            back_query=_back(view.form).query,
        )
    frozen = _freeze_again(view, view.form)

    def work(stop: threading.Event) -> Progress:
        return view.bus.resolving.discard(frozen, reason=reason, stop=stop)

    return _carried_out(view, frozen, work, "discarded", back=_back(view.form))


@page.post("/dead/restore")
def restore(view: View) -> Response:
    """Open discarded letters again."""
    ids = _ids(view.form, "id")
    if not ids:
        raise InvalidInput("choose the dead letters that are to be restored.")
    back = _back(view.form)
    if not view.is_confirmed:
        return view.confirm(
            f"Restore {len(ids):,} dead letters?",
            "Those of them that are discarded are open again.",
            button="Restore",
            back=back.path,
            back_query=back.query,
        )
    count = view.bus.restore_dead_letters(ids)
    left = len(ids) - count
    rest = f" {left} could not be: they are not discarded, or were replayed since." if left else ""
    return view.redirect(back.path, notice=f"{count} dead letters restored.{rest}", **back.query)


@page.post("/dead/{letter_id:number}/note")
def note(view: View) -> Response:
    """Keep a note with a letter."""
    id = view.path["letter_id"]
    view.bus.note_dead_letter(id, view.form.text("note", longest=4000) or "")
    return view.redirect(f"/dead/{id}", notice="The note is kept.")


@page.post("/dead/causes/{fingerprint}/acknowledge")
def acknowledge(view: View) -> Response:
    """State that somebody looks after a cause."""
    fingerprint = view.path["fingerprint"]
    view.bus.acknowledge_fingerprint(fingerprint, note=view.form.text("note", longest=4000))
    return view.redirect(f"/dead/causes/{fingerprint}", notice="Acknowledged.")


@page.post("/dead/causes/{fingerprint}/resolve")
def resolve(view: View) -> Response:
    """State that a cause is mended."""
    fingerprint = view.path["fingerprint"]
    view.bus.resolve_fingerprint(fingerprint, note=view.form.text("note", longest=4000))
    return view.redirect(
        f"/dead/causes/{fingerprint}", notice="Resolved: the next dead letter of it means that it has returned."
    )


def _try_first(view: View, frozen: Frozen, first: int) -> Response:
    tried, others = frozen.ids[:first], frozen.ids[first:]
    view.bus.resolving.retry(replace(frozen, ids=tried))
    kept = {name: text for name in (*TEXTS, "status", "scope") if (text := view.form.text(name)) is not None}
    fields = {**kept, **{name: str(value) for name, value in _fixed(replace(frozen, ids=others)).items()}}
    if frozen.sought.ids is not None:
        fields["id"] = ",".join(map(str, others))
    plan = TrialPlan(tried=list(tried), others=len(others), fields=fields, who=view.user.name)
    notice = f"{len(tried)} dead letters are retried first."
    return view.redirect("/dead/trial", notice=notice, plan=sign_plan(plan, view.site))


def _trial(view: View) -> dict[str, Any]:
    word = view.filters.text("plan", longest=_LONGEST) or ""
    plan = read_plan(word, view.site)
    return {"plan": plan, "word": word, "trial": view.bus.trial(plan.tried)}


def _retry_all(view: View, frozen: Frozen, *, back: _Back) -> Response:
    return _carried_out(view, frozen, lambda stop: view.bus.resolving.retry(frozen, stop=stop), "retried", back=back)


def _carried_out(
    view: View, frozen: Frozen, work: Callable[[threading.Event], Progress], done: str, *, back: _Back
) -> Response:
    if frozen.count > _AT_ONCE:
        view.site.background.start(work, name=f"dead letters {done}", who=view.user.name)
        notice = f"{frozen.count:,} dead letters are being {done} in the background: the audit tells how far it came."
        return view.redirect(back.path, notice=notice, **back.query)
    progress = work(threading.Event())
    others = frozen.count - progress.changed
    rest = f" {others:,} were not open any more." if others else ""
    return view.redirect(back.path, notice=f"{progress.changed:,} dead letters {done}.{rest}", **back.query)


def _freeze(view: View, form: Filters, *, last_id: int | None = None) -> Frozen:
    """What *form* means now: the letters that were chosen, or all that match its filter."""
    if form.choice("scope", ("chosen", "all")) == "all":
        if (status := form.choice("status", [*STATUSES, "all"]) or "open") != "open":
            raise InvalidInput(
                f"status={status} is shown, but only open dead letters can be changed: show these first."
            )
        return view.bus.freeze_dead_letters(**sought_of(form), last_id=last_id)
    ids = _ids(form, "id")
    if not ids:
        raise InvalidInput("choose the dead letters that are meant, or take all that match the filter.")
    return view.bus.freeze_dead_letters(ids=ids)


def _freeze_again(view: View, form: Filters) -> Frozen:
    """What was counted before, without what has been resolved since.

    Raises:
        InvalidInput: It was not counted, or is more than that, or something else.
    """
    counted = form.number("count")
    if counted is None:
        raise InvalidInput("count what is meant before it is changed.")
    frozen = _freeze(view, form, last_id=form.number("last_id"))
    if frozen.count > counted:
        raise InvalidInput(
            f"{frozen.count:,} dead letters match now, more than the {counted:,} that were shown; nothing was changed: look again."
        )
    shown = form.text("shown", longest=_LONGEST)
    if shown is not None and not set(frozen.ids) <= set(read_ids(shown)):
        raise InvalidInput("other dead letters match now than those that were shown; nothing was changed: look again.")
    return frozen


def _fixed(frozen: Frozen) -> dict[str, object]:
    """What makes a filter mean the same later on."""
    moments = {name: getattr(frozen.sought, name) for name in ("since", "until")}
    times = {name: moment.isoformat() for name, moment in moments.items() if isinstance(moment, datetime)}
    shown = None if frozen.sought.ids is not None else write_ids(frozen.ids, longest=_LONGEST // 2)
    ids = {} if shown is None else {"shown": shown}
    return {**times, **ids, "count": frozen.count, "last_id": max(frozen.ids, default=0)}


def _first(form: Filters) -> int | None:
    """How many are to be tried first; None for all at once."""
    if "carefully" not in form:
        return None
    return form.number("first", least=1, most=MOST_TRIED) or _FIRST


def _ids(given: Filters, name: str) -> tuple[int, ...]:
    """The ids that are given one by one, or joined by commas."""
    words = [word for each, value in given.items() if each == name for word in value[:_LONGEST].split(",")]
    if len(words) > _MOST_CHOSEN:
        raise InvalidInput(f"{len(words):,} dead letters are chosen, more than {_MOST_CHOSEN}: use a filter.")
    ids = (Filters([(name, word)]).number(name) for word in words)
    return tuple(id for id in ids if id is not None)


def _back(form: Filters) -> _Back:
    """Where to go from here."""
    fingerprint, letter = form.text("fingerprint"), form.number("letter")
    if letter is not None:
        return _Back(path=f"/dead/{letter}")
    names = [name for name in (*TEXTS, "status") if name != "fingerprint"]
    query = {name: text for name in names if (text := form.text(name)) is not None}
    return _Back(path="/dead/letters" if fingerprint is None else f"/dead/causes/{fingerprint}", query=query)
