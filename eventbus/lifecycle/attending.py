"""Attending: a thread in each process of a worker that settles what a running handler keeps its slice from settling.

slice ─watches─▶ Holding  ◀─ attendant, every 25 ms: marks what returned, gives back what waits behind a slow handler
            └──▶ Sessions ◀─┘                        ends a transaction that no handler has taken
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Protocol

from eventbus.errors import DatabaseError
from eventbus.lifecycle.slots import Slots

log = logging.getLogger(__name__)

_PERIOD_SECONDS = 0.025
#: So long it goes on looking when there is nothing: waking it for each slice would cost more than that.
_LINGER_SECONDS = 5.0


class Attended(Protocol):
    """What needs looking after while a slice runs handlers."""

    def attend(self, *, stopping: bool) -> None:
        """Do what is due.

        Raises:
            DatabaseError: It is as before, and is tried again when next attended.
        """


class Attendant:
    """Attends to all holdings of this process. Its thread starts with the first, in whichever process that is."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._lock = threading.Lock()
        self._needed = threading.Condition(self._lock)
        self._held: list[Attended] = []
        self._thread: threading.Thread | None = None
        self._is_waiting = False
        os.register_at_fork(after_in_child=self._after_fork)

    @contextlib.contextmanager
    def watching(self, *attended: Attended) -> Iterator[None]:
        """Attend to these while the block runs."""
        with self._lock:
            if self._thread is None:
                self._thread = self._begin()
            elif self._is_waiting:
                self._needed.notify()
            self._held += attended
        try:
            yield
        finally:
            with self._lock:
                for item in attended:
                    self._held.remove(item)

    def _begin(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="eventbus-attendant", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        idle_since = time.monotonic()
        while True:
            with self._lock:
                if self._held:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > _LINGER_SECONDS:
                    self._is_waiting = True
                    self._needed.wait_for(lambda: self._held)
                    self._is_waiting = False
                held = list(self._held)
            for item in held:
                self._attend(item)
            time.sleep(_PERIOD_SECONDS)

    def _attend(self, attended: Attended) -> None:
        try:
            attended.attend(stopping=self._slots.is_stopping)
        except DatabaseError as error:
            log.warning("settlement_repeated", extra={"reason": str(error)})
        except Exception:  # the thread's edge: without it a slow handler would hold up all others
            log.exception("attending_failed")

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._needed = threading.Condition(self._lock)
        self._held = []
        self._thread = None
        self._is_waiting = False
