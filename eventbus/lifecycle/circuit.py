"""Circuits: a server that does not answer is left alone until it does, so that only one publish in many waits for it.

    closed ─ failure ─▶ open: nobody tries ─ a probe succeeds ─▶ closed

A thread of its own probes. Publishers never do: a server that hangs would cost each probe its whole time limit.
"""

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from eventbus.errors import BrokerUnreachable, HandlerTimeout

log = logging.getLogger(__name__)

#: Of the handler, or of the ordinary task, that publishes.
TIME_LIMITS = (HandlerTimeout, SoftTimeLimitExceeded)
_FIRST_PROBE_SECONDS = 0.25
_LAST_PROBE_SECONDS = 5.0


class Circuit:
    """Closed while a server works; open after a failure, until *probe* succeeds again."""

    def __init__(self, probe: Callable[[], None], *, server: str = "broker") -> None:
        self._probe = probe
        self._server = server
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closed.set()
        os.register_at_fork(after_in_child=self._after_fork)

    @property
    def is_open(self) -> bool:
        return not self._closed.is_set()

    def attempt(self, action: Callable[[], None], **facts: Any) -> bool:
        """Run *action*, unless the server is known to be down; False if it was not done. Raises nothing but a time limit.

        Args:
            facts: For the log.
        """
        if self.is_open:
            return False
        try:
            action()
        except BrokerUnreachable as error:
            log.warning("wake_up_failed", extra={**facts, "server": self._server, "reason": str(error)})
        except TIME_LIMITS:  # it says nothing of the server
            raise
        except Exception:  # whatever a client raises, the event is committed and the publisher must not fail
            log.exception("wake_up_failed", extra={**facts, "server": self._server})
        else:
            return True
        self.open()
        return False

    def open(self) -> None:
        """Let publishers pass without trying, until the server answers again."""
        with self._lock:
            if self.is_open:
                return
            self._closed.clear()
        log.warning("%s_down", self._server, extra={"consequence": "deliveries wait in PostgreSQL until it is back"})
        threading.Thread(target=self._watch, name=f"eventbus-{self._server}-probe", daemon=True).start()

    def wait_closed(self, timeout_seconds: float) -> bool:
        """Wait until the server is back; False if it is not by then."""
        return self._closed.wait(timeout_seconds)

    def _watch(self) -> None:
        pause = threading.Event()
        seconds = _FIRST_PROBE_SECONDS
        while True:
            pause.wait(seconds)
            try:
                self._probe()
            except Exception:  # noqa: BLE001 - any failure means "not yet"; the first one was logged
                seconds = min(seconds * 2, _LAST_PROBE_SECONDS)
                continue
            self._closed.set()
            log.warning("%s_back", self._server)
            return

    def _after_fork(self) -> None:
        """The thread that would close it does not exist in a child: try again there."""
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closed.set()
