"""A webhook's receiver: a real HTTP server that keeps what it was sent, and answers as the test wants."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Received:
    """One POST."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """Listens on this machine as long as the `with` block runs."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        #: The status of the next answers, and their headers.
        self.status = 204
        self.headers: dict[str, str] = {}
        #: Cleared, it answers nobody until it is set again.
        self.answers = threading.Event()
        self.answers.set()

    @property
    def url(self) -> str:
        """Where it listens; the path is to be kept secret."""
        return f"http://127.0.0.1:{self._server.server_port}/hooks/secret-path"

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            """Takes POSTs."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Received(self.path, headers, body))
                receiver.answers.wait(60)
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
