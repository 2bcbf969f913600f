"""Following: a list of events that is looked at: what is recorded comes on top, and each row tells how its groups stand now.

tail, every second ─▶ new events ─▶ how do these and those that are shown stand? ─▶ whatever is not as it was told
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from eventbus.bus import EventBus
from eventbus.console.event_tail import EventTail
from eventbus.event import Event
from eventbus.storage.overview.stories import Standing

#: So many of the newest rows are followed.
_MOST = 50


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A row as it is now."""

    id: UUID
    #: None if the row is there already.
    event: Event | None
    standings: Sequence[Standing]


class EventFollowing:
    """What a list of events that holds *shown* is to be told, until it is closed."""

    def __init__(self, bus: EventBus, tail: EventTail, shown: Sequence[UUID]) -> None:
        """Begin to look.

        Args:
            shown: What the list holds, newest first; how it stands now is told at once, as it may have changed since.
        """
        self._bus = bus
        self._tail = tail
        #: Of the rows that are followed, the oldest first: how each stands, as far as that was told.
        self._told: dict[UUID, list[Standing] | None] = dict.fromkeys(reversed(shown))

    def __iter__(self) -> Iterator[Seen]:
        for found in self._tail.looks():
            new = {event.id: event for event in found}
            for id in new:
                self._told.setdefault(id, None)
            for id in list(self._told)[:-_MOST]:
                del self._told[id]
            yield from self._changed(new)

    def close(self) -> None:
        """End the iteration, within a moment."""
        self._tail.close()

    def _changed(self, new: dict[UUID, Event]) -> Iterator[Seen]:
        now: dict[UUID, list[Standing]] = {id: [] for id in self._told}
        for standing in self._bus.standings(list(now)):
            now[standing.event_id].append(standing)
        for id, standings in now.items():
            if self._told[id] != standings:
                self._told[id] = standings
                yield Seen(id=id, event=new.get(id), standings=standings)
