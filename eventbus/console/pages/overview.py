"""Overview: how the bus is, what it does, and what needs attention first."""

from starlette.responses import Response

from eventbus.console.page import Page
from eventbus.console.view import View

page = Page("Overview", "/")


@page.get("/", budget=20)
def show(view: View) -> Response:
    return view.show("overview.html", health=view.bus.health())
