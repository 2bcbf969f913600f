"""Redis or Valkey as the broker: messages as kombu would store them, pushed in one round trip."""

import os
import re
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from celery import Celery

from eventbus.broker.announcements import Announcements
from eventbus.broker.contract import QUEUE_CAP, Announcement, Notice, WakeUp
from eventbus.broker.envelopes import Envelopes
from eventbus.broker.redis_connections import Owed
from eventbus.broker.redis_server import RedisListeners, RedisServer

#: So many kinds of answers are kept: more than a service has.
_KEPT = 1024
#: A number of no more digits is below the cap.
_DIGITS = len(str(QUEUE_CAP)) - 1
_NEVER = re.compile(rb"(?!)")


class RedisBroker:
    """Pushes each wake-up to its queue, unless that is long, and PUBLISHes notices."""

    def __init__(self, app: Celery, url: str, *, keyprefix: str, realtime_url: str | None) -> None:
        self._keyprefix = keyprefix
        self._envelopes = Envelopes(app)
        self._announcements = Announcements(self._envelopes, keyprefix=keyprefix)
        self._redis = RedisServer(url)
        #: Queues that held less than the cap when this process last heard of them: they are pushed to without asking.
        self._short: set[str] = set()
        os.register_at_fork(after_in_child=self._short.clear)
        self._owed = lru_cache(maxsize=_KEPT)(self._owed_for)
        self.listeners = RedisListeners(realtime_url) if realtime_url and realtime_url != url else None

    def send(self, wake_ups: Sequence[WakeUp], notices: Sequence[Notice]) -> None:
        """Push *wake_ups* where fewer than `QUEUE_CAP` messages wait, and PUBLISH *notices*."""
        self._redis.push(self._messages(wake_ups), notices, cap=QUEUE_CAP)

    def announce(self, item: Announcement, notice: Notice | None) -> None:
        """The same for one event, without waiting for the answers."""
        if not item.queues and notice is None:
            return
        by_script = not self._short.issuperset(item.queues)
        commands = self._announcements.commands(item, notice, by_script=by_script)
        owed = self._owed(item.queues, has_notice=notice is not None, by_script=by_script)
        if not self._redis.post(commands, owed, is_script=by_script):
            notices = [notice] if notice else []
            pushed = self._redis.push(self._messages(item.wake_ups()), notices, cap=QUEUE_CAP)
            self._note_pushed(item.queues, [pushed])

    def _owed_for(self, queues: tuple[str, ...], *, has_notice: bool, by_script: bool) -> Owed:
        """What is answered to an announcement to *queues*: the script tells how many it has pushed, LPUSH how long a queue is."""
        if by_script:
            return Owed(1, partial(self._note_pushed, queues), _NEVER)
        usual = re.compile(
            rb"(?::[0-9]{1,%d}\r\n){%d}%b" % (_DIGITS, len(queues), rb":[0-9]+\r\n" if has_notice else b"")
        )
        return Owed(len(queues) + has_notice, partial(self._note_lengths, queues), usual)

    def _note_pushed(self, queues: Sequence[str], answers: Sequence[Any]) -> None:
        if answers[0] == len(queues):
            self._short.update(queues)

    def _note_lengths(self, queues: Sequence[str], answers: Sequence[Any]) -> None:
        for queue, length in zip(queues, answers, strict=False):  # the last one may be about a notice
            if isinstance(length, Exception) or length >= QUEUE_CAP:
                self._short.discard(queue)

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
