"""Settings of the console: who may see it, and where Flower is; from EVENTBUS_CONSOLE_* and EVENTBUS_FLOWER_URL."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from eventbus.console.access import Access, LocalOnly, Proxied
from eventbus.console.peer import Network, parse_networks
from eventbus.console.users import Passwords, UserFile
from eventbus.errors import ConfigurationError, InvalidSetting

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class ConsoleSettings:
    """What a console needs to know beside its bus."""

    access: Access
    #: Whom to believe about whom they forward for.
    proxies: tuple[Network, ...] = ()
    #: Signs cookies; None for a random one.
    secret: str | None = None
    #: Without a slash at its end.
    flower_url: str | None = None


def load_console_settings(environment: Mapping[str, str] = os.environ) -> ConsoleSettings:
    """What *environment* says.

    Raises:
        ConfigurationError: It names two ways to log in, or one that cannot be used, or operators of none.
    """
    proxies = parse_networks("EVENTBUS_CONSOLE_PROXIES", environment.get("EVENTBUS_CONSOLE_PROXIES", ""))
    return ConsoleSettings(
        access=_access(environment, proxies),
        proxies=proxies,
        secret=environment.get("EVENTBUS_CONSOLE_SECRET") or None,
        flower_url=_flower_url(environment.get("EVENTBUS_FLOWER_URL", "")),
    )


def _access(environment: Mapping[str, str], proxies: tuple[Network, ...]) -> Access:
    users, header, operators = (
        environment.get(f"EVENTBUS_CONSOLE_{name}", "") for name in ("USERS", "USER_HEADER", "OPERATORS")
    )
    if users and header:
        raise ConfigurationError(
            "EVENTBUS_CONSOLE_USERS and EVENTBUS_CONSOLE_USER_HEADER are both set: users log in here, or at the proxy."
        )
    if operators and not header:
        raise ConfigurationError(
            "EVENTBUS_CONSOLE_OPERATORS needs EVENTBUS_CONSOLE_USER_HEADER, in which a proxy names who asks; "
            "a user's role in EVENTBUS_CONSOLE_USERS stands in that file."
        )
    if users:
        return Passwords(UserFile(Path(users)))
    if not header:
        return LocalOnly()
    if not _HEADER.fullmatch(header):
        raise InvalidSetting("EVENTBUS_CONSOLE_USER_HEADER", header, "the name of a header such as X-Forwarded-User")
    if not proxies:
        raise ConfigurationError(
            "EVENTBUS_CONSOLE_USER_HEADER needs EVENTBUS_CONSOLE_PROXIES, the addresses of the proxies that may send it."
        )
    names = [name.strip() for name in operators.split(",") if name.strip()]
    return Proxied(header, proxies=proxies, operators=names)


def _flower_url(url: str) -> str | None:
    if not url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that hold no address
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise InvalidSetting("EVENTBUS_FLOWER_URL", url.rpartition("@")[2], "an address such as http://127.0.0.1:5555")
    return url.rstrip("/")
