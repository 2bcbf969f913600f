"""Counts: what takes long to be counted is counted beside the requests, once for all who ask for the same.

page ─▶ known within a moment? ─▶ it
           └─ no ─▶ "counting …", and its stream tells the number as soon as it is known
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

from eventbus.errors import DatabaseBusy
from eventbus.storage.deadlines import waiting_at_most

Value = TypeVar("Value")

#: Whoever asks again within this time is told the same.
_FRESH_SECONDS = 10.0
_MOMENT_SECONDS = 0.04
#: PostgreSQL has so long for it.
LONGEST = timedelta(minutes=5)
_MOST_AT_ONCE, _MOST_KEPT = 4, 50


@dataclass(frozen=True, kw_only=True)
class _Count(Generic[Value]):
    future: Future[Value] = field(default_factory=Future)
    began_at: float


class Counts(Generic[Value]):
    """The counts of one console, each by what is asked for."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_key: OrderedDict[str, _Count[Value]] = OrderedDict()

    def take(self, key: str, count: Callable[[], Value], *, again: bool) -> Value | None:
        """What *count* found, if that is known within a moment; None while it counts.

        Args:
            key: What is counted.
            again: Count anew if it was known for some seconds; otherwise what was counted is told for as long as it is kept.

        Raises:
            DatabaseBusy: Too many count at once.
            Exception: What it ended in; it is begun anew by the next who asks.
        """
        with self._lock:
            known = self._by_key.get(key)
            if known is None or (again and known.future.done() and self._clock() - known.began_at > _FRESH_SECONDS):
                known = self._begin(key, count)
        try:
            return known.future.result(_MOMENT_SECONDS)
        except TimeoutError:
            return None
        except Exception:
            with self._lock, suppress(KeyError):
                if self._by_key[key] is known:
                    del self._by_key[key]
            raise

    def _begin(self, key: str, count: Callable[[], Value]) -> _Count[Value]:
        if sum(not each.future.done() for each in self._by_key.values()) >= _MOST_AT_ONCE:
            raise DatabaseBusy(f"{_MOST_AT_ONCE} counts are under way: ask again when one of them has ended.")
        begun: _Count[Value] = _Count(began_at=self._clock())
        self._by_key.pop(key, None)
        self._by_key[key] = begun
        ended = [key for key, each in self._by_key.items() if each.future.done()]
        for old in ended[: max(0, len(self._by_key) - _MOST_KEPT)]:
            del self._by_key[old]
        threading.Thread(target=_count, args=(begun.future, count), name="eventbus-console-count", daemon=True).start()
        return begun


def _count(future: Future[Value], count: Callable[[], Value]) -> None:
    try:
        with waiting_at_most(LONGEST):
            found = count()
    except Exception as error:  # noqa: BLE001 - a thread's edge: whoever asks is told
        future.set_exception(error)
    else:
        future.set_result(found)
