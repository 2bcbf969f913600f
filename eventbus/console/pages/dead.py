"""Dead letters: by what they have in common, one by one, and each with its payload and traceback."""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from eventbus.console.filters import Filters
from eventbus.console.message import Message
from eventbus.console.page import Page
from eventbus.console.tracebacks import read_traceback
from eventbus.console.view import View
from eventbus.lifecycle.dead_lettering import STATUSES
from eventbus.lifecycle.fingerprinting import STATES
from eventbus.storage.overview.causes import MOST_READ

page = Page("Dead letters", "/dead")

_CAUSES = 15
_KINDS = {"new": "fault", "returned": "fault", "acknowledged": "notice", "resolved": "ok"}
_ROWS = 50
#: What narrows a list of letters, as `EventBus.dead_letters` takes it.
TEXTS = ("type", "group", "error_type", "error", "fingerprint", "since", "until", "correlation_id")


@page.get("/dead", budget=6)
def list_causes(view: View) -> Response:
    """What dead letters have in common: a line for each cause, however many letters it has."""
    return view.show("dead/causes.html", states=STATES, **_causes(view))


@page.live("/live/dead", budget=6)
def pulse_of_causes(view: View) -> Sequence[Message]:
    """These causes as they are now."""
    return [view.fragment("causes", "dead/causes_table.html", **_causes(view))]


@page.get("/dead/letters", budget=4)
def list_letters(view: View) -> Response:
    """The letters that the address asks for."""
    return view.show("dead/letters.html", **_letters(view))


@page.live("/live/dead/letters", budget=4)
def pulse_of_letters(view: View) -> Sequence[Message]:
    """These letters as they are now."""
    return [view.fragment("letters", "dead/letters_table.html", **_letters(view))]


@page.get("/dead/causes/{fingerprint}", budget=6)
def show_cause(view: View) -> Response:
    """One cause and its letters."""
    return view.show("dead/cause.html", **_cause(view))


@page.live("/live/dead/causes/{fingerprint}", budget=6)
def pulse_of_cause(view: View) -> Sequence[Message]:
    """That cause and its letters as they are now."""
    data = _cause(view)
    return [
        view.fragment("cause-state", "dead/cause_state.html", **data),
        view.fragment("cause", "dead/cause_facts.html", **data),
        view.fragment("letters", "dead/letters_table.html", **data),
    ]


@page.get("/dead/{letter_id:number}", budget=4)
def show(view: View) -> Response:
    """One letter: the event, each failed run, the traceback."""
    data = _letter(view)
    return view.show("dead/letter.html", traceback=read_traceback(data["letter"].traceback), **data)


@page.live("/live/dead/{letter_id:number}", budget=4)
def pulse_of_letter(view: View) -> Sequence[Message]:
    """What becomes of it."""
    data = _letter(view)
    return [
        view.fragment("letter-status", "dead/letter_status.html", **data),
        view.fragment("letter", "dead/letter_state.html", **data),
        view.fragment("letter-runs", "dead/letter_runs.html", **data),
    ]


def sought_of(filters: Filters) -> dict[str, Any]:
    """What *filters* ask of `EventBus.dead_letters`.

    Raises:
        InvalidInput: Something cannot be read.
    """
    return {name: filters.text(name) for name in TEXTS}


def _causes(view: View) -> dict[str, Any]:
    found = view.bus.fingerprints(
        state=view.filters.choice("state", STATES),
        group=view.filters.text("group"),
        cursor=view.filters.text("cursor"),
        limit=_CAUSES,
    )
    trends = view.bus.fingerprint_trends([cause.fingerprint for cause in found.items])
    return {"found": found, "trends": trends, "most_read": MOST_READ, "kinds": _KINDS}


def _cause(view: View) -> dict[str, Any]:
    fingerprint = view.path["fingerprint"]
    cause = view.bus.fingerprint(fingerprint)
    trend = view.bus.fingerprint_trends([fingerprint])[fingerprint]
    return {
        "cause": cause,
        "trend": trend,
        "most_read": MOST_READ,
        "kinds": _KINDS,
        **_letters(view, fingerprint=fingerprint),
    }


def _letter(view: View) -> dict[str, Any]:
    details = view.bus.dead_letter(view.path["letter_id"])
    return {"letter": details.letter, "event": details.event, "attempts": details.attempts}


def _letters(view: View, **fixed: str) -> dict[str, Any]:
    sought = {**sought_of(view.filters), **fixed}
    status = view.filters.choice("status", [*STATUSES, "all"]) or "open"
    found = view.bus.dead_letters(
        **sought, status=None if status == "all" else status, cursor=view.filters.number("cursor"), limit=_ROWS
    )
    asked = {name: value for name, value in sought.items() if value is not None}
    return {"found": found, "sought": asked, "shown_status": status, "statuses": [*STATUSES, "all"]}
