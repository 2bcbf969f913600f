"""Logging in and out, where the console has users of its own."""

import logging
import math

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from eventbus.console.gate import COOKIE, Forbidden, check_origin, meet, passwords, read_form, remember
from eventbus.console.peer import address_of
from eventbus.console.sessions import Browser
from eventbus.console.site import Site
from eventbus.console.threads import run_in_thread
from eventbus.console.troubles import answer_trouble
from eventbus.errors import InvalidInput

log = logging.getLogger(__name__)

#: As long as an address may be for servers.
_LONGEST_TARGET = 1 << 16
_REFUSED = "No user has that name and that password."


def login_routes(site: Site) -> list[Route]:
    """/login and /logout; none where nobody logs in."""
    if not site.settings.access.has_login:
        return []
    login = Login(site)
    return [
        Route("/login", login.ask, methods=["GET"]),
        Route("/login", login.check, methods=["POST"]),
        Route("/logout", login.end, methods=["POST"]),
    ]


class Login:
    """The endpoints."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def ask(self, request: Request) -> Response:
        """The form."""
        return self._form(request, meet(request, self._site), target=request.query_params.get("next", "/"))

    async def check(self, request: Request) -> Response:
        """Open a session, if name and password are right."""
        browser = meet(request, self._site)
        try:
            form = await read_form(request)
            target = form.text("next", longest=_LONGEST_TARGET) or "/"
            check_origin(request, self._site, form, browser, "")
            name, password = form.text("name", longest=200) or "", form.text("password", longest=1000) or ""
        except InvalidInput as error:
            return answer_trouble(error, request, self._site)
        except Forbidden:
            message = "The form was out of date: please try again."
            return self._form(request, browser, target=target, message=message, status=403)
        return await self._try(request, browser, target, name, password)

    async def end(self, request: Request) -> Response:
        """Close the session."""
        browser = meet(request, self._site)
        try:
            form = await read_form(request)
            login = passwords(self._site.settings.access)
            user = self._site.sessions.user_of(browser, login.users.fingerprint) if login else None
            check_origin(request, self._site, form, browser, user or "")
        except (InvalidInput, Forbidden) as error:
            return answer_trouble(error, request, self._site)
        self._site.sessions.close(browser)
        root = request.scope.get("root_path", "")
        answer = RedirectResponse(f"{root}/login", status_code=303)
        answer.delete_cookie(COOKIE, path=f"{root}/")
        return answer

    async def _try(self, request: Request, browser: Browser, target: str, name: str, password: str) -> Response:
        address = address_of(request, self._site.settings.proxies)
        login = passwords(self._site.settings.access)
        # Of the password that is tried: a session that is opened while another one is set is over at once.
        fingerprint = login.users.fingerprint(name) if login else ""
        # A name that nobody has may be a password that slipped into the wrong field.
        facts = {"user": name if fingerprint else None, "address": address}
        wait = self._site.throttle.wait_seconds(name, address)
        if wait > 0:
            log.warning("console_login_throttled", extra=facts)
            message = f"Too many attempts. Try again in {math.ceil(wait / 60)} min."
            answer = self._form(request, browser, target=target, message=message, status=429)
            answer.headers["retry-after"] = str(math.ceil(wait))
            return answer
        # Counted before it is known, so that attempts at the same moment are not free.
        self._site.throttle.note_failure(name, address)
        user = None
        if login is not None:
            user = await run_in_thread(login.users.check, name, password, among=self._site.threads.logins)
        if login is None or user is None:
            log.warning("console_login_failed", extra=facts)
            return self._form(request, browser, target=target, message=_REFUSED, status=403)
        log.info("console_login", extra=facts)
        self._site.throttle.forgive(name, address)
        # A new id: whoever planted the old one has nothing of it.
        self._site.sessions.close(browser)
        fresh = self._site.cookies.meet(None)
        self._site.sessions.open(fresh, user.name, fingerprint)
        answer = RedirectResponse(f"{request.scope.get('root_path', '')}{_own(target)}", status_code=303)
        remember(answer, request, self._site, fresh)
        return answer

    def _form(
        self, request: Request, browser: Browser, *, target: str, message: str | None = None, status: int = 200
    ) -> Response:
        text = self._site.templates.get_template("login.html").render(
            token=self._site.cookies.token(browser, ""),
            root=request.scope.get("root_path", ""),
            target=target,
            message=message,
        )
        answer = HTMLResponse(text, status_code=status)
        if browser.is_new:
            remember(answer, request, self._site, browser)
        return answer


def _own(target: str) -> str:
    """*target*, if it is a path of ours: a login leads nowhere else."""
    is_path = target.startswith("/") and not target.startswith("//") and target.isprintable()
    return target if is_path and "\\" not in target else "/"
