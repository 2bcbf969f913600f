"""Sessions: which browser is which, and which of them have logged in.

    cookie = signed random id ─┬─▶ the token of its forms
                               └─▶ with a login: the session that this process keeps, until logout or expiry

A cookie proves nothing by itself: one that is replayed after the logout finds no session. A restart logs everybody out.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from itsdangerous import BadSignature, Signer

from eventbus.errors import InvalidSetting

#: A session ends so long after its login, and after its last request.
LIFETIME, IDLE = timedelta(hours=12), timedelta(hours=1)
_MOST_SESSIONS = 10_000
_SHORTEST_SECRET = 32


@dataclass(frozen=True, kw_only=True)
class Browser:
    """A browser that was met before, or is met now."""

    id: str
    #: It has no cookie of ours yet.
    is_new: bool


@dataclass(kw_only=True)
class _Session:
    user: str
    #: Of the password at the time of the login.
    fingerprint: str
    opened_at: float
    seen_at: float


class Cookies:
    """Signs what browsers keep for us."""

    def __init__(self, secret: str | None = None) -> None:
        """Sign with *secret*; without one, with a random one of this process.

        Raises:
            InvalidSetting: It is too short to be one.
        """
        if secret is not None and len(secret) < _SHORTEST_SECRET:
            raise InvalidSetting(
                "EVENTBUS_CONSOLE_SECRET", "***", f"a random text of at least {_SHORTEST_SECRET} characters"
            )
        self.secret = secret or secrets.token_urlsafe(32)
        self._signer = Signer(self.secret, salt="eventbus.console.browser", digest_method=hashlib.sha256)

    def meet(self, cookie: str | None) -> Browser:
        """The browser whose cookie it is; a new one if it is forged or there is none."""
        if cookie is not None:
            try:
                return Browser(id=self._signer.unsign(cookie).decode(), is_new=False)
            except BadSignature:
                pass
        return Browser(id=secrets.token_urlsafe(32), is_new=True)

    def cookie(self, browser: Browser) -> str:
        """What *browser* is to keep."""
        return self._signer.sign(browser.id).decode()

    def token(self, browser: Browser, user: str) -> str:
        """What forms must bring that were made for *browser* and *user*."""
        return hmac.new(self.secret.encode(), f"form\n{browser.id}\n{user}".encode(), hashlib.sha256).hexdigest()

    def is_token(self, token: str, browser: Browser, user: str) -> bool:
        """Whether *token* is theirs."""
        return hmac.compare_digest(token.encode(), self.token(browser, user).encode())


class Sessions:
    """Who has logged in, in the memory of this process."""

    def __init__(self, *, most: int = _MOST_SESSIONS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._by_browser: dict[str, _Session] = {}

    def open(self, browser: Browser, user: str, fingerprint: str) -> None:
        """*browser* belongs to *user* now."""
        now = self._clock()
        with self._lock:
            for id in [id for id, session in self._by_browser.items() if self._is_over(session, now)]:
                del self._by_browser[id]
            while len(self._by_browser) >= self._most:
                del self._by_browser[next(iter(self._by_browser))]
            self._by_browser[browser.id] = _Session(user=user, fingerprint=fingerprint, opened_at=now, seen_at=now)

    def user_of(self, browser: Browser, fingerprint_of: Callable[[str], str], *, is_active: bool = True) -> str | None:
        """Whose session *browser* has; None if it has none, it is over, or the password was changed.

        Args:
            is_active: A person asked; what a page asks by itself keeps no session alive.
        """
        with self._lock:
            session = self._by_browser.get(browser.id)
            if session is None:
                return None
            now = self._clock()
            if self._is_over(session, now) or session.fingerprint != fingerprint_of(session.user):
                del self._by_browser[browser.id]
                return None
            if is_active:
                session.seen_at = now
            return session.user

    def close(self, browser: Browser) -> None:
        """The session of *browser* is over."""
        with self._lock:
            self._by_browser.pop(browser.id, None)

    @staticmethod
    def _is_over(session: _Session, now: float) -> bool:
        return now - session.opened_at > LIFETIME.total_seconds() or now - session.seen_at > IDLE.total_seconds()
