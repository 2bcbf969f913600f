"""Envelopes: a wake-up as Celery's own message, so that any worker, and Flower, can read it. Only ids travel.

    first wake-up of a queue ─▶ Celery makes the message, kombu encodes it ─▶ template
    every other one          ─▶ template, ids filled in: a tenth of the time

A template is used only if it gives, to the byte, what Celery and kombu gave; and not while somebody listens for Celery's signals,
who may change a message.
"""

import base64
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import kombu.serialization
from celery import Celery, signals
from kombu.utils.json import dumps

from eventbus.broker.contract import WakeUp
from eventbus.ids import draw_uuid, draw_uuids

UUID_LENGTH = 36
#: A further argument of a task that is to look for work of any time.
EVERYWHERE = "everywhere"
_PLAIN_ID = re.compile(rf"[0-9A-Za-z-]{{{UUID_LENGTH}}}", re.ASCII)


class Ids(NamedTuple):
    """What differs between two messages for one queue, beside the event."""

    task_id: str
    delivery_tag: str
    #: The task within which the message is sent, and the first task of its story; as Celery notes them.
    root_id: str | None
    parent_id: str | None


class Envelopes:
    """Makes the messages of one app."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._templates: dict[tuple[Any, ...], Template | None] = {}
        self._pid = os.getpid()

    def stored(self, wake_ups: Sequence[WakeUp]) -> list[str]:
        """What kombu's Redis transport would push for each of *wake_ups*."""
        if self._pid != os.getpid():  # which is in every message
            self._pid, self._templates = os.getpid(), {}
        root_id, parent_id = self.lineage()
        way = self.way() if is_plain(root_id) and is_plain(parent_id) else None
        drawn = draw_uuids(2 * len(wake_ups))
        texts = []
        for number, item in enumerate(wake_ups):
            ids = Ids(drawn[2 * number], drawn[2 * number + 1], root_id, parent_id)
            template = None if way is None else self._template(item, ids, way)
            texts.append(template.filled(item, ids) if template else joined(*self.encoded(item, ids)))
        return texts

    def message(self, wake_up: WakeUp, ids: Ids | None = None) -> tuple[dict[str, Any], dict[str, Any], Any]:
        """Properties, headers and body of the message for *wake_up*, announced to those who listen for Celery's signals."""
        ids = ids or Ids(draw_uuid(), draw_uuid(), *self.lineage())
        event_id, queue = str(wake_up.event_id), wake_up.queue
        message = self._app.amqp.create_task_message(
            ids.task_id,
            queue,
            (event_id, EVERYWHERE) if wake_up.everywhere else (event_id,),
            {},
            argsrepr=f"{wake_up.type} {event_id}",
            kwargsrepr="{}",
            ignore_result=True,
            root_id=ids.root_id,
            parent_id=ids.parent_id,
        )
        # Celery sends these from apply_async, which the direct path does not take; instrumentation depends on them.
        about = {
            "sender": queue,
            "exchange": "",
            "routing_key": queue,
            "headers": message.headers,
            "body": message.body,
        }
        if signals.before_task_publish.receivers:
            signals.before_task_publish.send(**about, properties=message.properties, declare=[], retry_policy={})
        if signals.after_task_publish.receivers:
            signals.after_task_publish.send(**about)
        return message.properties, message.headers, message.body

    def way(self) -> Any:
        """The app's way to make messages, which depends on its configuration: another object if that was read anew.

        Returns:
            None while somebody listens for Celery's signals: each message is to be made by itself then.
        """
        if signals.before_task_publish.receivers or signals.after_task_publish.receivers:
            return None
        return _kept(_kept(self._app, "amqp"), "create_task_message")

    def lineage(self) -> tuple[str | None, str | None]:
        """The first task of the current story, and the current task; None outside of one."""
        task = self._app.current_worker_task
        return (task.request.root_id or task.request.id, task.request.id) if task else (None, None)

    def _template(self, wake_up: WakeUp, ids: Ids, way: Any) -> "Template | None":
        """The template for messages like *wake_up*'s, made in that *way*; None if there can be none."""
        kind = (wake_up.queue, wake_up.everywhere, ids.root_id is None, ids.parent_id is None, way)
        try:
            return self._templates[kind]
        except KeyError:
            template = self._made_template(wake_up, ids)
            is_right = template.filled(wake_up, ids) == joined(*self.encoded(wake_up, ids))
            found = self._templates[kind] = template if is_right else None
            return found

    def _made_template(self, like: WakeUp, ids: Ids) -> "Template":
        root_id, parent_id = ids.root_id and draw_uuid(), ids.parent_id and draw_uuid()
        marks = Ids(draw_uuid(), draw_uuid(), root_id, parent_id)
        marked = WakeUp(queue=like.queue, event_id=UUID(draw_uuid()), type=draw_uuid(), everywhere=like.everywhere)
        names = {
            _BODY: "body",
            str(marked.event_id): "event_id",
            marked.type: "type",
            marks.task_id: "task_id",
            marks.delivery_tag: "delivery_tag",
            **({root_id: "root_id"} if root_id else {}),
            **({parent_id: "parent_id"} if parent_id else {}),
        }
        outer, body = (_as_format(text, names) for text in self.encoded(marked, marks))
        return Template(outer, body)

    def encoded(self, wake_up: WakeUp, ids: Ids) -> tuple[str, str]:
        """The message for *wake_up*, with a mark in the place of its body; and the body, not yet in base64."""
        properties, headers, body = self.message(wake_up, ids)
        content_type, content_encoding, encoded = kombu.serialization.dumps(body, serializer="json")
        outer = {
            "body": _BODY,
            "content-encoding": content_encoding,
            "content-type": content_type,
            "headers": headers,
            "properties": {
                **properties,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": wake_up.queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": ids.delivery_tag,
            },
        }
        return str(dumps(outer)), encoded


