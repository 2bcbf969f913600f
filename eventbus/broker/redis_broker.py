"""Redis or Valkey as the broker: messages as kombu would store them, pushed in one round trip."""

from collections.abc import Sequence

from celery import Celery

from eventbus.broker.announcements import Announcements
from eventbus.broker.contract import QUEUE_CAP, Announcement, Notice, WakeUp
from eventbus.broker.envelopes import Envelopes
from eventbus.broker.redis_server import RedisListeners, RedisServer


class RedisBroker:
    """Pushes each wake-up to its queue, unless that is long, and PUBLISHes notices."""

    def __init__(self, app: Celery, url: str, *, keyprefix: str, realtime_url: str | None) -> None:
        self._keyprefix = keyprefix
        self._envelopes = Envelopes(app)
        self._announcements = Announcements(self._envelopes, keyprefix=keyprefix)
        self._redis = RedisServer(url)
        self.listeners = RedisListeners(realtime_url) if realtime_url and realtime_url != url else None

    def send(self, wake_ups: Sequence[WakeUp], notices: Sequence[Notice]) -> None:
        """Push *wake_ups* where fewer than `QUEUE_CAP` messages wait, and PUBLISH *notices*."""
        self._redis.push(self._messages(wake_ups), notices, cap=QUEUE_CAP)

    def announce(self, item: Announcement, notice: Notice | None) -> None:
        """The same for one event, without waiting for the answer."""
        command = self._announcements.command(item, notice)
        if command is not None and not self._redis.post(command):
            self._redis.push(self._messages(item.wake_ups()), [notice] if notice else [], cap=QUEUE_CAP)

    def top_up(self, queue: str, wake_ups: Sequence[WakeUp], cap: int) -> int:
        """Push the first of *wake_ups* until *queue* holds *cap* messages; how many, in one step for everybody else."""
        messages = {self._keyprefix + queue: self._envelopes.stored(wake_ups[:cap])}
        return self._redis.push(messages, [], cap=cap)

    def ping(self) -> None:
        """Write a key that vanishes: a read-only or full Redis answers PING, but takes no message."""
        self._redis.call(lambda client: client.set(f"{self._keyprefix}eventbus.probe", b"1", px=1000))

    def depth(self, queue: str) -> int:
        """How many messages wait in *queue*."""
        return int(self._redis.call(lambda client: client.llen(self._keyprefix + queue)))

    def _messages(self, wake_ups: Sequence[WakeUp]) -> dict[str, list[str]]:
        """The messages for *wake_ups*, by the key of their queue."""
        messages: dict[str, list[str]] = {}
        for item, text in zip(wake_ups, self._envelopes.stored(wake_ups), strict=True):
            messages.setdefault(self._keyprefix + item.queue, []).append(text)
        return messages
