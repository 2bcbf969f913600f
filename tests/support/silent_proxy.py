"""A TCP proxy before any server that, when it is told to, goes silent: nobody is cut off, nothing is passed on.

To a client that is a frozen server, or a network that drops packets after the proxy's own acknowledgement.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.support.sockets import readable_of


class SilentProxy:
    """Passes everything on, but within `silence`; what was held back then follows."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._passing = threading.Event()
        self._passing.set()
        self._stopped = threading.Event()

    @property
    def url(self) -> str:
        """The same URL, through the proxy."""
        credentials, at, _ = self._parts.netloc.rpartition("@")
        host, port = self._listener.getsockname()
        return urlunsplit(self._parts._replace(netloc=f"{credentials}{at}{host}:{port}"))

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Pass nothing on while the block runs."""
        self._passing.clear()
        try:
            yield
        finally:
            self._passing.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._passing.set()
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
            server = socket.create_connection((self._parts.hostname, self._parts.port))
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, contextlib.suppress(OSError):
            while not self._stopped.is_set():
                readable = readable_of(client, server)
                self._passing.wait()
                for source, target in ((client, server), (server, client)):
                    if source in readable:
                        data = source.recv(1 << 16)
                        if not data or not self._send(data, target):
                            return

    def _send(self, data: bytes, target: socket.socket) -> bool:
        """Pass *data* on; whether the connection may go on."""
        target.sendall(data)
        return True
