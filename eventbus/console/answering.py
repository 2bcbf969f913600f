"""Answering: from a path of a page to an endpoint: past the gate, in a thread, in the user's name; any error is a page."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from eventbus.console.gate import Visit, enter, remember
from eventbus.console.notices import forget_notice, read_notice
from eventbus.console.page import Changing, Shown
from eventbus.console.site import Site
from eventbus.console.threads import run_in_thread
from eventbus.console.troubles import answer_trouble
from eventbus.console.view import View
from eventbus.lifecycle.auditing import acting_as
from eventbus.storage.deadlines import waiting_at_most

#: So long a page waits for PostgreSQL, for each of its questions.
PATIENCE = timedelta(seconds=15)

Endpoint = Callable[[Request], Awaitable[Response]]


def endpoint_of(route: Shown | Changing, site: Site) -> Endpoint:
    """What answers requests to *route*."""
    changes = isinstance(route, Changing)

    async def answer(request: Request) -> Response:
        visit = None
        try:
            visit = await enter(request, site, changes=changes)
            view = view_of(visit, request, site)
            answered = await run_in_thread(_call, route, view, among=site.threads.pages)
        except Exception as error:
            # The edge of a request: what is not foreseen is logged, and answered without a word of it.
            answered = answer_trouble(error, request, site, user=visit.user if visit else None)
        else:
            if view.notice is not None:
                forget_notice(answered, request)
        if visit is not None and visit.browser.is_new:
            remember(answered, request, site, visit.browser)
        return answered

    return answer


def view_of(visit: Visit, request: Request, site: Site) -> View:
    """What a page's function gets."""
    return View(
        site=site,
        request=request,
        user=visit.user,
        token=site.cookies.token(visit.browser, visit.user.name),
        form=visit.form,
        notice=read_notice(request, site) if request.method == "GET" else None,
    )


def _call(route: Shown | Changing, view: View) -> Response:
    if not isinstance(route, Changing):
        with waiting_at_most(PATIENCE):
            return route.function(view)
    try:
        with waiting_at_most(PATIENCE), acting_as(view.user.name):
            return route.function(view)
    finally:
        view.site.has_changed()
