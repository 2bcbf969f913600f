"""Waking: after the commit, each group that is owed the event is told, and real-time listeners hear of it.

    record ─▶ (commit) ─▶ wake up ─▶ broker
                             └─ broker down: the circuit opens, publishers go on at once, a thread looks for its return

Nothing here may fail a publish: the event is committed, and a sweep finds what no worker was told.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from eventbus.broker import Broker, Notice, WakeUp
from eventbus.errors import BrokerUnreachable
from eventbus.event import Event
from eventbus.settings import Realtime, Settings
from eventbus.storage.event_log import Recorded
from eventbus.wire import encode_again

log = logging.getLogger(__name__)

_FIRST_PROBE_SECONDS = 0.25
_LAST_PROBE_SECONDS = 5.0
#: The most messages and notices that one write to the broker carries: its time limit is for the whole write.
_CHUNK = 500


class Waking:
    """Sends wake-ups and notices, unless the broker is known to be down."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._circuit = Circuit(broker.ping)

    def wake(self, recorded: Sequence[Recorded]) -> bool:
        """Tell the groups of *recorded* events and the real-time listeners; False if the broker could not be told."""
        if self._circuit.is_open:
            return False
        notices = [notice for item in recorded for notice in self._notices(item.event)]
        return self.send(wake_ups_for(recorded, self._settings), notices)

    def send(self, wake_ups: Sequence[WakeUp], notices: Sequence[Notice] = ()) -> bool:
        """Send what there is, unless the broker is known to be down; False if it could not be told. Never raises."""
        return all(
            self._send_chunk(wake_ups[start : start + _CHUNK], notices[start : start + _CHUNK])
            for start in range(0, max(len(wake_ups), len(notices)), _CHUNK)
        )

    def _send_chunk(self, wake_ups: Sequence[WakeUp], notices: Sequence[Notice]) -> bool:
        if self._circuit.is_open:
            return False
        try:
            self._broker.send(wake_ups, notices)
        except BrokerUnreachable as error:
            log.warning("wake_up_failed", extra={"wake_ups": len(wake_ups), "reason": str(error)})
            self._circuit.open()
            return False
        except Exception:  # whatever a broker's client raises, the event is committed and the publisher must not fail
            log.exception("wake_up_failed", extra={"wake_ups": len(wake_ups)})
            self._circuit.open()
            return False
        return True

    def _notices(self, event: Event) -> list[Notice]:
        if self._settings.realtime is Realtime.OFF:
            return []
        body: dict[str, Any] = event.as_json()
        if self._settings.realtime is Realtime.IDS:
            body = {"id": body["id"], "type": body["type"]}
        return [Notice(channel=self._settings.channel(event.type), text=encode_again(body))]


def wake_ups_for(recorded: Sequence[Recorded], settings: Settings) -> list[WakeUp]:
    """The messages that *recorded* events call for: one for each delivery, as a worker handles one for each message."""
    return [
        WakeUp(queue=settings.queue(group), event_id=item.event.id, type=item.event.type)
        for item in recorded
        for group in item.groups
    ]


class Circuit:
    """Closed while the broker works; open after a failure, until *probe*, run by a thread of its own, succeeds again.

    Publishers never probe: a broker that hangs would cost each probe its whole time limit.
    """

    def __init__(self, probe: Callable[[], None]) -> None:
        self._probe = probe
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closed.set()
        os.register_at_fork(after_in_child=self._after_fork)

    @property
    def is_open(self) -> bool:
        return not self._closed.is_set()

    def open(self) -> None:
        """Let publishers pass without trying, until the broker answers again."""
        with self._lock:
            if self.is_open:
                return
            self._closed.clear()
        log.warning("broker_down", extra={"consequence": "deliveries wait in PostgreSQL until it is back"})
        threading.Thread(target=self._watch, name="eventbus-broker-probe", daemon=True).start()

    def wait_closed(self, timeout_seconds: float) -> bool:
        """Wait until the broker is back; False if it is not by then."""
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
            log.warning("broker_back")
            return

    def _after_fork(self) -> None:
        """The thread that would close it does not exist in a child: try again there."""
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closed.set()
