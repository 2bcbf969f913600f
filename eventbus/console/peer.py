"""The peer: from where a request came, as far as that can be believed."""

import ipaddress
from collections.abc import Collection

from starlette.requests import Request

from eventbus.errors import InvalidSetting

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
_FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def parse_networks(name: str, text: str) -> tuple[Network, ...]:
    """The addresses and networks in *text*, separated by commas; *name* is the setting.

    Raises:
        InvalidSetting: One of them is none.
    """
    try:
        return tuple(ipaddress.ip_network(item.strip()) for item in text.split(",") if item.strip())
    except ValueError:
        raise InvalidSetting(name, text, "addresses or networks such as 127.0.0.1,10.0.0.0/8") from None


def peer_of(request: Request) -> str | None:
    """The address that the connection came from; None where that is no address, as with a Unix socket."""
    if request.client is None:
        return None
    try:
        return str(ipaddress.ip_address(request.client.host))
    except ValueError:
        return None


def is_among(address: str | None, networks: Collection[Network]) -> bool:
    """Whether *address* is part of one of *networks*."""
    return address is not None and any(ipaddress.ip_address(address) in network for network in networks)


def has_been_forwarded(request: Request) -> bool:
    """Whether somebody in between passed the request on, and says so."""
    return any(name in request.headers for name in _FORWARDING)


def is_local_host(request: Request) -> bool:
    """Whether the browser's address line names this machine: any other name may have been made to point here."""
    hosts = request.headers.getlist("host")
    if len(hosts) != 1:
        return False
    name, _, port = hosts[0].rpartition(":")
    if not (port.isascii() and port.isdigit()):
        name = hosts[0]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def address_of(request: Request, proxies: Collection[Network]) -> str:
    """The address of the browser: the last that a trusted proxy saw, else the peer's."""
    peer = peer_of(request)
    forwarded = request.headers.get("x-forwarded-for")
    if forwarded and is_among(peer, proxies):
        return forwarded.rpartition(",")[2].strip()[:60]
    return peer or "unknown"


def host_of(request: Request, proxies: Collection[Network]) -> str | None:
    """The host that the browser asked: as a trusted proxy says, else as the request does."""
    forwarded = request.headers.get("x-forwarded-host")
    return forwarded if forwarded and is_among(peer_of(request), proxies) else request.headers.get("host")


def is_secure(request: Request, proxies: Collection[Network]) -> bool:
    """Whether the browser speaks https, with us or with a trusted proxy."""
    if request.url.scheme == "https":
        return True
    return is_among(peer_of(request), proxies) and request.headers.get("x-forwarded-proto", "").lower() == "https"
