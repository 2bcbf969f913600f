"""Listening: the method of a bus that hears events as they happen."""

from uuid import UUID

from eventbus.event import Event
from eventbus.operations.parts import Parts
from eventbus.realtime import Listener
from eventbus.storage import event_log


class ListenOperations(Parts):
    """What a bus hears of events in real time."""

    def listen(self, pattern: str) -> Listener:
        """The events of *pattern* as they are published, whatever their groups do; best effort, so for looking, not for work.

        What is committed after this call returns is heard at most once: nothing is heard while the connection is lost, or
        if the caller reads too slowly. Publishers never wait for listeners. Leave the iteration by closing the listener
        (``with`` does it, and so does ``close()`` from another thread).

        Raises:
            InvalidPattern: The pattern cannot be used.
            RealtimeUnavailable: EVENTBUS_REALTIME is off, or there is no Redis to listen to.
            InvalidSetting: The URL of Redis is of no use.
            BrokerUnreachable: Redis cannot be reached. Later on it is waited for.
        """
        return Listener(pattern, settings=self.settings, find=self._find_event)

    def _find_event(self, id: UUID) -> Event | None:
        with self.database.autocommit() as connection:
            return event_log.find(connection, id)
