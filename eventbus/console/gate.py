"""The gate: every request passes it. Who is it, may they, and was the form made for them?

request ─▶ identify ─▶ (change?) same origin, token, role ─▶ Visit
              └─ Refused · LoginNeeded · Forbidden
"""

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from eventbus.console.access import Access, Asked, User
from eventbus.console.filters import Filters
from eventbus.console.peer import host_of, is_secure
from eventbus.console.sessions import Browser
from eventbus.console.site import Site
from eventbus.console.users import Passwords
from eventbus.console.view import TOKEN
from eventbus.errors import InvalidInput

#: The cookie by which a browser is known again.
COOKIE = "eventbus_console"
_MOST_FORM_BYTES = 1 << 20
_MOST_FIELDS = 2000


class Forbidden(Exception):
    """The user may not do that, or did not do it on one of our pages; the text says which."""


class LoginNeeded(Exception):
    """Nobody has logged in, or the session is over."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A request that passed."""

    browser: Browser
    user: User
    form: Filters


async def enter(request: Request, site: Site, *, changes: bool = False, is_active: bool = True) -> Visit:
    """Let *request* pass.

    Args:
        changes: It wants to change something.
        is_active: A person asked.

    Raises:
        Refused, LoginNeeded, Forbidden: It may not.
        InvalidInput: Its form cannot be read.
    """
    browser = meet(request, site)
    asked = Asked(request=request, session_user=_session_user(site, browser, is_active=is_active))
    user = await site.settings.access.identify(asked)
    if user is None:
        raise LoginNeeded
    if not changes:
        return Visit(browser=browser, user=user, form=Filters([]))
    form = await read_form(request)
    check_origin(request, site, form, browser, user.name)
    if not user.may_operate:
        raise Forbidden(f"{user.name} may look, but only operators may change something.")
    return Visit(browser=browser, user=user, form=form)


def meet(request: Request, site: Site) -> Browser:
    """The browser that sent *request*."""
    return site.cookies.meet(request.cookies.get(COOKIE))


async def read_form(request: Request) -> Filters:
    """The fields of the form in *request*.

    Raises:
        InvalidInput: It is none, or too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise InvalidInput("a change is sent as a form, application/x-www-form-urlencoded.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_FORM_BYTES:
            raise InvalidInput(f"the form is larger than {_MOST_FORM_BYTES:,} bytes: choose fewer.")
    try:
        return Filters(parse_qsl(body.decode(), errors="strict", max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise InvalidInput(
            f"the form cannot be read: it has more than {_MOST_FIELDS:,} fields, or is no text."
        ) from None


def check_origin(request: Request, site: Site, form: Filters, browser: Browser, user: str) -> None:
    """Refuse a form that another site sent, or that was made for somebody else.

    Raises:
        Forbidden: It was.
    """
    tokens = [value for name, value in form.items() if name == TOKEN]
    is_ours = len(tokens) == 1 and site.cookies.is_token(tokens[0], browser, user)
    if not is_ours or _is_from_elsewhere(request, site):
        raise Forbidden(
            "This form is out of date, or is not from this console. Nothing was changed: reload the page, then repeat."
        )


def remember(answer: Response, request: Request, site: Site, browser: Browser) -> None:
    """Let the browser keep what it is known by."""
    answer.set_cookie(
        COOKIE,
        site.cookies.cookie(browser),
        path=f"{request.scope.get('root_path', '')}/",
        httponly=True,
        samesite="lax",
        secure=is_secure(request, site.settings.proxies),
    )


def passwords(access: Access) -> Passwords | None:
    """The way to log in, if there is one."""
    return access if isinstance(access, Passwords) else None


def _session_user(site: Site, browser: Browser, *, is_active: bool) -> str | None:
    login = passwords(site.settings.access)
    if login is None:
        return None
    return site.sessions.user_of(browser, login.users.fingerprint, is_active=is_active)


def _is_from_elsewhere(request: Request, site: Site) -> bool:
    """Whether the browser says that another site's page sent it; all browsers do, and other programs need not."""
    fetched = request.headers.get("sec-fetch-site")
    if fetched is not None:
        return fetched not in ("same-origin", "none")
    # Over plain http browsers say less.
    origin = request.headers.get("origin")
    try:
        return origin is not None and urlsplit(origin).netloc != host_of(request, site.settings.proxies)
    except ValueError:  # no browser writes such an address
        return True
