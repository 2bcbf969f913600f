"""Pace: how long a group's handlers take, as this process has seen it, and how many of them fit into a slice."""

import threading

#: How much the newest batch counts.
_WEIGHT = 0.4


class Pace:
    """Measured handler times by group. Safe to share between threads."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    def note(self, group: str, *, deliveries: int, seconds: float) -> None:
        """Learn that so many deliveries of *group* took so long in all."""
        mean = seconds / deliveries
        with self._lock:
            before = self._seconds.get(group, mean)
            self._seconds[group] = before + _WEIGHT * (mean - before)

    def fitting(self, group: str, *, seconds: float, at_most: int) -> int:
        """How many deliveries of *group* fit into *seconds*: at least 1, and 1 as long as nothing is known."""
        with self._lock:
            mean = self._seconds.get(group)
        if mean is None:
            return 1
        return at_most if mean * at_most <= seconds else max(1, int(seconds / mean))
