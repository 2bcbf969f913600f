"""The app: pages, files and login under one roof."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from eventbus.bus import EventBus
from eventbus.console.access import Check, Checked
from eventbus.console.answering import endpoint_of
from eventbus.console.login import login_routes
from eventbus.console.numbers import know_numbers
from eventbus.console.page import Changing, Live, Shown, Tailing
from eventbus.console.pages import PAGES
from eventbus.console.protection import Protection, protect
from eventbus.console.readings import Reading
from eventbus.console.sessions import Cookies
from eventbus.console.settings import ConsoleSettings, load_console_settings
from eventbus.console.site import Entry, Site
from eventbus.console.streaming import Streams
from eventbus.console.templating import make_templates
from eventbus.console.troubles import answer_trouble
from eventbus.lifecycle.health import Verdict, ask


def create_app(bus: EventBus, *, check: Check | None = None, settings: ConsoleSettings | None = None) -> Starlette:
    """The console of *bus*, as an ASGI app: served by itself, or mounted under any path of another.

    Without *check* and without EVENTBUS_CONSOLE_* it answers only to this machine's own browsers.

    Args:
        check: Of the host app: returns the `User` who sent a request, or None if they may not see the console; plain or async.
        settings: In the place of what the environment says.

    Returns:
        The app. Its ``state.end_streams()`` ends what pages listen to, which does not end by itself: for a server that is about to
        stop, in its loop.

    Raises:
        ConfigurationError: The environment's settings cannot be used.
    """
    given = settings or load_console_settings()
    if check is not None:
        given = replace(given, access=Checked(check))
    pulse = Reading(bus.pulse)
    site = Site(
        bus=bus,
        settings=given,
        templates=make_templates(),
        navigation=[Entry(title=page.title, path=page.path) for page in PAGES],
        cookies=Cookies(given.secret),
        pulse=pulse,
        findings=Reading(bus.diagnose, is_failure=lambda findings: any(finding.is_away for finding in findings)),
        space=Reading(bus.space),
        broker_depths=Reading(
            lambda: bus.broker_depths([group.name for group in pulse.take().groups]),
            is_failure=lambda depths: depths is None,
        ),
        broker=Reading(lambda: ask(bus.broker.ping), is_failure=lambda answer: answer.verdict is not Verdict.OK),
    )

    async def answer_error(request: Request, error: Exception) -> Response:
        return answer_trouble(error, request, site)

    async def answer_failure(request: Request, error: Exception) -> Response:
        # Outside of all middleware.
        answer = answer_trouble(error, request, site)
        protect(answer.headers)
        return answer

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(site.background.stop)

    streams = Streams()
    app = Starlette(
        routes=_routes(site, streams),
        lifespan=life,
        middleware=[Middleware(Protection)],
        exception_handlers={404: answer_error, 405: answer_error, 500: answer_failure},
    )
    app.state.end_streams = streams.end
    return app


def _routes(site: Site, streams: Streams) -> list[BaseRoute]:
    know_numbers()
    routes: list[BaseRoute] = [
        Mount("/static", _Files(directory=str(files("eventbus.console") / "static")), name="static")
    ]
    routes += login_routes(site)
    for page in PAGES:
        for route in page.routes:
            match route:
                case Shown() | Changing():
                    method = "GET" if isinstance(route, Shown) else "POST"
                    routes.append(Route(route.path, endpoint_of(route, site), methods=[method]))
                case Live() | Tailing():
                    routes.append(Route(route.path, streams.endpoint_of(route, site), methods=["GET"]))
    return routes


class _Files(StaticFiles):
    """The files of the console: no secrets, so no login; browsers keep them, and ask whether they have changed."""

    def file_response(self, *args: Any, **more: Any) -> Response:
        answer = super().file_response(*args, **more)
        answer.headers["cache-control"] = "no-cache"
        return answer
