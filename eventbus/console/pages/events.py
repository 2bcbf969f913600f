"""Events: found by what the address asks for, page by page; watched as they come; each with how its groups stand."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from starlette.responses import Response

from eventbus.console.event_following import EventFollowing, Seen
from eventbus.console.event_tail import EventTail
from eventbus.console.filters import Filters
from eventbus.console.message import Message, Tail
from eventbus.console.page import Page
from eventbus.console.view import View
from eventbus.delivery import State
from eventbus.errors import InvalidInput
from eventbus.event import Event
from eventbus.storage.overview.events import EventPage
from eventbus.storage.overview.stories import Standing
from eventbus.times import parse_moment

page = Page("Events", "/events")

_ROWS = 50
#: Of events that no index tells apart a page looks at so many, to answer in time however many there are.
_MOST_READ = 4000
#: The statements of a page: the group, the bounds, the types, the events, how far was looked, and their deliveries.
_BUDGET = 6
_LONGEST = 500
_TEXTS = ("pattern", "since", "until", "correlation_id", "group", "error")


@page.get("/events", budget=_BUDGET)
def list_events(view: View) -> Response:
    """The newest events that the address asks for; what cannot be asked for is said above the form."""
    asked_at = view.bus.clock()
    try:
        sought = sought_of(view.filters)
        found = view.bus.events(**sought, cursor=view.filters.uuid("cursor"), limit=_ROWS, most_read=_MOST_READ)
    except InvalidInput as error:
        nothing = EventPage(items=(), next=None)
        return _shown(view, nothing, {}, asked_at=asked_at, error=str(error))
    return _shown(view, found, standings_of(view, found.items), asked_at=asked_at)


@page.tail("/live/events")
def tail(view: View) -> Tail:
    """Events as they are recorded, and how the groups of the newest ones stand, for as long as somebody looks. Best effort."""
    sought = sought_of(view.filters)
    events = EventTail(view.bus, sought, after=_after(view))
    shown = [event.id for event in view.bus.events(**sought, limit=_ROWS, most_read=_MOST_READ).items]

    def show(seen: Seen) -> Message:
        if seen.event is None:
            return view.fragment(f"standings-{seen.id}", "events/standings.html", standings=seen.standings)
        return view.fragment("events", "events/row.html", event=seen.event, standings=seen.standings)

    return Tail(source=EventFollowing(view.bus, events, shown), show=show)


def _after(view: View) -> datetime | None:
    """Since when the list lacks what was recorded."""
    text = view.filters.text("after")
    moment = None if text is None else parse_moment("after", text)
    return view.bus.clock() - moment if isinstance(moment, timedelta) else moment


def sought_of(filters: Filters) -> dict[str, Any]:
    """What *filters* ask of `EventBus.events`; a field of the data is ``data.customer.id=42``, or that text as ``where``.

    Raises:
        InvalidInput: Something cannot be read.
    """
    sought: dict[str, Any] = {name: filters.text(name) for name in _TEXTS}
    fields = [(name, value) for name, value in filters.items() if name.startswith("data.")]
    for text in filters.texts("where", most=8):
        path, separator, value = text.partition("=")
        if not separator or not path.startswith("data."):
            raise InvalidInput(f"{text!r:.80} is not of the form data.customer.id=42.")
        fields.append((path, value))
    data = {path.removeprefix("data."): value for path, value in fields}
    return {**sought, "state": filters.choice("state", State), "data": data}


def standings_of(view: View, events: Sequence[Event]) -> dict[UUID, list[Standing]]:
    """How each group stands with each of *events*."""
    found: dict[UUID, list[Standing]] = {}
    for standing in view.bus.standings([event.id for event in events]):
        found.setdefault(standing.event_id, []).append(standing)
    return found


def wheres(filters: Filters) -> list[str]:
    """The fields of the data that are asked for, as they are typed into the form."""
    named = [f"{name}={value}" for name, value in filters.items() if name.startswith("data.")]
    return [*named, *(value for name, value in filters.items() if name == "where")]


def _shown(
    view: View,
    found: EventPage,
    standings: dict[UUID, list[Standing]],
    *,
    asked_at: datetime,
    error: str | None = None,
) -> Response:
    return view.show(
        "events/list.html",
        status=200 if error is None else 400,
        found=found,
        standings=standings,
        asked_at=asked_at,
        states=list(State),
        given=lambda name: _typed(view.filters, name),
        wheres=wheres(view.filters),
        # What is to come is shown on top of the newest, and nowhere else.
        follows=error is None and not {"cursor", "until"} & {name for name, _ in view.filters.items()},
        error=error,
    )


def _typed(filters: Filters, name: str) -> str:
    """What was typed into a field, as it was, whether it can be used or not."""
    return next((value[:_LONGEST] for each, value in filters.items() if each == name), "")
