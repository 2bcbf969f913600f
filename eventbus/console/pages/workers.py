"""Workers and queues: who does the work, and what the broker holds beside what PostgreSQL knows to be open."""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from eventbus.console.message import Message
from eventbus.console.page import Page
from eventbus.console.view import View
from eventbus.delivery import State

page = Page("Workers & queues", "/workers")


@page.get("/workers", budget=22)
def show(view: View) -> Response:
    return view.show("workers.html", **_read(view))


@page.live("/live/workers", budget=22)
def pulse(view: View) -> Sequence[Message]:
    data = _read(view)
    return [view.fragment(part, f"workers/{part}.html", **data) for part in ("workers", "queues")]


def _read(view: View) -> dict[str, Any]:
    pulse = view.site.pulse.take()
    depths = view.site.broker_depths.take()
    queues = [
        {
            "group": group,
            "in_broker": None if depths is None else depths.get(group.name, 0),
            "open": sum(pulse.open.get(group.name, {}).values()),
            "running": pulse.open.get(group.name, {}).get(State.RUNNING, 0),
            "workers": sum(group.name in worker.groups for worker in pulse.workers),
            "wake_ups": pulse.repairs[group.name].in_hour if group.name in pulse.repairs else 0,
        }
        for group in pulse.groups
    ]
    return {"workers": pulse.workers, "queues": queues, "is_broker_away": depths is None}
