"""A TCP proxy before PostgreSQL that notes the statements it passes on, and loses connections at a chosen moment of one.

client ──▶ FaultProxy ──▶ server
             refuse        new connections are closed at once
             before        the statement never reaches the server
             unanswered    it does, and the client is cut off at once, while it runs
             answered      its answer (the COMMIT's, in autocommit) reaches the proxy and nobody else

Executing a prepared statement counts as its text, too; preparing it, as its name alone.
"""

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.support.sockets import readable_of

_BACKEND_KEY = b"K\x00\x00\x00\x0c"


class Fault(StrEnum):
    """When a connection is lost."""

    BEFORE = "before"
    UNANSWERED = "unanswered"
    ANSWERED = "answered"


@dataclass(eq=False)
class _Link:
    """A client, and its connection to the server."""

    client: socket.socket
    server: socket.socket
    sent: bytearray = field(default_factory=bytearray)
    #: Texts of prepared statements, by name.
    prepared: dict[bytes, bytes] = field(default_factory=dict)


class FaultProxy:
    """Passes everything on until it is told to lose something."""

    def __init__(self, url: str, *, hides_backends: bool = False) -> None:
        """Make a proxy before the server of *url* that is not started yet.

        Args:
            hides_backends: Tell clients a backend number that is not the server's, as pooling proxies do.
        """
        self._parts = urlsplit(url)
        self._hides_backends = hides_backends
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._faults: list[tuple[Fault, bytes]] = []
        self._keep_server_side = False
        self._refuses_after = False
        self._kept: list[socket.socket] = []
        self._stopped = threading.Event()
        self.refuses = False
        #: How many connections were lost on purpose.
        self.lost = 0
        #: What was sent, each a round trip.
        self.statements: list[str] = []

    @property
    def url(self) -> str:
        """The URL of the same database, through the proxy."""
        credentials = self._parts.netloc.rpartition("@")[0]
        host, port = self._listener.getsockname()
        return urlunsplit(self._parts._replace(netloc=f"{credentials}@{host}:{port}"))

    def lose(
        self, fault: Fault, statement: str, *, times: int = 1, then_refuse: bool = False, keep_server_side: bool = False
    ) -> None:
        """Lose the connection of the next statements that contain *statement*.

        Args:
            then_refuse: Refuse new connections after that.
            keep_server_side: Leave the connection to the server open, as a network that goes silent does.
        """
        self._faults = [(fault, statement.encode())] * times
        self._refuses_after = then_refuse
        self._keep_server_side = keep_server_side

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        # Closing alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for kept in self._kept:
            kept.close()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuses:
                client.close()
                continue
            try:
                server = socket.create_connection((self._parts.hostname, self._parts.port))
            except OSError:
                client.close()  # the server is away: so is what stands before it
                continue
            threading.Thread(target=self._pass_on, args=(_Link(client, server),), daemon=True).start()

    def _pass_on(self, link: _Link) -> None:
        keep = False
        try:
            keep = self._run(link)
        except OSError:
            pass  # one side has closed: so does the other
        finally:
            link.client.close()
            if keep:
                self._kept.append(link.server)
            else:
                link.server.close()

    def _run(self, link: _Link) -> bool:
        """Pass bytes on until one side ends, or a fault is due; whether the server's side is to stay open."""
        awaits_answer = False
        while not self._stopped.is_set():
            readable = readable_of(link.client, link.server)
            if link.client in readable:
                data = link.client.recv(1 << 16)
                if not data:
                    return False
                link.sent += data
                fault = self._due(link)
                if fault is Fault.BEFORE:
                    return self._keep_server_side
                link.server.sendall(data)
                if fault is Fault.UNANSWERED:
                    return self._keep_server_side
                awaits_answer = awaits_answer or fault is Fault.ANSWERED
            if link.server in readable:
                data = link.server.recv(1 << 16)
                if not data or awaits_answer:
                    return bool(data) and self._keep_server_side
                link.client.sendall(self._hidden(data))
                link.sent.clear()
        return False

    def _due(self, link: _Link) -> Fault | None:
        """The fault of the statement that has just been read completely, if it has one."""
        if link.sent[:1] != b"Q" or len(link.sent) < 5:
            return None
        [length] = struct.unpack("!I", link.sent[1:5])
        if len(link.sent) < length + 1:
            return None
        statement = bytes(link.sent[5:length])
        self.statements.append(statement.decode())
        verb, _, rest = statement.partition(b" ")
        name, _, text = rest.partition(b" ")
        if verb == b"PREPARE":
            link.prepared[name] = text
        ran = {b"PREPARE": b"PREPARE " + name, b"EXECUTE": link.prepared.get(name, b"") + statement}.get(
            verb, statement
        )
        if not self._faults or self._faults[0][1] not in ran:
            return None
        fault, _ = self._faults.pop(0)
        self.lost += 1
        self.refuses = self._refuses_after and not self._faults
        return fault

    def _hidden(self, data: bytes) -> bytes:
        start = data.find(_BACKEND_KEY) if self._hides_backends else -1
        if start < 0:
            return data
        at = start + len(_BACKEND_KEY)
        return data[:at] + struct.pack("!I", 0x7FFFFFFF) + data[at + 4 :]
