"""The view: all that a page's function gets, and the ways in which it can answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from eventbus.bus import EventBus
from eventbus.console.access import User
from eventbus.console.filters import Filters
from eventbus.console.message import Message
from eventbus.console.notices import keep_notice
from eventbus.console.site import Site
from eventbus.redaction import hides_correlation_ids

#: The field of a form that says that its user was asked.
CONFIRMED = "confirmed"
#: The field of a form that proves that it is ours.
TOKEN = "token"  # noqa: S105 - the name of a field
#: What moves on a page is told at the page's own path below this one.
STREAMS = "/live"


@dataclass(frozen=True, kw_only=True)
class View:
    """A request of a user who may make it."""

    site: Site
    request: Request
    user: User
    #: What the forms of this view must bring.
    token: str
    #: The fields of the form that was sent; none if there was none.
    form: Filters
    #: What the user was left with by the request before.
    notice: str | None = None

    @property
    def bus(self) -> EventBus:
        return self.site.bus

    @property
    def hides_stories(self) -> bool:
        """Nobody is shown a correlation id, or may look for one."""
        return hides_correlation_ids(self.bus.settings.redact)

    @property
    def hides_errors(self) -> bool:
        """Nobody may look for a part of an error: it may hold what must not be seen."""
        return bool(self.bus.settings.redact)

    @property
    def path(self) -> Mapping[str, Any]:
        """The parts of the path that are named in the route."""
        return self.request.path_params

    @property
    def filters(self) -> Filters:
        """What the address asks for."""
        return Filters(self.request.query_params.multi_items())

    @property
    def is_confirmed(self) -> bool:
        """The user was asked whether they mean it."""
        return CONFIRMED in self.form

    def flower(self, path: str) -> str | None:
        """The address of *path* in Flower; None where nobody has said where that is."""
        return f"{self.site.settings.flower_url}{quote(path)}" if self.site.settings.flower_url else None

    def url(self, path: str, **query: object) -> str:
        """The address of *path* in this console, wherever it is mounted; what is None in *query* is left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return f"{self.root}{quote(path)}{'?' if given else ''}{urlencode(given, errors='replace')}"

    def here(self, **changes: object) -> str:
        """The address of this page with other filters: None takes one away. A page of a list is left unless it is named."""
        return self._address(self.own_path, self.filters.with_changes({"cursor": None, **changes}))

    @property
    def stream(self) -> str:
        """The address at which this page is told what moves on it."""
        return self._address(f"{STREAMS}{self.own_path.rstrip('/')}", self.filters.with_changes({}))

    def show(self, template: str, *, status: int = 200, **data: Any) -> Response:
        """A page."""
        return HTMLResponse(self._rendered(template, data), status_code=status)

    def fragment(self, id: str, template: str, **data: Any) -> Message:
        """*template* for the place of the element with that id."""
        return Message(event="fragment", body={"id": id, "html": self._rendered(template, data)})

    def data(self, name: str, value: Any) -> Message:
        """JSON values for the script that waits for *name*, such as a chart."""
        return Message(event="data", body={"name": name, "value": value})

    def confirm(
        self,
        question: str,
        sentence: str,
        *,
        button: str,
        fields: Mapping[str, object] | None = None,
        back: str = "/",
        back_query: Mapping[str, object] | None = None,
    ) -> Response:
        """A page that asks; its button sends the same form again, confirmed.

        Args:
            sentence: What will happen, with all numbers.
            fields: Sent in addition, such as what was counted, or in the place of those of the form.
            back, back_query: Where the link leads that changes nothing.
        """
        given = {} if fields is None else {name: str(value) for name, value in fields.items()}
        kept = [(name, value) for name, value in self.form.items() if name not in (TOKEN, CONFIRMED, *given)]
        return self.show(
            "confirm.html",
            question=question,
            sentence=sentence,
            button=button,
            fields=[*kept, *given.items(), (CONFIRMED, "yes")],
            back=back,
            back_query=back_query or {},
        )

    def redirect(self, path: str, *, notice: str | None = None, **query: object) -> Response:
        """Lead the user to *path* in this console, and tell them *notice* there."""
        answer = RedirectResponse(self.url(path, **query), status_code=303)
        if notice is not None:
            keep_notice(answer, notice, site=self.site, request=self.request)
        return answer

    @property
    def root(self) -> str:
        """The path under which the console is mounted; empty where it stands by itself."""
        return str(self.request.scope.get("root_path", ""))

    @property
    def own_path(self) -> str:
        """The path of the page, also where its stream is asked for."""
        path = str(self.request.scope["path"])
        own = path.removeprefix(self.root) if self.root else path
        return own.removeprefix(STREAMS) or "/"

    def _address(self, path: str, query: str) -> str:
        return f"{self.root}{quote(path)}{'?' if query else ''}{query}"

    def _rendered(self, template: str, data: Mapping[str, Any]) -> str:
        templates = self.site.templates
        ours = {"view": self, "root": self.root, "site": self.site, "user": self.user, "token": self.token}
        # Made once: a template that is included for each of many rows would make all macros for each of them.
        macros = templates.get_template("macros.html").make_module(ours)
        return templates.get_template(template).render(**ours, ui=macros, **data)
