"""Background: work that a page has started and that outlasts its request, in threads of this process.

All of it is durable and can be taken up again: a replay goes on behind its cursor, a retry leaves open what it has not come to.
When the console ends in order it waits until each has stopped between two batches; when it is killed, the pages say what was
interrupted.
"""

import logging
import threading
from collections.abc import Callable

from eventbus.errors import EventBusError
from eventbus.lifecycle.auditing import acting_as

log = logging.getLogger(__name__)

_STOP_SECONDS = 10.0

#: Does the work; ends soon after the event is set.
Work = Callable[[threading.Event], object]


class Background:
    """The threads of one console."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def start(self, work: Work, *, name: str, who: str) -> None:
        """Begin *work* in a thread of its own, in which *who* is the one who changes things."""

        def run() -> None:
            try:
                with acting_as(who):
                    work(self._stop)
            except EventBusError as error:
                # Nobody waits for an answer; the job itself says how far it came.
                log.warning("console_work_failed", extra={"work": name, "reason": str(error)})
            except Exception:  # a thread's edge
                log.exception("console_work_failed", extra={"work": name})
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def stop(self) -> None:
        """Let all work stop where it can be taken up again, and wait for that; a moment, if something hangs."""
        self._stop.set()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(_STOP_SECONDS)
