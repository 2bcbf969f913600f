"""Groups: who is subscribed to what, how far behind each group is, and who does its work."""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from eventbus.console.message import Message
from eventbus.console.page import Page
from eventbus.console.summaries import chart, summarize
from eventbus.console.view import View
from eventbus.subscription import check_group

page = Page("Groups", "/groups")


@page.get("/groups", budget=35)
def list_groups(view: View) -> Response:
    return view.show("groups.html", groups=_summaries(view))


@page.live("/live/groups", budget=35)
def pulse(view: View) -> Sequence[Message]:
    return [view.fragment("list", "groups/list.html", groups=_summaries(view))]


@page.get("/groups/{group}", budget=38)
def show(view: View) -> Response:
    return view.show("group.html", **_read(view))


@page.live("/live/groups/{group}", budget=38)
def pulse_of_one(view: View) -> Sequence[Message]:
    data = _read(view)
    parts = ("actions", "state", "subscriptions", "workers")
    return [
        *(view.fragment(part, f"groups/{part}.html", **data) for part in parts),
        view.data("throughput", data["throughput"]),
    ]


@page.post("/groups/{group}/pause")
def pause(view: View) -> Response:
    group = check_group(view.path["group"])
    if not view.is_confirmed:
        sentence = f"Workers stop claiming deliveries of {group}. Running handlers finish, and events are still recorded for it."
        return view.confirm(f"Pause {group}?", sentence, button="Pause", back=f"/groups/{group}")
    changed = view.bus.pause_group(group)
    return view.redirect(f"/groups/{group}", notice=f"{group} is paused." if changed else f"{group} was paused before.")


@page.post("/groups/{group}/resume")
def resume(view: View) -> Response:
    group = check_group(view.path["group"])
    changed = view.bus.resume_group(group)
    notice = f"Workers claim deliveries of {group} again within two seconds." if changed else f"{group} was not paused."
    return view.redirect(f"/groups/{group}", notice=notice)


def _summaries(view: View) -> Sequence[Any]:
    return summarize(view.site.pulse.take(), view.site.findings.take())


def _read(view: View) -> dict[str, Any]:
    name = view.path["group"]
    pulse, findings = view.site.pulse.take(), view.site.findings.take()
    found = view.bus.group_details(name, open={str(state): count for state, count in pulse.open.get(name, {}).items()})
    summaries = summarize(pulse, findings)
    # It may have subscribed a moment ago.
    summary = next((each for each in summaries if each.group.name == name), None)
    depths = view.site.broker_depths.take()
    names = () if summary is None else ("arrived", "handled", "failed")
    return {
        "found": found,
        "summary": summary,
        "findings": [finding for finding in findings if finding.subject == name and finding.advice],
        "in_broker": None if depths is None else depths.get(name, 0),
        "throughput": chart(pulse.rates.minutes, {name: getattr(summary, name) for name in names}),
    }
