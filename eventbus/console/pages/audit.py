"""Audit: what operators changed, newest first, as `eventbus audit` lists it."""

from starlette.responses import Response

from eventbus.console.page import Page
from eventbus.console.view import View

page = Page("Audit", "/audit")
_LIMIT = 50


@page.get("/audit", budget=2)
def list_changes(view: View) -> Response:
    found = view.bus.audit(cursor=view.filters.number("cursor"), limit=_LIMIT + 1)
    more = found[_LIMIT - 1].id if len(found) > _LIMIT else None
    return view.show("audit.html", entries=found[:_LIMIT], more=more)
