"""Requesting: who asks for what is kept in the database, for whoever wonders later."""

import getpass
import os
import socket


def requester() -> str:
    """The person and the host that run this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
