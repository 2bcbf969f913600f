"""Access: who is asking, and what they may do. One of four ways, chosen when the console is made.

LocalOnly   whoever sits at this machine, and nobody else
Passwords   a login, against a file of users
Proxied     a proxy that is trusted has checked already, and names the user in a header
Checked     the app in which the console is mounted says who it is
"""

import inspect
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from starlette.requests import Request

from eventbus.console.peer import LOOPBACK, Network, has_been_forwarded, is_among, is_local_host, peer_of
from eventbus.lifecycle.auditing import whoami


class Role(StrEnum):
    """What somebody may do."""

    VIEWER = "viewer"  #: look
    OPERATOR = "operator"  #: look, and change


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody who uses the console."""

    #: As the audit names them.
    name: str
    role: Role = Role.VIEWER

    @property
    def may_operate(self) -> bool:
        return self.role is Role.OPERATOR


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request, as far as it matters here."""

    request: Request
    #: Whose session it belongs to, if there is a login.
    session_user: str | None = None


class Refused(Exception):
    """Nobody may see the console from there; the text is a sentence for them."""


class Access(Protocol):
    """A way to find out who is asking."""

    #: There is a page to log in.
    has_login: bool

    async def identify(self, asked: Asked) -> User | None:
        """The one who asks; None if they have to log in first.

        Raises:
            Refused: No login helps.
        """


class LocalOnly:
    """Whoever sits at this machine may do everything: requests from elsewhere, and those that were passed on, are refused."""

    has_login = False

    async def identify(self, asked: Asked) -> User | None:
        """The user of this process."""
        if not is_among(peer_of(asked.request), LOOPBACK) or has_been_forwarded(asked.request):
            raise Refused("This console has no login, so it answers only on the machine where it runs.")
        if not is_local_host(asked.request):
            raise Refused("This console has no login, so it answers to localhost only, not to any other name.")
        return User(name=whoami(), role=Role.OPERATOR)


class Proxied:
    """Requests from trusted proxies name their user in a header; all others are refused."""

    has_login = False

    def __init__(self, header: str, *, proxies: Collection[Network], operators: Collection[str]) -> None:
        self._header = header
        self._proxies = proxies
        self._operators = frozenset(operators)

    async def identify(self, asked: Asked) -> User | None:
        """The one whom the proxy names."""
        if not is_among(peer_of(asked.request), self._proxies):
            raise Refused("This console answers only to its proxy.")
        names = [_text(name) for name in asked.request.headers.getlist(self._header)]
        # Two headers: one of them came past the proxy.
        if len(names) != 1 or not names[0] or not names[0].isprintable() or len(names[0]) > 200:
            raise Refused("The proxy did not say who you are.")
        [name] = names
        return User(name=name, role=Role.OPERATOR if name in self._operators else Role.VIEWER)


def _text(header: str) -> str:
    """What *header* says: its bytes, which are UTF-8 nearly always, were read as Latin-1."""
    # Of white space only HTTP's own: with a wider one stripped, a name would be another one's.
    stripped = header.strip(" \t")
    try:
        return stripped.encode("latin-1").decode()
    except UnicodeDecodeError:
        return stripped


#: What a host app gives: who sent the request, or None if they may not see the console.
Check = Callable[[Request], User | Awaitable[User | None] | None]


class Checked:
    """The app in which the console is mounted knows its users."""

    has_login = False

    def __init__(self, check: Check) -> None:
        self._check = check

    async def identify(self, asked: Asked) -> User | None:
        """The one whom the app's check returns."""
        found = self._check(asked.request)
        user = await found if inspect.isawaitable(found) else found
        if user is None:
            raise Refused("You may not see the console.")
        return user
