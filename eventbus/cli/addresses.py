"""Addresses that a command listens on: those of this machine need no login, for nobody else reaches them."""

import ipaddress


def is_local(address: str) -> bool:
    """Whether only this machine reaches what listens on *address*; of a name other than localhost nobody can say."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
