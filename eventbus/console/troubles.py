"""Troubles: what a request that fails is answered: what is wrong, and what to do. Never more than the user may know."""

import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from eventbus.console.access import Refused, User
from eventbus.console.gate import Forbidden, LoginNeeded
from eventbus.console.site import Site
from eventbus.errors import (
    BrokerUnreachable,
    DatabaseBusy,
    DatabaseUnreachable,
    EventBusError,
    InvalidInput,
    NotMigrated,
    NotPermitted,
    RealtimeUnavailable,
    UnknownDeadLetter,
    UnknownEvent,
    UnknownEventType,
    UnknownEventVersion,
    UnknownFingerprint,
    UnknownGroup,
    UnknownReplay,
    WrongDatabase,
)

log = logging.getLogger(__name__)

_UNKNOWN = (
    UnknownGroup,
    UnknownEvent,
    UnknownDeadLetter,
    UnknownFingerprint,
    UnknownReplay,
    UnknownEventType,
    UnknownEventVersion,
)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What a page says that could not be shown."""

    status: int
    title: str
    sentence: str
    advice: str = ""


def trouble_of(error: Exception) -> Trouble:
    """What to say about *error*; it is logged if nobody foresaw it."""
    match error:
        case Refused():
            return Trouble(status=403, title="Not from here", sentence=str(error), advice=_NO_LOGIN)
        case Forbidden():
            return Trouble(status=403, title="Not allowed", sentence=str(error))
        case HTTPException(status_code=404):
            return Trouble(status=404, title="Nothing here", sentence="There is no such page.")
        case HTTPException():
            return Trouble(status=error.status_code, title="Not possible", sentence=error.detail)
        case EventBusError():
            return _of_the_bus(error)
    log.error("console_failed", exc_info=error)
    sentence = "An unexpected error occurred; the console's log says which."
    return Trouble(status=500, title="It did not work", sentence=sentence)


def answer_trouble(error: Exception, request: Request, site: Site, *, user: User | None = None) -> Response:
    """The answer to *request*, which ended in *error*."""
    if isinstance(error, LoginNeeded):
        # A program has no use for a form.
        return Response(status_code=401) if request.scope["path"].endswith(".json") else _to_login(request)
    trouble = trouble_of(error)
    text = site.templates.get_template("trouble.html").render(
        trouble=trouble,
        root=request.scope.get("root_path", ""),
        user=user,
        site=site,
        token=None,
        may_retry=request.method == "GET",
    )
    return HTMLResponse(text, status_code=trouble.status)


_NO_LOGIN = "To let others see it, read docs/how-to/console.md."


def _of_the_bus(error: EventBusError) -> Trouble:
    sentence = f"{str(error)[:1].upper()}{str(error)[1:]}"
    kinds: tuple[tuple[Any, int, str, str], ...] = (
        (_UNKNOWN, 404, "Not found", ""),
        (InvalidInput, 400, "This input cannot be used", ""),
        (NotPermitted, 403, "The database refuses", ""),
        (
            DatabaseUnreachable,
            503,
            "PostgreSQL cannot be reached",
            "Check that it runs, and that this host can reach it. Events are safe there; publishing fails until it is back.",
        ),
        (DatabaseBusy, 503, "PostgreSQL is busy", "Try again in a moment."),
        (NotMigrated, 503, "The tables are not there", "Run 'eventbus migrate' with the newest version of eventbus."),
        (WrongDatabase, 503, "Not a PostgreSQL for this bus", "Set EVENTBUS_DATABASE_URL."),
        (
            BrokerUnreachable,
            503,
            "The broker cannot be reached",
            "Check that it runs. Events wait in PostgreSQL meanwhile, and are delivered when it is back.",
        ),
        (RealtimeUnavailable, 409, "Nothing to listen to", ""),
    )
    for kind, status, title, advice in kinds:
        if isinstance(error, kind):
            return Trouble(status=status, title=title, sentence=sentence, advice=advice)
    return Trouble(status=400, title="That cannot be done", sentence=sentence)


def _to_login(request: Request) -> Response:
    root = str(request.scope.get("root_path", ""))
    if request.method != "GET":
        return RedirectResponse(f"{root}/login", status_code=303)
    path = str(request.scope["path"]).removeprefix(root)
    query = request.url.query
    target = f"{path}?{query}" if query else path
    return RedirectResponse(f"{root}/login?{urlencode({'next': target})}", status_code=303)
