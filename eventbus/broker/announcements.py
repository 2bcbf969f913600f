"""Announcements: the commands that tell the groups of one event, kept whole, with gaps for what differs from event to event.

first event of a type for these queues ─▶ Celery's messages, packed for Redis ─▶ kept, if filling it gives the same bytes
every other one                        ─▶ gaps filled: a tenth of the time that making messages from templates takes
"""

import base64
import binascii
import os
import re
from operator import itemgetter
from typing import Any, NamedTuple

from eventbus.broker.contract import QUEUE_CAP, Announcement, Notice
from eventbus.broker.envelopes import UUID_LENGTH, Envelopes, Ids, is_plain, joined
from eventbus.broker.redis_connections import packed
from eventbus.broker.redis_server import PUSH_SHA
from eventbus.ids import draw_uuid

#: So many kinds of announcements are kept: more than a service has.
_KEPT = 1024
#: The ids of one announcement's messages begin as its event's, and differ in what follows.
_DRAWN = UUID_LENGTH - 2
_MOST_QUEUES = 100
#: How a command of three parts begins that has a notice as the others.
_PUBLISH = b"*3\r\n$7\r\nPUBLISH\r\n"


class Announcements:
    """Makes such commands for one app. Safe to share between threads: what is kept is replaced as a whole."""

    def __init__(self, envelopes: Envelopes, *, keyprefix: str) -> None:
        self._envelopes = envelopes
        self._keyprefix = keyprefix
        self._kept: dict[tuple[Any, ...], _Kept | None] = {}

    def commands(self, item: Announcement, notice: Notice | None, *, by_script: bool) -> bytes:
        """The packed commands for *item* and *notice*.

        Args:
            by_script: They are one, the script, which leaves out queues that are long; else one for each queue, and one for
                the notice, in a quarter of Redis's time.
        """
        if not item.queues:
            return self._packed(item, [], notice, by_script=by_script)
        way = self._envelopes.way()
        root_id, parent_id = self._envelopes.lineage()
        if way is None or len(item.queues) > _MOST_QUEUES or not (is_plain(root_id) and is_plain(parent_id)):
            return self._made(item, notice, by_script=by_script)
        # The process is named in every message.
        kind = (item.type, item.queues, way, os.getpid(), root_id is None, parent_id is None, notice is None, by_script)
        # No other event's id begins so, and this event is announced once.
        ids = _Drawn(item.event_id[:_DRAWN], root_id, parent_id)
        try:
            kept = self._kept[kind]
        except KeyError:
            kept = self._keep(kind, item, ids, notice, by_script=by_script)
        if kept is None:
            return self._made(item, notice, by_script=by_script)
        return kept.filled(item.event_id, ids, notice)

    def _made(self, item: Announcement, notice: Notice | None, *, by_script: bool) -> bytes:
        """The same with messages that are made one by one."""
        return self._packed(item, self._envelopes.stored(item.wake_ups()), notice, by_script=by_script)

    def _keep(
        self, kind: tuple[Any, ...], item: Announcement, ids: "_Drawn", notice: Notice | None, *, by_script: bool
    ) -> "_Kept | None":
        marks = _Drawn(draw_uuid()[:_DRAWN], ids.root_id and draw_uuid(), ids.parent_id and draw_uuid())
        marked = item._replace(event_id=draw_uuid())
        messages, bodies = self._messages(marked, marks)
        kept: _Kept | None = None
        if len(bodies) == 1:
            commands = self._packed(marked, messages, None, by_script=by_script, further=0 if notice is None else 2)
            kept = _Kept(commands, marked.event_id, marks, bodies.pop(), notices=b"" if by_script else _PUBLISH)
            whole = self._packed(item, self._messages(item, ids)[0], notice, by_script=by_script)
            if kept.filled(item.event_id, ids, notice) != whole:
                kept = None
        if len(self._kept) >= _KEPT:
            self._kept = {}
        self._kept[kind] = kept
        return kept

    def _messages(self, item: Announcement, ids: "_Drawn") -> tuple[list[str], set[str]]:
        """What would be pushed for each queue of *item*, and what these messages have as their body."""
        encoded = [self._envelopes.encoded(wake_up, ids.of(number)) for number, wake_up in enumerate(item.wake_ups())]
        return [joined(outer, body) for outer, body in encoded], {body for _, body in encoded}

    def _packed(
        self, item: Announcement, messages: list[str], notice: Notice | None, *, by_script: bool, further: int = 0
    ) -> bytes:
        """The commands; the script's with so many *further* parts to come."""
        keys = [self._keyprefix + queue for queue in item.queues]
        heard = () if notice is None else (notice.channel, notice.text)
        if by_script:
            pushed = [part for message in messages for part in (1, message)]
            return packed(("EVALSHA", PUSH_SHA, len(keys), *keys, QUEUE_CAP, *pushed, *heard), further=further)
        pushes = [packed(("LPUSH", key, message)) for key, message in zip(keys, messages, strict=True)]
        return b"".join([*pushes, packed(("PUBLISH", *heard)) if heard else b""])


class _Drawn(NamedTuple):
    """Where the ids of an announcement's messages come from."""

    drawn: str
    root_id: str | None
    parent_id: str | None

    def of(self, number: int) -> Ids:
        """The ids of the message for one of its queues."""
        return Ids(f"{self.drawn}{2 * number:02x}", f"{self.drawn}{2 * number + 1:02x}", self.root_id, self.parent_id)


class _Kept:
    """Commands with gaps. What fills them is as long as what was there, for Redis is told lengths."""

    def __init__(self, commands: bytes, event_id: str, marks: _Drawn, body: str, *, notices: bytes) -> None:
        marked = [base64.b64encode(body.encode()), event_id.encode(), *(mark.encode() for mark in marks if mark)]
        gap = re.compile(b"|".join(re.escape(mark) for mark in marked))
        self._format = gap.sub(b"%b", commands.replace(b"%", b"%%"))
        self._in_order = itemgetter(*[marked.index(mark) for mark in gap.findall(commands)])
        self._head, _, self._tail = body.encode().partition(marked[1])
        #: What comes before a notice.
        self._notices = notices

    def filled(self, event_id: str, ids: _Drawn, notice: Notice | None) -> bytes:
        """The commands for the event of that id."""
        id = event_id.encode()
        body = binascii.b2a_base64(self._head + id + self._tail, newline=False)
        values = (body, id, *[value.encode() for value in ids if value])
        commands: bytes = self._format % self._in_order(values)
        if notice is None:
            return commands
        channel, text = notice.channel.encode(), notice.text
        return b"%b%b$%d\r\n%b\r\n$%d\r\n%b\r\n" % (commands, self._notices, len(channel), channel, len(text), text)
