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

    #: What every publish asks.
    is_open: bool

    def __init__(self, probe: Callable[[], None], *, server: str = "broker") -> None:
        self._probe = probe
        self._server = server
        self._begin_closed()
        os.register_at_fork(after_in_child=self._begin_closed)

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
            try:
                threading.Thread(target=self._watch, name=f"eventbus-{self._server}-probe", daemon=True).start()
            except RuntimeError:  # there are too many, or the process ends: nobody would close it again
                return
            self.is_open = True
        log.warning("%s_down", self._server, extra={"consequence": "deliveries wait in PostgreSQL until it is back"})

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
            with self._lock:
                self.is_open = False
            log.warning("%s_back", self._server)
            return

    def _begin_closed(self) -> None:
        """As it begins, and begins again in a child, where the thread that would close it does not exist."""
        self._lock = threading.Lock()
        self.is_open = False
