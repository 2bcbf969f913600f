"""Waking: after the commit, each group that is owed the event is told, and real-time listeners hear of it.

    record ─▶ (commit) ─▶ wake up ─▶ broker
                             └─ broker down: its circuit opens, and publishers go on at once

Nothing here may fail a publish: the event is committed, and a relay finds what no worker was told.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import ceil

from eventbus.broker import Announcement, Broker, Notice, WakeUp
from eventbus.event import Event
from eventbus.lifecycle.circuit import Circuit
from eventbus.notice import write_notice
from eventbus.settings import Realtime, Settings
from eventbus.storage.event_log import Recorded

_Send = Callable[[Sequence[WakeUp], Sequence[Notice]], None]
_Tell = Callable[[Sequence[Notice]], None]
#: The most messages and notices that one write to the broker carries: its time limit is for the whole write.
_CHUNK = 500
#: So many deliveries of a group at once have a wake-up each, as if there were a worker for each.
_FEW = 20
#: The queues of so many sets of groups are kept: more than a service has types of events.
_KEPT = 1024
#: Of more than a thousand, so many share one: about what a worker takes in a moment.
_MANY = 50


class Waking:
    """Sends wake-ups and notices, unless the server for them is known to be down."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._queues = lru_cache(maxsize=_KEPT)(self._queues_of)
        self._circuit = Circuit(broker.ping)
        self._listeners = broker.listeners
        if self._listeners:
            self._listeners_circuit = Circuit(self._listeners.ping, server="realtime")

    def wake(self, recorded: Sequence[Recorded]) -> bool:
        """Tell the groups of *recorded* events and the real-time listeners; False if the broker could not be told."""
        if self._circuit.is_open and self._listeners is None:
            return False
        if len(recorded) == 1 and len(recorded[0].groups) <= _CHUNK:
            return self._announce(recorded[0])
        notices = [notice for item in recorded if (notice := self._notice(item.event))]
        return self.send(wake_ups_for(recorded, self._settings), notices)

    def _announce(self, item: Recorded) -> bool:
        """The same for one event, whose publisher waits: an answer would cost it as much as everything else that is done here."""
        event, notice = item.event, self._notice(item.event)
        announcement = Announcement(str(event.id), event.type, self._queues(item.groups))
        broker, listeners = self._broker, self._listeners
        facts = {"wake_ups": len(item.groups), "notices": 1 if notice else 0}
        if not listeners:
            return self._circuit.attempt(lambda: broker.announce(announcement, notice), **facts)
        told = self._circuit.attempt(lambda: broker.announce(announcement, None), **facts)
        if notice:
            self._listeners_circuit.attempt(lambda: listeners.post([notice]), **facts)
        return told

    def _queues_of(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        return tuple([self._settings.queue(group) for group in groups])

    def send(self, wake_ups: Sequence[WakeUp], notices: Sequence[Notice] = ()) -> bool:
        """Send what there is, unless the broker is known to be down; False if it could not be told. Never raises."""
        send, tell = self._broker.send, self._listeners.tell if self._listeners else None
        told = [
            self._pass_on(send, tell, wake_ups[start : start + _CHUNK], notices[start : start + _CHUNK])
            for start in range(0, max(len(wake_ups), len(notices)), _CHUNK)
        ]
        return all(told)

    def _pass_on(self, send: _Send, tell: _Tell | None, wake_ups: Sequence[WakeUp], notices: Sequence[Notice]) -> bool:
        facts = {"wake_ups": len(wake_ups), "notices": len(notices)}
        if tell is None:
            return self._circuit.attempt(lambda: send(wake_ups, notices), **facts)
        told = self._circuit.attempt(lambda: send(wake_ups, []), **facts)
        self._listeners_circuit.attempt(lambda: tell(notices), **facts)
        return told  # what becomes of notices is nothing to workers

    def _notice(self, event: Event) -> Notice | None:
        if self._settings.realtime is Realtime.OFF:
            return None
        text = write_notice(event, names_only=self._settings.realtime is Realtime.IDS)
        return Notice(channel=self._settings.channel(event.type), text=text)


def wake_ups_for(recorded: Sequence[Recorded], settings: Settings) -> list[WakeUp]:
    """The messages that *recorded* events call for: one for each delivery of a few, one for some fifty of many.

    Whoever is woken looks for all that is due, and wakes another one if there is more than it can take.
    """
    owed: dict[str, list[Event]] = {}
    for item in recorded:
        for group in item.groups:
            owed.setdefault(group, []).append(item.event)
    return [
        WakeUp(queue=settings.queue(group), event_id=event.id, type=event.type, everywhere=False)
        for group, events in owed.items()
        for event in events[:: ceil(len(events) / max(_FEW, len(events) / _MANY))]
    ]
