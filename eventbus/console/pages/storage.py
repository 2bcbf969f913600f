"""Storage: how large the tables and partitions are, and what vacuum has left to do."""

from starlette.responses import Response

from eventbus.console.page import Page
from eventbus.console.view import View

page = Page("Storage", "/storage")


@page.get("/storage", budget=2)
def show(view: View) -> Response:
    return view.show("storage.html", space=view.bus.space())
