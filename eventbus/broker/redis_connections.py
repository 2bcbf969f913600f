"""Connections to Redis for what every publish sends by one write: kept, checked, packed and read in the shortest way.

    execute ─▶ send, read the answer
    post ────▶ send; the answers are read by whoever uses the connection next, and are there by then

The client's own pool asks the socket four times and counts for metrics; this one asks once, and takes a third of the time.
"""

import os
import re
import select
import socket
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import redis

#: An answer that is a number, whole.
_NUMBER, _NUMBER_BYTES = re.compile(rb":[0-9]+\r\n"), 32


class Owed(NamedTuple):
    """What the server will answer to what was sent to it."""

    #: One answer for each command.
    answers: int
    #: Told of all of them, unless they are as usual; errors among them are exceptions.
    note: Callable[[Sequence[Any]], None]
    #: All of them as they mostly are, which tells nothing new.
    usual: re.Pattern[bytes] = _NUMBER


_ONE = Owed(1, lambda _answers: None)


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
        line.send(packed(command), _ONE)
        [answer] = self._read(line)
        self._idle.append(line)
        return answer

    def post(self, commands: bytes, owed: Owed) -> None:
        """Send packed *commands* and do not wait for their answers; only on a new connection, to hear at once if all is refused.

        Raises:
            RedisError, OSError: As `execute`.
        """
        line = self._take()
        is_new = line.is_new
        line.send(commands, owed)
        if is_new:
            self._read(line)
        self._idle.append(line)

    def _take(self) -> "_Line":
        try:
            line = self._idle.pop()
        except IndexError:
            # Past the pool, which would count it for ever: here connections are forgotten when they fail.
            return _Line(self._pool.connection_class(**self._pool.connection_kwargs))
        if line.owed and not line.has_skipped_usual(line.owed):
            try:
                self._read(line)
            except redis.ConnectionError:  # the server has ended it, as one that restarts does
                line.connect()
        if line.is_readable():  # closed by the server, or about to be: nothing else is to be read here
            line.connect()
        return line

    def _read(self, line: "_Line") -> list[Any]:
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
        #: Answers that are still to be read.
        self.owed: Owed | None = None

    def send(self, commands: bytes, owed: Owed) -> None:
        """Send packed *commands*."""
        self._connection.send_packed_command([commands])
        self.is_new, self.owed = False, owed

    def read(self) -> list[Any]:
        """The answers that are owed.

        Raises:
            ResponseError: One of them is an error; the others are read.
        """
        owed, self.owed = self.owed or _ONE, None
        answers: list[Any] = []
        for _ in range(owed.answers):
            try:
                answers.append(self._connection.read_response())
            except redis.ResponseError as error:
                answers.append(error)
        owed.note(answers)
        for refusal in answers:
            if isinstance(refusal, redis.ResponseError):
                raise refusal
        return answers

    def has_skipped_usual(self, owed: Owed) -> bool:
        """Whether the answers that are *owed* were there, and as usual: a quarter of the time of `read`."""
        channel = self._connection._sock
        # One that is encrypted cannot be peeked at; where nothing is there yet, even peeking would wait.
        if type(channel) is not socket.socket or not self.is_readable():
            return False
        try:
            answers = channel.recv(_NUMBER_BYTES * owed.answers, socket.MSG_PEEK)
        except OSError:
            return False
        if not owed.usual.fullmatch(answers):
            return False
        channel.recv(len(answers))
        self.owed = None
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
