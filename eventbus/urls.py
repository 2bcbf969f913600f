"""URLs of servers: whether one is understood as it is meant, and how it is shown to people, without its password."""

import re

REDIS_SCHEMES = ("redis", "rediss", "redis+socket", "unix")
_SOCKET_SCHEMES = ("redis+socket", "unix")
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[^\[\]:@]*)(?::(\d{0,5}))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: The number of a database.
_DATABASE = re.compile(r"(?:/\d*)?")
_NAMES_AND_VALUES = re.compile(r"\s*(\w+)\s*=")
#: Whether it belongs to a value or ends a password, who knows.
_AT_IN_QUERY = re.compile(r"[?&]\w+=[^@]*@")
_BRACKET = re.compile(r"[\[\]]")
_OPTION = re.compile(r"[?&](\w+)=")


def without_password(url: str) -> str:
    """*url* with its password, if any, replaced by ``***``; query parameters, which may hold another, are left out.

    Not parsed by the rules: a password may hold any character, and a malformed URL one all the same.
    """
    # As libpq takes them; which of them is the password is not for us to find.
    if names := _NAMES_AND_VALUES.match(url):
        return f"{names[1]}=***"
    before, separator, after = url.partition("://")
    kind, rest = (before, after) if separator else ("", before)
    if _AT_IN_QUERY.search(rest):
        return f"{kind}{separator}***"
    credentials, at, address = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    address = re.split(r"[?#]", address, maxsplit=1)[0]
    if not at:
        # What stands where a port belongs may be the password of a URL without a host.
        address = re.sub(r"^([^:/\[]*):(?!\d*(/|$)).*", r"\1:***", address)
    return f"{kind}{separator}{user}{':***' if colon else ''}{at}{address}"


def scheme(url: str) -> str:
    """What comes before ``://``, if anything does, and nothing in *url* commands a terminal."""
    return url.partition("://")[0] if "://" in url and not _CONTROL.search(url) else ""


def has_address(url: str) -> bool:
    """Whether *url* has a host, or none, and a port, or none: what drivers otherwise refuse each in its own words."""
    address = re.split(r"[/?#]", url.partition("://")[2].rpartition("@")[2], maxsplit=1)[0]
    found = _ADDRESS.fullmatch(address)
    return found is not None and int(found[1] or 0) < 1 << 16


def is_redis_url(url: str) -> bool:
    """Whether *url* is of Redis, and its clients find in it what is meant: to them '/', '?' and '#' end a password."""
    kind, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    credentials, at, address = authority.rpartition("@")
    if kind not in REDIS_SCHEMES or _BRACKET.search(credentials):
        return False
    if kind in _SOCKET_SCHEMES:
        return at != "" or ":" not in authority
    before_fragment, _, fragment = rest.removeprefix(authority).partition("#")
    path, _, query = before_fragment.partition("?")
    is_cut = not at and "@" in path + query.partition("=")[0] + fragment
    return not is_cut and _DATABASE.fullmatch(path) is not None and has_address(f"{kind}://{address}")


def options_hint(url: str, package: str) -> str:
    """What to say of a *url* that is not understood, which may be because of an option; no password is searched for one."""
    named = ", ".join(_OPTION.findall(url.rpartition("@")[2]))
    return f", with options as {package} takes them (it has {named})" if named else ""


def encoding_hint(url: str) -> str:
    """What to say of a *url* that is not understood, which may be because of its password."""
    hint = ", with what is neither letter nor digit in a password percent-encoded, as '/' is %2F"
    return hint if "@" in url else ""
