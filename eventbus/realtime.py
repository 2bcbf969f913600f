"""Real time: hears what publish() PUBLISHes after its commit. Best effort: an event is heard once, or never.

    PUBLISH events:order.created ─▶ Listener ─┬─▶ for event in listener
                                              ├─ of no type that matches: dropped, for a glob of Redis is wider than a pattern
                                              ├─ malformed: logged, dropped
                                              └─ connection lost: logged, made again; what is published meanwhile is not heard

A listener that reads slowly is its own problem: Redis buffers for it, then drops its connection; publishers never wait.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.retry import Retry

from eventbus.broker.redis_clients import redis_client
from eventbus.errors import BrokerUnreachable, DatabaseBusy, DatabaseUnreachable, InvalidEventType, RealtimeUnavailable
from eventbus.event import Event, check_type
from eventbus.notice import MalformedNotice, read_notice
from eventbus.settings import Realtime, Settings
from eventbus.subscription import check_pattern, matches
from eventbus.urls import without_password

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 3.0
#: How soon a listener that waits sees that it was closed by another thread.
_POLL_SECONDS = 0.5
#: Silence for so long is questioned with a PING; as much again without an answer, and the connection counts as lost.
_QUIET_SECONDS = 10.0
_FIRST_WAIT_SECONDS, _LAST_WAIT_SECONDS = 0.25, 5.0


class Listener(Iterator[Event]):
    """The events of a pattern as they are published, from now on; ends only when it is closed."""

    def __init__(self, pattern: str, *, settings: Settings, find: Callable[[UUID], Event | None]) -> None:
        """Subscribe: what is published after this returns is heard.

        Args:
            find: Called for an event of which only the id was PUBLISHed.

        Raises:
            InvalidPattern: The pattern cannot be used.
            RealtimeUnavailable: The settings say that nothing is PUBLISHed.
            InvalidSetting: The URL of Redis is of no use.
            BrokerUnreachable: Redis cannot be reached, or refuses.
        """
        self.pattern = check_pattern(pattern)
        self._url = _realtime_url(settings)
        self._setting = f"EVENTBUS_{'BROKER' if self._url == settings.broker_url else 'REALTIME'}_URL"
        self._prefix = settings.channel("")
        self._find = find
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._connect()

    def __next__(self) -> Event:
        """The next event, however long it takes; no more of them once this listener is closed."""
        with self._lock:
            while not self._closed.is_set():
                message = self._hear()
                event = self._event(message) if message else None
                if event is not None:
                    return event
        raise StopIteration

    def close(self) -> None:
        """Stop listening; from any thread. Whoever waits for an event is told that there are no more."""
        self._closed.set()
        with self._lock:
            self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self) -> None:
        # Without retries of its own, which would hide from us, and from the log, that notices were missed.
        self._client = redis_client(
            self._url,
            self._setting,
            socket_timeout=_CONNECT_SECONDS,
            socket_connect_timeout=_CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0, supported_errors=()),
        )
        self._subscription: PubSub = self._client.pubsub()  # type: ignore[no-untyped-call]
        # '*' of Redis stands for any text, dots too: wide enough for '*' and '#', and one glob means one copy of a notice.
        glob = self._prefix + self.pattern.replace(".#", "*").replace("#", "*")
        try:
            subscribe = self._subscription.psubscribe if "*" in glob else self._subscription.subscribe
            subscribe(glob)
            if self._subscription.get_message(timeout=_CONNECT_SECONDS) is None:
                raise redis.TimeoutError("it does not answer")
        except (redis.RedisError, OSError) as error:
            self._disconnect()
            raise _unreachable(self._url, error) from error
        self._heard_at, self._asked = time.monotonic(), False

    def _disconnect(self) -> None:
        self._subscription.close()
        self._client.close()

    def _hear(self) -> dict[str, Any] | None:
        """The next message of Redis, or None: for a while there was none, or the connection had to be made again."""
        try:
            message: dict[str, Any] | None = self._subscription.get_message(timeout=_POLL_SECONDS)
            self._check_alive(heard=message is not None)
        except (redis.RedisError, OSError) as error:
            self._reconnect(error)
            return None
        return message if message and message["type"] in ("message", "pmessage") else None

    def _check_alive(self, *, heard: bool) -> None:
        now = time.monotonic()
        if heard:
            self._heard_at, self._asked = now, False
        elif now - self._heard_at > _QUIET_SECONDS:
            if self._asked:
                raise redis.TimeoutError("it does not answer")
            self._subscription.ping()
            self._heard_at, self._asked = now, True

    def _reconnect(self, error: Exception) -> None:
        self._disconnect()
        where = without_password(self._url)
        log.warning("realtime_lost", extra={"where": where, "reason": str(error) or type(error).__name__})
        lost_at, seconds = time.monotonic(), _FIRST_WAIT_SECONDS
        while not self._closed.wait(seconds * random.uniform(0.5, 1)):
            try:
                self._connect()
            except BrokerUnreachable:
                seconds = min(seconds * 2, _LAST_WAIT_SECONDS)
                continue
            missed = f"{time.monotonic() - lost_at:.1f}"
            log.warning("realtime_back", extra={"where": where, "seconds_not_heard": missed})
            return

    def _event(self, message: dict[str, Any]) -> Event | None:
        """The event that a message is about; None if it is not for us, or cannot be had."""
        channel = _text(message["channel"])
        type = channel.removeprefix(self._prefix)
        try:
            if not matches(self.pattern, check_type(type)):
                return None
        except InvalidEventType:  # a channel of somebody else's that begins like ours
            return None
        try:
            found = read_notice(message["data"], type=type)
        except MalformedNotice as error:
            log.warning("realtime_malformed", extra={"channel": channel, "reason": str(error)})
            return None
        return found if isinstance(found, Event) else self._look_up(found)

    def _look_up(self, id: UUID) -> Event | None:
        try:
            event = self._find(id)
        except (DatabaseUnreachable, DatabaseBusy) as error:
            log.warning("realtime_not_read", extra={"event_id": str(id), "reason": str(error)})
            return None
        if event is None:
            log.warning("realtime_not_read", extra={"event_id": str(id), "reason": "it is not in the log"})
        return event


def _realtime_url(settings: Settings) -> str:
    if settings.realtime is Realtime.OFF:
        raise RealtimeUnavailable("EVENTBUS_REALTIME is off; set it to full or ids, where events are published too")
    if settings.realtime_url is None:
        broker = without_password(settings.broker_url)
        raise RealtimeUnavailable(
            f"the broker at {broker} is no Redis; name one in EVENTBUS_REALTIME_URL, where events are published too"
        )
    return settings.realtime_url


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")


def _unreachable(url: str, error: BaseException) -> BrokerUnreachable:
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    where = without_password(url)
    return BrokerUnreachable(f"the real-time channels at {where} cannot be listened to: {reason}.")
