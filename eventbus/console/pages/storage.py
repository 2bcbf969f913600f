"""Storage: how large the tables and partitions are, and what vacuum has left to do."""

from collections.abc import Sequence

from starlette.responses import Response

from eventbus.console.message import Message
from eventbus.console.page import Page
from eventbus.console.view import View

page = Page("Storage", "/storage")


@page.get("/storage", budget=2)
def show(view: View) -> Response:
    return view.show("storage.html", space=view.site.space.take())


@page.live("/live/storage", budget=2)
def pulse(view: View) -> Sequence[Message]:
    return [view.fragment("space", "storage_space.html", space=view.site.space.take())]
