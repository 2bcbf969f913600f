"""The tail: events of the log as they are recorded, asked for again every second. Best effort, and without the broker.

    what was recorded since two seconds before the last look ─▶ not yet shown ─▶ oldest first

A list that was left alone for a while is told what came since, too, which may be what it has. An event that commits later than two
seconds after it was recorded, or comes with more than a page of others, is not shown.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from eventbus.bus import EventBus
from eventbus.event import Event

_EVERY_SECONDS = 1.0
_LATE = timedelta(seconds=2)
_MOST = 50
#: As many rows as a list keeps: a list that is told so many lacks none between them.
_MOST_AT_FIRST = 200
#: Whoever looked away for longer is told of this time.
_LONGEST_AWAY = timedelta(days=1)
_REMEMBERED = 1000
#: Where no index tells apart what is sought, so many events are looked at each time.
_MOST_READ = 4000


class EventTail:
    """The events that are sought, from now on, until it is closed."""

    def __init__(self, bus: EventBus, sought: Mapping[str, Any], *, after: datetime | None = None) -> None:
        """Begin to look.

        Args:
            after: Since when whoever looks lacks what was recorded; None if they lack nothing.

        Raises:
            InvalidInput, DatabaseError: Nothing can be found that way.
        """
        self._bus = bus
        self._sought = sought
        self._closed = threading.Event()
        now = bus.clock()
        self._since = (now if after is None else max(after, now - _LONGEST_AWAY)) - _LATE
        known = self._found(_MOST_AT_FIRST)
        self._shown: OrderedDict[UUID, None] = OrderedDict.fromkeys(event.id for event in known)
        self._meanwhile = [] if after is None else known

    def __iter__(self) -> Iterator[Event]:
        return chain.from_iterable(self.looks())

    def looks(self) -> Iterator[list[Event]]:
        """What each look has found, which may be nothing."""
        if self._meanwhile:
            yield self._meanwhile
        while not self._closed.wait(_EVERY_SECONDS):
            found = [event for event in self._found(_MOST) if event.id not in self._shown]
            self._remember(found)
            yield found

    def close(self) -> None:
        """End the iteration, within a moment."""
        self._closed.set()

    def _found(self, most: int) -> list[Event]:
        """The newest that are sought, oldest first."""
        now = self._bus.clock()
        page = self._bus.events(**{**self._sought, "since": self._since}, limit=most, most_read=_MOST_READ)
        self._since = now - _LATE
        return list(reversed(page.items))

    def _remember(self, events: list[Event]) -> None:
        for event in events:
            self._shown[event.id] = None
        while len(self._shown) > _REMEMBERED:
            self._shown.popitem(last=False)
