"""Pages: a module of `eventbus.console.pages` makes one, hangs its functions on it, and is named in PAGES there.

    page = Page("Groups", "/groups")

    @page.get("/groups/{group}", budget=4)                 anybody who may look
    def show(view: View) -> Response:
        return view.show("group.html", found=view.bus.group_details(view.path["group"]))

    @page.post("/groups/{group}/pause")                    operators only; CSRF is checked, the audit names the user
    def pause(view: View) -> Response:
        if not view.is_confirmed:
            return view.confirm("Pause inventory?", "No worker takes its deliveries.", button="Pause")
        view.bus.pause_group(view.path["group"])
        return view.redirect("/groups/inventory", notice="inventory is paused.")

    @page.live("/live/groups/{group}", budget=4)           asked again every few seconds while the tab is looked at
    def pulse(view: View) -> Sequence[Message]:
        return [view.fragment("group-numbers", "group/numbers.html", found=...), view.data("rates", {...})]

    @page.tail("/live/events")                             what comes, when it comes
    def tail(view: View) -> Tail:
        return Tail(source=view.bus.listen("#"), show=lambda event: view.fragment("events", "events/row.html", event=event))

Functions run in threads, and raise errors of `eventbus.errors`: each becomes a page that says what to do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from starlette.responses import Response

from eventbus.console.message import Message, Tail
from eventbus.console.view import View

Shows = Callable[[View], Response]
Pulses = Callable[[View], Sequence[Message]]
Tails = Callable[[View], Tail]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A path that shows something."""

    path: str
    function: Shows
    #: The most statements that it sends to PostgreSQL, whatever the bus holds; a test counts them.
    budget: int


@dataclass(frozen=True, kw_only=True)
class Changing:
    """A path that changes something."""

    path: str
    function: Shows


@dataclass(frozen=True, kw_only=True)
class Live:
    """A path that tells what has changed, again and again."""

    path: str
    function: Pulses
    budget: int
    every: timedelta


@dataclass(frozen=True, kw_only=True)
class Tailing:
    """A path that tells what comes."""

    path: str
    function: Tails


@dataclass
class Page:
    """An entry of the navigation, and all paths that belong to it."""

    title: str
    #: Where the entry leads.
    path: str
    routes: list[Shown | Changing | Live | Tailing] = field(default_factory=list)

    def get(self, path: str, *, budget: int) -> Callable[[Shows], Shows]:
        """Show what the decorated function returns."""
        return self._adding(lambda function: Shown(path=path, function=function, budget=budget))

    def post(self, path: str) -> Callable[[Shows], Shows]:
        """Let operators change what the decorated function changes."""
        return self._adding(lambda function: Changing(path=path, function=function))

    def live(self, path: str, *, budget: int, every: timedelta = timedelta(seconds=2)) -> Callable[[Pulses], Pulses]:
        """Tell those who look what the decorated function returns, as often as *every*."""
        return self._adding(lambda function: Live(path=path, function=function, budget=budget, every=every))

    def tail(self, path: str) -> Callable[[Tails], Tails]:
        """Tell those who look what comes out of the tail that the decorated function opens."""
        return self._adding(lambda function: Tailing(path=path, function=function))

    def _adding(self, made: Callable[[Any], Shown | Changing | Live | Tailing]) -> Callable[[Any], Any]:
        def add(function: Any) -> Any:
            self.routes.append(made(function))
            return function

        return add
