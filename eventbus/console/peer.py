"""The peer: from where a request came, as far as that can be believed."""

import ipaddress
from collections.abc import Collection

from starlette.requests import Request

from eventbus.errors import InvalidSetting

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
#: Of an address of IPv6 that stands for one of IPv4, so many come first.
_MAPPED_BITS = 96
#: What proxies are known to add, beside X-Forwarded-*.
_FORWARDING = ("forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip")


def parse_networks(name: str, text: str) -> tuple[Network, ...]:
    """The addresses and networks in *text*, separated by commas; *name* is the setting.

    Raises:
        InvalidSetting: One of them is none.
    """
    try:
        return tuple(_network(item.strip()) for item in text.split(",") if item.strip())
    except ValueError:
        raise InvalidSetting(name, text, "addresses or networks such as 127.0.0.1,10.0.0.0/8") from None


def _network(text: str) -> Network:
    """One of IPv4 also where it is said as one of IPv6, as addresses are read."""
    network = ipaddress.ip_network(text)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return ipaddress.ip_network((int(mapped), network.prefixlen - _MAPPED_BITS))


def peer_of(request: Request) -> str | None:
    """The address that the connection came from; None where that is no address, as with a Unix socket."""
    if request.client is None:
        return None
    try:
        return str(_parsed(request.client.host))
    except ValueError:
        return None


def is_among(address: str | None, networks: Collection[Network]) -> bool:
    """Whether *address* is part of one of *networks*."""
    return address is not None and any(ipaddress.ip_address(address) in network for network in networks)


def has_been_forwarded(request: Request) -> bool:
    """Whether somebody in between passed the request on, as headers say, or a version of HTTP that browsers no longer speak."""
    if request.scope.get("http_version") == "1.0":
        return True
    return any(name.startswith("x-forwarded-") or name in _FORWARDING for name in request.headers)


def is_local_host(request: Request) -> bool:
    """Whether the browser's address line names this machine: any other name may have been made to point here."""
    hosts = request.headers.getlist("host")
    if len(hosts) != 1:
        return False
    name, _, port = hosts[0].rpartition(":")
    if not port.isdecimal():
        name = hosts[0]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def address_of(request: Request, proxies: Collection[Network]) -> str:
    """The address of the browser: the last that a trusted proxy saw, or the peer's; of IPv6 its network, which is one client's."""
    peer = peer_of(request)
    if (forwarded := _forwarded(request, "x-forwarded-for")) and is_among(peer, proxies):
        try:
            return _client(_parsed(forwarded))
        except ValueError:
            pass
    return _client(_parsed(peer)) if peer else "unknown"


def host_of(request: Request, proxies: Collection[Network]) -> str | None:
    """The host that the browser asked: as a trusted proxy says, else as the request does."""
    forwarded = _forwarded(request, "x-forwarded-host")
    return forwarded if forwarded and is_among(peer_of(request), proxies) else request.headers.get("host")


def is_secure(request: Request, proxies: Collection[Network]) -> bool:
    """Whether the browser speaks https, with us or with a trusted proxy."""
    if request.url.scheme == "https":
        return True
    return is_among(peer_of(request), proxies) and _forwarded(request, "x-forwarded-proto").lower() == "https"


def _forwarded(request: Request, name: str) -> str:
    """What the proxy says: the last item of the last line, for those before it may be the browser's own."""
    lines = request.headers.getlist(name)
    return lines[-1].rpartition(",")[2].strip() if lines else ""


def _parsed(text: str) -> Address:
    """An address; one of IPv4 also where a socket for both versions says it as one of IPv6."""
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def _client(address: Address) -> str:
    is_ipv4 = isinstance(address, ipaddress.IPv4Address)
    return str(address if is_ipv4 else ipaddress.ip_network((int(address), 64), strict=False))
