"""Audit: what operators changed, newest first, as `eventbus audit` lists it."""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from eventbus.console.message import Message
from eventbus.console.page import Page
from eventbus.console.view import View

page = Page("Audit", "/audit")
_LIMIT = 50


@page.get("/audit", budget=2)
def list_changes(view: View) -> Response:
    return view.show("audit.html", **_read(view))


@page.live("/live/audit", budget=2)
def pulse(view: View) -> Sequence[Message]:
    return [view.fragment("changes", "audit_table.html", **_read(view))]


def _read(view: View) -> dict[str, Any]:
    found = view.bus.audit(cursor=view.filters.number("cursor"), limit=_LIMIT + 1)
    more = found[_LIMIT - 1].id if len(found) > _LIMIT else None
    return {"entries": found[:_LIMIT], "more": more}
