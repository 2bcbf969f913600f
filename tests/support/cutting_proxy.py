"""A TCP proxy before Redis that, when it is told to, cuts a connection in the middle of what a client sends."""

import socket

from tests.support.silent_proxy import SilentProxy


class CuttingProxy(SilentProxy):
    """Passes everything on until `cuts` is set: then each connection that sends a push is cut, half of it passed on."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.cuts = False
        #: How many connections were cut.
        self.cut = 0

    def _send(self, data: bytes, target: socket.socket) -> bool:
        is_cut = self.cuts and (b"EVALSHA" in data or b"LPUSH" in data)
        if is_cut:
            self.cut += 1
            data = data[: len(data) // 2]
        target.sendall(data)
        return not is_cut
