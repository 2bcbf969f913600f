"""Connections to Redis for the one command that every publish sends: kept, checked, packed and read in the shortest way.

    execute ─▶ send, read the answer
    post ────▶ send; the answer is read by whoever uses the connection next, and is there by then

The client's own pool asks the socket four times and counts for metrics; this one asks once, and takes a third of the time.
"""

import os
import select
from collections.abc import Sequence
from typing import Any

import redis


class Connections:
    """Idle connections, the last used first. Safe to share between threads, and to use after a fork."""

    def __init__(self, pool: "redis.ConnectionPool") -> None:
        self._pool = pool
        self._idle: list[_Line] = []
        os.register_at_fork(after_in_child=self._after_fork)

    def execute(self, *command: str | bytes | int) -> Any:
        """Send *command* and read its answer.

        Raises:
            RedisError, OSError: It was refused, or what became of it is not known. A ResponseError may be about the command that
                was posted before: then this one was not sent.
        """
        line = self._take()
        line.send(command)
        return self._finish(line)

    def post(self, *command: str | bytes | int) -> None:
        """Send *command* and do not wait for its answer; only on a new connection, which may know nothing of its script yet.

        Raises:
            RedisError, OSError: As `execute`.
        """
        line = self._take()
        is_new = line.is_new
        line.send(command)
        if is_new:
            self._finish(line)
        else:
            self._idle.append(line)

    def _take(self) -> "_Line":
        try:
            line = self._idle.pop()
        except IndexError:
            return _Line(self._pool.make_connection())
        if line.is_owed:
            try:
                self._read(line)
            except redis.ConnectionError:  # the server has ended it, as one that restarts does
                line.connect()
        if line.is_readable():  # closed by the server, or about to be: nothing else is to be read here
            line.connect()
        return line

    def _finish(self, line: "_Line") -> Any:
        answer = self._read(line)
        self._idle.append(line)
        return answer

    def _read(self, line: "_Line") -> Any:
        """After an error that is no answer the connection is closed, and forgotten."""
        try:
            return line.read()
        except redis.ResponseError:
            self._idle.append(line)
            raise

    def _after_fork(self) -> None:
        self._idle = []


class _Line:
    """One connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.connect()

    def connect(self) -> None:
        """Connect, anew if need be."""
        self._connection.disconnect()
        self._connection.connect()
        self._poller = select.poll()
        self._poller.register(self._connection._sock.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
        #: Nothing was sent on it yet.
        self.is_new = True
        #: An answer is still to be read.
        self.is_owed = False

    def send(self, command: Sequence[str | bytes | int]) -> None:
        """Send *command*; its answer is owed."""
        self._connection.send_packed_command([packed(command)])
        self.is_new, self.is_owed = False, True

    def read(self) -> Any:
        """The answer that is owed."""
        self.is_owed = False
        return self._connection.read_response()

    def is_readable(self) -> bool:
        """Whether there is something to read, if only the end."""
        return bool(self._poller.poll(0))


def packed(command: Sequence[str | bytes | int]) -> bytes:
    """*command* in Redis's protocol."""
    parts = [item if isinstance(item, bytes) else str(item).encode() for item in command]
    return b"*%d\r\n%b" % (len(parts), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))