def _kept(owner: Any, name: str) -> Any:
    """What *owner* keeps as *name*, a property that kombu caches behind a lock: eight calls, just to look."""
    found = owner.__dict__.get(name)
    return getattr(owner, name) if found is None else found


def is_plain(id: str | None) -> bool:
    """Whether a task's *id* may take the place of another in a message that is made; any text is an id to Celery."""
    return id is None or bool(_PLAIN_ID.fullmatch(id))


class Template:
    """A message with gaps, which are filled by position: by name it would take twice the time."""

    def __init__(self, outer: str, body: str) -> None:
        self._outer, self._in_outer = _by_position(outer)
        self._body, self._in_body = _by_position(body)

    def filled(self, wake_up: WakeUp, ids: Ids) -> str:
        """The message for *wake_up*."""
        # In the order of _GAPS, the body last.
        values = [str(wake_up.event_id), wake_up.type, *ids]
        values.append(_base64(self._body % tuple([values[at] for at in self._in_body])))
        return self._outer % tuple([values[at] for at in self._in_outer])


_GAPS = ("event_id", "type", *Ids._fields, "body")
_GAP = re.compile(r"%\((\w+)\)s")
#: Stands for the body until that is known; no random id looks like it.
_BODY = "eventbus:body"


def joined(outer: str, body: str) -> str:
    """A message, of what `Envelopes.encoded` gives."""
    return outer.replace(_BODY, _base64(body), 1)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _by_position(format: str) -> tuple[str, list[int]]:
    """*format* with nameless gaps, and which of `_GAPS` belongs in each."""
    return _GAP.sub("%s", format), [_GAPS.index(name) for name in _GAP.findall(format)]


def _as_format(text: str, names: dict[str, str]) -> str:
    """*text* for the % operator, with a named gap for each mark in it."""
    text = text.replace("%", "%%")
    for mark, name in names.items():
        text = text.replace(mark, f"%({name})s")
    return text
