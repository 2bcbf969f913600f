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
    """One such thread. A server that is away is said once, and again when the reason changes; so is that the duty goes on.

    Args:
        period: From the end of one time to the next.
        again: The same after a time at which a server was away.
    """

    def __init__(
        self, name: str, action: Callable[[], None], *, period: timedelta, again: timedelta | None = None
    ) -> None:
        self._name = name
        self._action = action
        self._period_seconds = period.total_seconds()
        self._again_seconds = (again or period).total_seconds()
        self._is_over = threading.Event()
        #: Why it could not be done the last time.
        self._reason: str | None = None
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
            self._is_over.wait(self._period_seconds if self._reason is None else self._again_seconds)

    def do(self) -> None:
        """Do it once, here and now; says what went wrong, and raises nothing."""
        try:
            self._action()
            if self._reason is not None:
                log.warning("duty_resumed", extra={"duty": self._name})
            self._reason = None
        except (DatabaseError, BrokerUnreachable) as error:
            if str(error) != self._reason:
                log.warning("duty_waits", extra={"duty": self._name, "reason": str(error)})
            self._reason = str(error)
        except Exception:  # the thread's edge: a duty that ended would be missed by nobody until it is needed
            log.exception("duty_failed", extra={"duty": self._name})
