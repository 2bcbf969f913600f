"""Sockets that are waited for together; `select` would refuse those with large numbers, which a long run comes to."""

import select
import socket

_PATIENCE_MILLISECONDS = 100


def readable_of(*sockets: socket.socket) -> list[socket.socket]:
    """Those of which something can be read, if only their end; none, if that takes a tenth of a second."""
    poller = select.poll()
    by_number = {item.fileno(): item for item in sockets}
    for number in by_number:
        poller.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poller.poll(_PATIENCE_MILLISECONDS)]
