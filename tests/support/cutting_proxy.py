"""A TCP proxy before Redis that, when it is told to, cuts a connection in the middle of what a client sends."""

import contextlib
import select
import socket
import threading
from typing import Self
from urllib.parse import urlsplit


class CuttingProxy:
    """Passes everything on until `cuts` is set: then each connection that sends a push is cut, half of it passed on."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.cuts = False
        #: How many connections were cut.
        self.cut = 0

    @property
    def url(self) -> str:
        """The URL of the same server, through the proxy."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((self._target.hostname, self._target.port))
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, contextlib.suppress(OSError):
            while True:
                readable, _, _ = select.select([client, server], [], [])
                for source, target in ((client, server), (server, client)):
                    if source in readable:
                        data = source.recv(1 << 16)
                        if not data:
                            return
                        if self.cuts and b"EVALSHA" in data:
                            self.cut += 1
                            target.sendall(data[: len(data) // 2])
                            return
                        target.sendall(data)
