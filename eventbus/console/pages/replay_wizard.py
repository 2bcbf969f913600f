"""The wizard of replays: what is asked for is counted, and what was counted is started.

Counting may take long, and no page waits for it: the number comes when it is known.
"""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from eventbus.console.counts import LONGEST
from eventbus.console.filters import Filters
from eventbus.console.message import Message
from eventbus.console.pages.replays import carry_out
from eventbus.console.pages.replays import page as page
from eventbus.console.view import View
from eventbus.errors import InvalidInput
from eventbus.lifecycle.replay_planning import Asked, Plan, check_rate
from eventbus.replay import MEANINGS
from eventbus.storage.deadlines import waiting_at_most

_TEXTS = ("pattern", "since", "until", "correlation_id")
_LONGEST_IDS = 100_000


@page.get("/replays/new", budget=7)
def plan(view: View) -> Response:
    """The form; and, once it was sent, what the replay would do, counted."""
    groups = sorted({each.group for each in view.bus.groups()})
    data, error = {"planned": None, "is_counting": False}, None
    try:
        _rate(view.filters)
        data = _planned(view, again=True)
    except InvalidInput as refused:
        error = str(refused)
    return view.show(
        "replays/new.html",
        status=200 if error is None else 400,
        fields=_fields(view.filters),
        groups=groups,
        error=error,
        **data,
    )


@page.live("/live/replays/new", budget=7)
def pulse(view: View) -> Sequence[Message]:
    """The number, as soon as it is known; or why there is none."""
    try:
        data = _planned(view, again=False)
    except InvalidInput as refused:
        data = {"planned": None, "is_counting": False, "refusal": str(refused)}
    return [view.fragment("planned", "replays/planned.html", **data)]


@page.post("/replays")
def start(view: View) -> Response:
    """Begin what was counted: events that were recorded after the count are no part of it."""
    rate = _rate(view.form)
    with waiting_at_most(LONGEST):
        planned = view.bus.replaying.plan(_asked(view.form))
    counted = view.form.number("counted")
    if counted is not None and planned.count > counted:
        raise InvalidInput(f"{planned.count:,} deliveries match now, more than the {counted:,} counted: count again.")
    job = view.bus.replaying.create(planned, rate=rate)
    carry_out(view, job.id)
    return view.redirect(f"/replays/{job.id}", notice=f"Replaying to {job.group}: {planned.count:,} deliveries.")


def _planned(view: View, *, again: bool) -> dict[str, Any]:
    """What the address asks for, counted, unless that takes longer than a moment."""
    if "count" not in view.filters:
        return {"planned": None, "is_counting": False}
    asked, bus = _asked(view.filters), view.bus
    planned = view.site.plans.take(repr(asked), lambda: bus.replaying.plan(asked), again=again)
    fixed = None if planned is None else _fixed(view.filters, planned)
    return {
        "planned": planned,
        "is_counting": planned is None,
        "fixed": fixed,
        "meanings": MEANINGS,
    }


def _fields(given: Filters) -> dict[str, str | None]:
    fields = {name: given.text(name) for name in ("group", *_TEXTS, "rate")}
    return {**fields, "event_ids": given.text("event_ids", longest=_LONGEST_IDS)}


def _fixed(given: Filters, planned: Plan) -> dict[str, str | None]:
    """The fields that mean what was *planned*, also when it starts: with the times that it found."""
    selection = planned.selection
    moments = {"since": selection.since, "until": selection.until}
    times = {name: None if moment is None else moment.isoformat() for name, moment in moments.items()}
    return {**_fields(given), **times, "last_id": str(selection.last_id), "counted": str(planned.count)}


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
