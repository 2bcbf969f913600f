"""Connections to Redis for the one command that every publish sends: kept, checked, packed and read in the shortest way.

    execute ─▶ send, read the answer
    post ────▶ send; the answer is read by whoever uses the connection next, and is there by then

The client's own pool asks the socket four times and counts for metrics; this one asks once, and takes a third of the time.
"""

import os
import re
import select
import socket
from collections.abc import Sequence
from typing import Any

import redis

#: An answer that is a number, whole; those that say more, or less, are read by the client.
_NUMBER, _NUMBER_BYTES = re.compile(rb":[0-9]+\r\n"), 32


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
        line.send(packed(command))
        return self._finish(line)

    def post(self, command: bytes) -> None:
        """Send a packed *command* and do not wait for its answer; only on a new connection, which may not know its script yet.

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
        if line.is_owed and not line.has_skipped_number():
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

    def send(self, command: bytes) -> None:
        """Send a packed *command*; its answer is owed."""
        self._connection.send_packed_command([command])
        self.is_new, self.is_owed = False, True

    def read(self) -> Any:
        """The answer that is owed."""
        self.is_owed = False
        return self._connection.read_response()

    def has_skipped_number(self) -> bool:
        """Whether the answer that is owed was there, and just a number, which tells nothing: a quarter of the time of `read`."""
        channel = self._connection._sock
        # One that is encrypted cannot be peeked at; where nothing is there yet, even peeking would wait.
        if type(channel) is not socket.socket or not self.is_readable():
            return False
        try:
            answer = channel.recv(_NUMBER_BYTES, socket.MSG_PEEK)
        except OSError:
            return False
        if not _NUMBER.fullmatch(answer):
            return False
        channel.recv(len(answer))
        self.is_owed = False
        return True

    def is_readable(self) -> bool:
        """Whether there is something to read, if only the end."""
        return bool(self._poller.poll(0))


def packed(command: Sequence[str | bytes | int], *, further: int = 0) -> bytes:
    """*command* in Redis's protocol.

    Args:
        further: So many parts will be added by `bulk`.
    """
    parts = [item if isinstance(item, bytes) else str(item).encode() for item in command]
    return b"*%d\r\n%b" % (len(parts) + further, b"".join([bulk(part) for part in parts]))


def bulk(part: bytes) -> bytes:
    """One part of a command."""
    return b"$%d\r\n%b\r\n" % (len(part), part)
