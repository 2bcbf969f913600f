"""Overview: how the bus is, what it does, and what needs attention first; also the way from an id to what it names."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from starlette.responses import Response

from eventbus.console.message import Message
from eventbus.console.page import Page
from eventbus.console.summaries import attention, chart, gravest, summarize, total
from eventbus.console.view import View
from eventbus.errors import UnknownEvent, UnknownReplay
from eventbus.lifecycle.diagnosing import Finding

page = Page("Overview", "/")
_NUMBER = re.compile(r"[0-9]{1,18}")
#: In this order; each is shown as well or as badly as its findings say.
_SERVERS = ("database", "broker")


@page.get("/", budget=35)
def show(view: View) -> Response:
    return view.show("overview.html", **_read(view))


@page.live("/live", budget=35)
def pulse(view: View) -> Sequence[Message]:
    data = _read(view)
    parts = ("attention", "health", "figures", "groups")
    return [
        *(view.fragment(part, f"overview/{part}.html", **data) for part in parts),
        view.data("rates", data["rates"]),
    ]


@page.get("/find", budget=4)
def find(view: View) -> Response:
    """Lead to what an id names: an event, a replay or a dead letter, as Flower, logs and the command line show it; else a story."""
    text = (view.filters.text("id") or "").strip()
    if not text:
        return view.redirect("/")
    if _NUMBER.fullmatch(text):
        return view.redirect(f"/dead/{text}")
    # A task's arguments in Flower are the event's type and id.
    last = text.rsplit(maxsplit=1)[-1].strip("'\"(),")
    try:
        id = UUID(last)
    except ValueError:
        return view.redirect("/events", correlation_id=text)
    return view.redirect(_path_of(view, id))


def _path_of(view: View, id: UUID) -> str:
    try:
        view.bus.event_details(id)
    except UnknownEvent:
        try:
            view.bus.find_replay(id)
        except UnknownReplay:
            raise UnknownEvent(id) from None
        return f"/replays/{id}"
    return f"/events/{id}"


def _read(view: View) -> dict[str, Any]:
    found, findings = view.site.pulse.take(), view.site.findings.take()
    rates = found.rates
    # Whoever serves no group runs no relay either.
    serving = [worker for worker in found.workers if worker.groups]
    return {
        "pulse": found,
        "attention": attention(findings),
        "servers": [_server(name, findings) for name in _SERVERS],
        "serving": serving,
        "idle": len(found.workers) - len(serving),
        "relay_level": gravest(finding for finding in findings if finding.check == "relay"),
        "wake_ups": sum(sent.in_hour for sent in found.repairs.values()),
        "groups": summarize(found, findings),
        "rates": chart(
            rates.minutes,
            {
                name: total(getattr(rates, name).values(), len(rates.minutes))
                for name in ("published", "handled", "failed")
            },
        ),
    }


def _server(name: str, findings: Sequence[Finding]) -> Finding:
    return next(finding for finding in findings if finding.check == name)
