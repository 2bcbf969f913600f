"""Notices: what a change tells its user on the page that follows; kept by the browser for a minute, signed, read once."""

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from eventbus.console.peer import is_secure
from eventbus.console.site import Site

NOTICE = "eventbus_notice"
_SECONDS = 60
_LONGEST = 500


def keep_notice(answer: Response, notice: str, *, site: Site, request: Request) -> None:
    """Let the browser bring *notice* with its next request."""
    answer.set_cookie(
        NOTICE,
        _signer(site).dumps(notice[:_LONGEST]),
        max_age=_SECONDS,
        path=f"{request.scope.get('root_path', '')}/",
        httponly=True,
        samesite="lax",
        secure=is_secure(request, site.settings.proxies),
    )


def read_notice(request: Request, site: Site) -> str | None:
    """The notice that the browser brought, if it is ours."""
    cookie = request.cookies.get(NOTICE)
    if cookie is None:
        return None
    try:
        return str(_signer(site).loads(cookie, max_age=_SECONDS))
    except BadSignature:
        return None


def forget_notice(answer: Response, request: Request) -> None:
    """Let the browser forget the notice that was shown."""
    answer.delete_cookie(NOTICE, path=f"{request.scope.get('root_path', '')}/")


def _signer(site: Site) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(site.cookies.secret, salt="eventbus.console.notice")
