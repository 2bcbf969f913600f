"""Announcements: the command that tells the groups of one event, kept whole, with gaps for what differs from event to event.

first event of a type for these queues ─▶ Celery's messages, packed for Redis ─▶ kept, if filling it gives the same bytes
every other one                        ─▶ gaps filled: a tenth of the time that making messages from templates takes
"""

import base64
import binascii
import os
import re
from operator import itemgetter
from typing import Any, NamedTuple

from eventbus.broker.contract import QUEUE_CAP, Announcement, Notice, WakeUp
from eventbus.broker.envelopes import UUID_LENGTH, Envelopes, Ids, is_plain, joined
from eventbus.broker.redis_connections import packed
from eventbus.broker.redis_server import PUSH_SHA
from eventbus.ids import draw_uuid

#: So many kinds of announcements are kept: more than a service has.
_KEPT = 1024
#: The ids of one announcement's messages begin as its event's, and differ in what follows.
_DRAWN = UUID_LENGTH - 2
_MOST_QUEUES = 100


class Announcements:
    """Makes such commands for one app. Safe to share between threads: what is kept is replaced as a whole."""

    def __init__(self, envelopes: Envelopes, *, keyprefix: str) -> None:
        self._envelopes = envelopes
        self._keyprefix = keyprefix
        self._kept: dict[tuple[Any, ...], _Kept | None] = {}

    def command(self, item: Announcement, notice: Notice | None) -> bytes | None:
        """The packed command for *item* and *notice*; None if there is nothing to say."""
        if not item.queues:
            return None if notice is None else self._packed(item, [], notice)
        way = self._envelopes.way()
        root_id, parent_id = self._envelopes.lineage()
        if way is None or len(item.queues) > _MOST_QUEUES or not (is_plain(root_id) and is_plain(parent_id)):
            return self._made(item, notice)
        # The process is named in every message.
        kind = (item.type, item.queues, way, os.getpid(), root_id is None, parent_id is None, notice is None)
        # No other event's id begins so, and this event is announced once.
        ids = _Drawn(item.event_id[:_DRAWN], root_id, parent_id)
        try:
            kept = self._kept[kind]
        except KeyError:
            kept = self._keep(kind, item, ids, notice)
        return self._made(item, notice) if kept is None else kept.filled(item.event_id, ids, notice)

    def _made(self, item: Announcement, notice: Notice | None) -> bytes:
        """The same with messages that are made one by one."""
        return self._packed(item, self._envelopes.stored(item.wake_ups()), notice)

    def _keep(self, kind: tuple[Any, ...], item: Announcement, ids: "_Drawn", notice: Notice | None) -> "_Kept | None":
        marks = _Drawn(draw_uuid()[:_DRAWN], ids.root_id and draw_uuid(), ids.parent_id and draw_uuid())
        marked = item._replace(event_id=draw_uuid())
        messages, bodies = self._messages(marked, marks)
        kept: _Kept | None = None
        if len(bodies) == 1:
            command = self._packed(marked, messages, None, further=0 if notice is None else 2)
            kept = _Kept(command, marked.event_id, marks, bodies.pop())
            whole = self._packed(item, self._messages(item, ids)[0], notice)
            if kept.filled(item.event_id, ids, notice) != whole:
                kept = None
        if len(self._kept) >= _KEPT:
            self._kept = {}
        self._kept[kind] = kept
        return kept

    def _messages(self, item: Announcement, ids: "_Drawn") -> tuple[list[str], set[str]]:
        """What would be pushed for each queue of *item*, and what these messages have as their body."""
        encoded = [
            self._envelopes.encoded(WakeUp(queue=queue, event_id=item.event_id, type=item.type), ids.of(number))
            for number, queue in enumerate(item.queues)
        ]
        return [joined(outer, body) for outer, body in encoded], {body for _, body in encoded}

    def _packed(self, item: Announcement, messages: list[str], notice: Notice | None, *, further: int = 0) -> bytes:
        """The command; with so many *further* parts to come."""
        keys = [self._keyprefix + queue for queue in item.queues]
        pushed: list[str | int] = []
        for message in messages:
            pushed += (1, message)
        heard = () if notice is None else (notice.channel, notice.text)
        return packed(("EVALSHA", PUSH_SHA, len(keys), *keys, QUEUE_CAP, *pushed, *heard), further=further)


class _Drawn(NamedTuple):
    """Where the ids of an announcement's messages come from."""

    drawn: str
    root_id: str | None
    parent_id: str | None

    def of(self, number: int) -> Ids:
        """The ids of the message for one of its queues."""
        return Ids(f"{self.drawn}{2 * number:02x}", f"{self.drawn}{2 * number + 1:02x}", self.root_id, self.parent_id)


class _Kept:
    """A command with gaps. What fills them is as long as what was there, for Redis is told lengths."""

    def __init__(self, command: bytes, event_id: str, marks: _Drawn, body: str) -> None:
        marked = [base64.b64encode(body.encode()), event_id.encode(), *(mark.encode() for mark in marks if mark)]
        gap = re.compile(b"|".join(re.escape(mark) for mark in marked))
        self._format = gap.sub(b"%b", command.replace(b"%", b"%%"))
        self._in_order = itemgetter(*[marked.index(mark) for mark in gap.findall(command)])
        self._head, _, self._tail = body.encode().partition(marked[1])

    def filled(self, event_id: str, ids: _Drawn, notice: Notice | None) -> bytes:
        """The command for the event of that id."""
        id = event_id.encode()
        body = binascii.b2a_base64(self._head + id + self._tail, newline=False)
        values = (body, id, *[value.encode() for value in ids if value])
        command: bytes = self._format % self._in_order(values)
        return command if notice is None else command + _packed_notice(notice)


def _packed_notice(notice: Notice) -> bytes:
    channel, text = notice.channel.encode(), notice.text
    return b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(channel), channel, len(text), text)
