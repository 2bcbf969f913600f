"""What both throwaway servers have in common: a folder, a port, and a life that can be interrupted on purpose.

    start ─▶ ready ─▶ stop | kill ─▶ start ─▶ … ─▶ remove
               └─ freeze ⇄ thaw

Port and data survive stop, kill and start; remove ends it all. A server is ready when it has answered, never after a
time.
"""

import random
import re
import socket
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from eventbus.embedded.directories import ServerDirectory
from eventbus.embedded.errors import ServerNotStarted
from eventbus.embedded.processes import Command, GuardedProcess, log_tail

HOST = "127.0.0.1"

#: Below the range that systems take for outgoing connections, so that a port is still free after a restart.
PORTS = range(20_000, 30_000)

#: Another process may take the port between the choice and the server's start.
PORT_ATTEMPTS = 5

START_SECONDS = 60.0

_PORT_TAKEN = re.compile(r"address already in use|failed listening on port", re.IGNORECASE)


class EmbeddedServer(ABC):
    """A throwaway server that ends with the process that started it."""

    #: As a reader of an error knows it.
    name: str

    def __init__(self) -> None:
        self._directory: ServerDirectory | None = None
        self._process: GuardedProcess | None = None
        self._port: int | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL by which clients reach the server."""

    @property
    def pid(self) -> int:
        """The id of the server's main process."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the server, frozen or not, has not ended."""
        return self._process is not None and self._process.is_running

    def start(self) -> None:
        """Start the server, on its former port and data if it ran before, and return when it answers.

        Raises:
            ServerBinaryNotFound: There is no server to start.
            ServerNotStarted: It ended, or did not answer in time.
        """
        if self.is_running:
            return
        if self._directory is None:
            self._directory = ServerDirectory()
        try:
            self._prepare(self._directory)
            self._start_on_a_port(self._directory)
        except BaseException:
            # Including Ctrl-C: what never answered is of no use, and nobody would hold it.
            if self._process:
                self._process.kill()
            if self._port is None:
                self.remove()
            raise

    def stop(self) -> None:
        """End the server in good order; its data stay."""
        if self.is_running:
            self._running().stop()

    def kill(self) -> None:
        """Kill the server with all its processes at once, as a power cut would; its data stay."""
        self._running().kill()

    def freeze(self) -> None:
        """Stop the server's clock: connections are accepted by the kernel, and nothing answers."""
        self._running().freeze()

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._running().thaw()

    def restart(self) -> None:
        """Stop the server and start it on the same port and data."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Kill the server and delete its data."""
        if self.is_running:
            self._running().kill()
        if self._directory:
            self._directory.remove()
        self._directory = self._port = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()

    @abstractmethod
    def _prepare(self, directory: ServerDirectory) -> None:
        """Make the data folder ready for a start; called before each."""

    @abstractmethod
    def _command(self, directory: ServerDirectory, port: int) -> Command:
        """What to run."""

    @abstractmethod
    def _answers(self, port: int, pid: int) -> bool:
        """Whether the process *pid*, and not a stranger on the same port, answers."""

    def _start_on_a_port(self, directory: ServerDirectory) -> None:
        for attempt in range(1, PORT_ATTEMPTS + 1):
            port = self._port or free_port()
            # The end of the log is to speak of this start only.
            directory.log.unlink(missing_ok=True)
            self._process = GuardedProcess(self._command(directory, port))
            if self._wait_until_ready(self._process, port):
                self._port = port
                return
            tail = log_tail(directory.log)
            if attempt == PORT_ATTEMPTS or not _PORT_TAKEN.search(tail):
                raise ServerNotStarted(self.name, f"it ended with exit code {self._process.exit_code}", tail)

    def _wait_until_ready(self, process: GuardedProcess, port: int) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while process.is_running:
            if self._answers(port, process.pid):
                return True
            if time.monotonic() > deadline:
                assert self._directory
                raise ServerNotStarted(self.name, f"no answer in {START_SECONDS:g} s", log_tail(self._directory.log))
            time.sleep(0.01)
        return False

    def _running(self) -> GuardedProcess:
        if self._process is None:
            raise ServerNotStarted(self.name, "start() was not called", "")
        return self._process


def free_port() -> int:
    """A TCP port that nobody listens on at this moment.

    Raises:
        OSError: None of a hundred was free.
    """
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free TCP port between {PORTS.start} and {PORTS.stop}")
