"""Readings: what may be dear to read is read once for all who look, beside their requests, and the less often the dearer it is.

request ─▶ young enough? ─▶ it
              └─ no ─▶ a thread reads ─▶ in time? ─▶ the new one
                                           └─ no ─▶ the one before
"""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Generic, TypeVar

from eventbus.errors import DatabaseBusy
from eventbus.storage.deadlines import waiting_at_most

Value = TypeVar("Value")

#: Whoever looks again within this time sees the same.
_FRESH_SECONDS = 1.0
#: A reading that took a second is not repeated for so many seconds.
_REST = 20.0
#: One that found the bus away is, soon: it may be back.
_REST_AFTER_FAILURE_SECONDS = 2.0
#: A reading that has gone on for so long is answered with an error, and one that waits so long for PostgreSQL is given up.
_LONGEST_SECONDS, _GIVEN_UP = 15.0, timedelta(seconds=60)
#: So long a request waits for a new reading while there is an old one; and for the first one ever.
_PATIENCE_SECONDS, _FIRST_PATIENCE_SECONDS = 0.03, 10.0


class Reading(Generic[Value]):
    """One thing that is read."""

    def __init__(
        self,
        read: Callable[[], Value],
        *,
        clock: Callable[[], float] = time.monotonic,
        is_failure: Callable[[Value], bool] = lambda _: False,
    ) -> None:
        """Read by *read*.

        Args:
            is_failure: Whether a value says that the bus is away, so that it is soon read again.
        """
        self._read = read
        self._is_failure = is_failure
        self._clock = clock
        self._changed = threading.Condition()
        self._is_reading = False
        self._began_at = 0.0
        #: What was read last, in a tuple: None may be what was read.
        self._taken: tuple[Value] | None = None
        self._error: Exception | None = None
        #: As it was when the reading failed: each time that an error is raised adds to it.
        self._traceback: TracebackType | None = None
        #: When the last reading ended, and what it took.
        self._ended_at, self._cost_seconds = float("-inf"), 0.0
        self._failed = False
        #: Something was changed while somebody read.
        self._is_outdated = False

    def take(self) -> Value:
        """What was read last, or is read now.

        Raises:
            DatabaseBusy: It takes too long, for the first time; or so long that PostgreSQL may be frozen.
            Exception: What the last reading ended in, if it failed.
        """
        with self._changed:
            if self._is_due() and not self._is_reading:
                self._is_reading, self._began_at = True, self._clock()
                threading.Thread(target=self._refresh, name="eventbus-console-reading", daemon=True).start()
            self._changed.wait_for(lambda: not self._is_reading, self._patience_seconds())
            if self._is_reading and self._clock() - self._began_at > _LONGEST_SECONDS:
                raise DatabaseBusy(f"PostgreSQL has not answered for more than {_LONGEST_SECONDS:.0f} s.")
            if self._error is not None:
                raise self._error.with_traceback(self._traceback)
            if self._taken is None:
                raise DatabaseBusy("the first reading takes more than 10 s; the numbers appear as soon as it ends.")
            return self._taken[0]

    def forget(self) -> None:
        """Something was changed: whoever looks next sees it."""
        with self._changed:
            self._ended_at, self._is_outdated = float("-inf"), True

    def _is_due(self) -> bool:
        rest = _REST * self._cost_seconds
        if self._failed:
            rest = min(rest, _REST_AFTER_FAILURE_SECONDS)
        return self._clock() - self._ended_at > max(_FRESH_SECONDS, rest)

    def _patience_seconds(self) -> float:
        if self._taken is None and self._error is None:
            return _FIRST_PATIENCE_SECONDS
        return 0.0 if self._cost_seconds > _PATIENCE_SECONDS else _PATIENCE_SECONDS

    def _refresh(self) -> None:
        began_at = self._clock()
        with self._changed:
            self._is_outdated = False
        taken, error = None, None
        try:
            with waiting_at_most(_GIVEN_UP):
                taken = (self._read(),)
        except Exception as raised:  # noqa: BLE001 - a thread's edge: whoever looks is told
            error = raised
        with self._changed:
            ended_at = self._clock()
            self._cost_seconds = ended_at - began_at
            self._ended_at = float("-inf") if self._is_outdated else ended_at
            self._error, self._is_reading = error, False
            self._traceback = error.__traceback__ if error else None
            self._failed = taken is None or self._is_failure(taken[0])
            self._taken = taken or self._taken
            self._changed.notify_all()
