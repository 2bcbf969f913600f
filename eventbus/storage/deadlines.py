"""Deadlines: a connection whose server does not answer in time is cut, and whoever waits for it is told that it is lost.

    statement ─▶ noted ─▶ answer ─▶ forgotten
                   └─ overdue: a thread shuts the socket down ─▶ the driver raises, as for any lost connection

A server that is frozen, or a proxy before one, still acknowledges what it is sent: no option of TCP ends that waiting, and the
server's own limits are frozen with it. A statement costs an entry in a table, and no system call: the thread looks once a second.
"""

import contextlib
import itertools
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import timedelta

import psycopg2
from psycopg2.extensions import connection as DriverConnection  # noqa: N812 - a class, whatever its name

log = logging.getLogger(__name__)

_PERIOD_SECONDS = 1.0
_CONSEQUENCE = (
    "its connection is cut; if PostgreSQL is there, a lock may stand in the way: 'eventbus doctor' tells whose"
)
#: So many looks at nothing, and the thread ends.
_LOOKS = 10

_usual: ContextVar[timedelta | None] = ContextVar("eventbus_usual_limit", default=None)


@contextlib.contextmanager
def waiting_at_most(within: timedelta) -> Iterator[None]:
    """Limit what the block asks of a database without a limit of its own, as for a web page that somebody waits for."""
    token = _usual.set(within)
    try:
        yield
    finally:
        _usual.reset(token)


class Deadlines:
    """What this process waits for, and until when. Safe to share between threads, and to use after a fork."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        #: Until when, for what, and whether a handler has it, by number.
        self.due: dict[int, tuple[float, DriverConnection, bool]] = {}
        #: Held while a connection is cut, and while the thread begins or ends.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._after_fork)

    @contextlib.contextmanager
    def limit(self, driver: DriverConnection, within: timedelta | None) -> Iterator[None]:
        """Cut *driver* if the block takes longer than *within*, and a second at most; without one, than `waiting_at_most` says."""
        number = self.note(driver, within)
        try:
            yield
        finally:
            # Not by a call: at its start a handler's time limit may strike, and what is noted would cut its next user.
            if number is not None and self.due.pop(number, None) is None:
                self.await_cut()

    def note(self, driver: DriverConnection, within: timedelta | None, *, is_lent: bool = False) -> int | None:
        """Begin what `limit` does; the number to take out of `due`, None without a limit."""
        within = within or _usual.get()
        if within is None:
            return None
        number = next(self._numbers)
        self.due[number] = time.monotonic() + within.total_seconds(), driver, is_lent
        if self._thread is None:
            self._begin()
        return number

    def await_cut(self) -> None:
        """Wait while what was noted is being cut: until that is over, its socket must not be closed and become another's."""
        with self._lock:
            pass

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="eventbus-deadlines", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # there are too many, or the process ends: better no limit than no publish
                    return
                self._thread = thread

    def _run(self) -> None:
        looks = 0
        while looks < _LOOKS or not self._ends():
            time.sleep(_PERIOD_SECONDS)
            looks = 0 if self.due else looks + 1
            for number, (due, driver, is_lent) in self.due.copy().items():
                if due <= time.monotonic():
                    # The thread's edge: whatever the filter of a log raises, others are waited for.
                    with contextlib.suppress(Exception):
                        self._cut(number, driver, is_lent=is_lent)

    def _ends(self) -> bool:
        """Whether nothing is noted. Whoever notes something looks for the thread afterwards, so it goes first, and looks then."""
        with self._lock:
            thread, self._thread = self._thread, None
            if self.due:
                self._thread = thread
            return self._thread is None

    def _cut(self, number: int, driver: DriverConnection, *, is_lent: bool = False) -> None:
        with self._lock:
            if self.due.pop(number, None) is None:
                return  # it has just been answered
            # A connection that is just being closed has no socket any more, which is a ValueError.
            with contextlib.suppress(OSError, ValueError, psycopg2.Error):
                found = socket.socket(fileno=driver.fileno())
                try:
                    found.shutdown(socket.SHUT_RDWR)
                finally:
                    found.detach()  # it is the driver's
        log.warning("session_cut_off" if is_lent else "database_silent", extra={"consequence": _CONSEQUENCE})

    def _after_fork(self) -> None:
        """What the parent waits for is the parent's, and so is the thread."""
        self.due = {}
        self._lock = threading.Lock()
        self._thread = None
