"""One event: its data in each version, how each group stands with it and why, what failed, its story, and ways to have it again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from eventbus.console.copying import copies_of
from eventbus.console.gate import COOKIE
from eventbus.console.message import Message
from eventbus.console.pages.events import page as page
from eventbus.console.peer import host_of, is_secure
from eventbus.console.view import View
from eventbus.event import Event
from eventbus.lifecycle.browsing import EventDetails
from eventbus.lifecycle.causality import in_causal_order
from eventbus.replay import Outcome
from eventbus.storage.overview.failings import Failing, NewestLetter
from eventbus.storage.overview.stories import Standing

#: The statements of the page: the event, its deliveries, failures and letters; its story; its versions; the groups.
_BUDGET = 10

_OUTCOMES = {
    Outcome.RESET: "it ended before, and is delivered again",
    Outcome.REVIVED: "it is dead or discarded, and is delivered again",
    Outcome.INSERTED: "the group never had it, and gets it now",
    Outcome.RERUN: "it runs now, and runs once more afterwards",
    Outcome.LEFT_OPEN: "it still waits for its run, which becomes part of the replay",
    Outcome.LEFT_DEAD: "it is dead or discarded, and stays so",
    Outcome.SKIPPED: "its subscription opts out of replays",
    Outcome.UNMATCHED: "no subscription of the group matches its type",
}


@dataclass(frozen=True, kw_only=True)
class GroupPart:
    """How one group stands with the event, and what failed of it there."""

    standing: Standing
    failings: Sequence[Failing]
    #: Its newest dead letter, if it ever had one.
    letter: NewestLetter | None


@dataclass(frozen=True, kw_only=True)
class Branch:
    """An event of the story, in its place in the tree."""

    depth: int
    event: Event
    standings: Sequence[Standing]
    #: After the first event of the story.
    seconds: float


@page.get("/events/{event_id:uuid}.json", budget=4)
def show_json(view: View) -> Response:
    """The event as JSON, for programs."""
    details = view.bus.event_details(view.path["event_id"])
    return Response(json.dumps(details.event.as_json(), ensure_ascii=False), media_type="application/json")


@page.get("/events/{event_id:uuid}", budget=_BUDGET)
def show(view: View) -> Response:
    """All that is known of the event."""
    data = _moving(view)
    event = data["event"]
    return view.show(
        "events/event.html",
        versions=view.bus.event_versions(event),
        copies=copies_of(
            event,
            url=_absolute(view, f"/events/{event.id}.json"),
            cookie=COOKIE if view.site.settings.access.has_login else None,
        ),
        groups=sorted({each.group for each in view.bus.groups()}),
        **data,
    )


@page.live("/live/events/{event_id:uuid}", budget=7)
def pulse(view: View) -> Sequence[Message]:
    """How each group stands with it, and its story, as they are now."""
    data = _moving(view)
    return [view.fragment(part, f"events/{part}.html", **data) for part in ("parts", "story")]


@page.get("/events/{event_id:uuid}/why", budget=10)
def why(view: View) -> Response:
    """Why a group did or did not get the event, as `eventbus why` says it."""
    id, group = view.path["event_id"], view.filters.text("group")
    if group is None:
        return view.redirect(f"/events/{id}")
    found = view.bus.explain(id, group)
    return view.show("events/why.html", event=found.facts.event, group=group, found=found)


@page.post("/events/{event_id:uuid}/replay")
def replay(view: View) -> Response:
    """Deliver the event to a group again, after saying what that would do."""
    id, group = view.path["event_id"], view.form.text("group") or ""
    include_dead = "include_dead" in view.form
    if not view.is_confirmed:
        planned = view.bus.replay(event_ids=[id], group=group, include_dead=include_dead, dry_run=True)
        outcomes = [_OUTCOMES[outcome] for outcome, count in planned.outcomes.items() if count]
        sentence = f"{planned.count} delivery: {'; '.join(outcomes) or 'there is nothing to deliver'}."
        return view.confirm(f"Deliver this event to {group} again?", sentence, button="Replay", back=f"/events/{id}")
    done = view.bus.replay(event_ids=[id], group=group, include_dead=include_dead)
    return view.redirect(f"/events/{id}", notice=f"{done.count} delivery to {group}, as replay {done.id}.")


def _moving(view: View) -> dict[str, Any]:
    """What changes after an event was published."""
    details = view.bus.event_details(view.path["event_id"])
    story = view.bus.story_of(details.event)
    return {
        "event": details.event,
        "parts": _parts(details),
        "story": story,
        "branches": _branches(story.events, story.standings),
    }


def _parts(details: EventDetails) -> list[GroupPart]:
    letters = {letter.group: letter for letter in details.letters}
    return [
        GroupPart(
            standing=standing,
            failings=[each for each in details.failings if each.group == standing.group],
            letter=letters.get(standing.group),
        )
        for standing in details.standings
    ]


def _branches(events: Sequence[Event], standings: Sequence[Standing]) -> list[Branch]:
    of: dict[object, list[Standing]] = {}
    for standing in standings:
        of.setdefault(standing.event_id, []).append(standing)
    return [
        Branch(
            depth=depth,
            event=event,
            standings=of.get(event.id, []),
            seconds=(event.created_at - events[0].created_at).total_seconds(),
        )
        for depth, event in in_causal_order(events)
    ]


def _absolute(view: View, path: str) -> str:
    proxies = view.site.settings.proxies
    scheme = "https" if is_secure(view.request, proxies) else "http"
    return f"{scheme}://{host_of(view.request, proxies)}{view.url(path)}"
