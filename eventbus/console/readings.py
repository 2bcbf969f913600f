"""Readings: what may be dear to read is read once for all who look, beside their requests, and the less often the dearer it is.

request ─▶ young enough? ─▶ it
              └─ no ─▶ a thread reads ─▶ in time? ─▶ the new one
                                           └─ no ─▶ the one before, which says how old it is
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from eventbus.errors import DatabaseBusy

Value = TypeVar("Value")

#: Whoever looks again within this time sees the same.
_FRESH_SECONDS = 1.0
#: A reading that took a second is not repeated for so many seconds.
_REST = 20.0
#: So long a request waits for a new reading while there is an old one; and for the first one ever.
_PATIENCE_SECONDS, _FIRST_PATIENCE_SECONDS = 0.03, 10.0


@dataclass(frozen=True, kw_only=True)
class Taken(Generic[Value]):
    """What was read."""

    value: Value
    age_seconds: float


class Reading(Generic[Value]):
    """One thing that is read."""

    def __init__(self, read: Callable[[], Value], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._changed = threading.Condition()
        self._is_reading = False
        self._taken: tuple[Value, float] | None = None
        self._error: Exception | None = None
        #: When the last reading ended, and what it took.
        self._ended_at, self._cost_seconds = float("-inf"), 0.0
        #: Something was changed while somebody read.
        self._is_outdated = False

    def take(self) -> Taken[Value]:
        """What was read last, or is read now.

        Raises:
            DatabaseBusy: It takes too long, for the first time.
            Exception: What the last reading ended in, if it failed.
        """
        with self._changed:
            if self._is_due() and not self._is_reading:
                self._is_reading = True
                threading.Thread(target=self._refresh, name="eventbus-console-reading", daemon=True).start()
            self._changed.wait_for(lambda: not self._is_reading, self._patience_seconds())
            if self._error is not None:
                raise self._error
            if self._taken is None:
                raise DatabaseBusy(
                    "the first look at the bus takes more than 10 s; the numbers come as soon as it ends."
                )
            value, read_at = self._taken
            return Taken(value=value, age_seconds=self._clock() - read_at)

    def forget(self) -> None:
        """Something was changed: whoever looks next sees it."""
        with self._changed:
            self._ended_at, self._is_outdated = float("-inf"), True

    def _is_due(self) -> bool:
        return self._clock() - self._ended_at > max(_FRESH_SECONDS, _REST * self._cost_seconds)

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
            taken = self._read(), began_at
        except Exception as raised:  # noqa: BLE001 - a thread's edge: whoever looks is told
            error = raised
        with self._changed:
            ended_at = self._clock()
            self._cost_seconds = ended_at - began_at
            self._ended_at = float("-inf") if self._is_outdated else ended_at
            self._error, self._is_reading = error, False
            self._taken = taken or self._taken
            self._changed.notify_all()
