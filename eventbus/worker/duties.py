"""Duties: threads of a worker's main process, each of which does one thing over and over.

None of them waits for another, nor for a child: what renews leases must not hang because a broker does.
"""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from eventbus.errors import BrokerUnreachable, DatabaseError

log = logging.getLogger(__name__)


class Duty:
    """One such thread. A server that is away is said once, and the duty goes on when it is back."""

    def __init__(self, name: str, action: Callable[[], None], *, period: timedelta) -> None:
        self._name = name
        self._action = action
        self._period_seconds = period.total_seconds()
        self._is_over = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name=f"eventbus-{name}", daemon=True)

    def start(self) -> None:
        """Begin; the first time is now."""
        self._thread.start()

    def stop(self, *, timeout_seconds: float) -> None:
        """End, after what is being done now if that ends in time."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._is_over.is_set():
            self.do()
            self._is_over.wait(self._period_seconds)

    def do(self) -> None:
        """Do it once, here and now; says what went wrong, and raises nothing."""
        try:
            self._action()
            self._is_failing = False
        except (DatabaseError, BrokerUnreachable) as error:
            if not self._is_failing:
                log.warning("duty_waits", extra={"duty": self._name, "reason": str(error)})
            self._is_failing = True
        except Exception:  # the thread's edge: a duty that ended would be missed by nobody until it is needed
            log.exception("duty_failed", extra={"duty": self._name})
