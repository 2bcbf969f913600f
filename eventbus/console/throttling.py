"""Throttling: whoever guesses passwords is made to wait, by the name and by the address that they guess from."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

#: So many failures of a key in so many seconds, then no more attempts until the first of them is as old.
WINDOW_SECONDS = 300.0
#: For one name from one address; for all names from one address; for one name from anywhere.
PER_PAIR, PER_ADDRESS, PER_NAME = 5, 20, 50
_MOST_KEYS = 50_000


class Throttle:
    """Counts failed logins."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def wait_seconds(self, name: str, address: str) -> float:
        """How long nobody may try that name from that address; 0 if they may now."""
        now = self._clock()
        with self._lock:
            waits = [self._wait(key, limit, now) for key, limit in _limits(name, address)]
        return max(waits)

    def note_failure(self, name: str, address: str) -> None:
        """A login failed, or is about to be tried."""
        now = self._clock()
        with self._lock:
            for key, _ in _limits(name, address):
                recent = [at for at in self._failures.pop(key, []) if now - at < WINDOW_SECONDS]
                self._failures[key] = [*recent, now]
            while len(self._failures) > _MOST_KEYS:
                self._failures.popitem(last=False)

    def forgive(self, name: str, address: str) -> None:
        """That name logged in from that address: what was noted before the try was no failure, nor do its own before it count."""
        (pair, _), *others = _limits(name, address)
        with self._lock:
            self._failures.pop(pair, None)
            for key, _ in others:
                self._failures[key] = self._failures.get(key, [])[:-1]

    def _wait(self, key: tuple[str, str], limit: int, now: float) -> float:
        recent = [at for at in self._failures.get(key, []) if now - at < WINDOW_SECONDS]
        return WINDOW_SECONDS - (now - recent[0]) if len(recent) >= limit else 0.0


def _limits(name: str, address: str) -> list[tuple[tuple[str, str], int]]:
    return [((name, address), PER_PAIR), (("", address), PER_ADDRESS), ((name, ""), PER_NAME)]
