"""Envelopes: a wake-up as Celery's own message, so that any worker, and Flower, can read it. Only ids travel."""

import base64
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import kombu.serialization
from celery import Celery, signals
from kombu.utils.json import dumps

from eventbus.broker.contract import WakeUp


class Envelopes:
    """Makes the messages of one app."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def message(self, wake_up: WakeUp) -> tuple[Mapping[str, Any], Mapping[str, Any], Any]:
        """Properties, headers and body of the message for *wake_up*, announced to those who listen for Celery's signals."""
        task_id, event_id = str(uuid4()), str(wake_up.event_id)
        message = self._app.amqp.create_task_message(
            task_id,
            wake_up.queue,
            (event_id,),
            {},
            argsrepr=f"{wake_up.type} {event_id}",
            kwargsrepr="{}",
            ignore_result=True,
        )
        # Celery sends these from apply_async, which the direct path does not take; instrumentation depends on them.
        if signals.before_task_publish.receivers:
            signals.before_task_publish.send(
                sender=wake_up.queue,
                body=message.body,
                exchange="",
                routing_key=wake_up.queue,
                headers=message.headers,
                properties=message.properties,
                declare=[],
                retry_policy={},
            )
        if signals.after_task_publish.receivers:
            signals.after_task_publish.send(
                sender=wake_up.queue, body=message.body, headers=message.headers, exchange="", routing_key=wake_up.queue
            )
        return message.properties, message.headers, message.body

    def stored(self, wake_up: WakeUp) -> str:
        """What kombu's Redis transport would push for the message."""
        properties, headers, body = self.message(wake_up)
        content_type, content_encoding, encoded = kombu.serialization.dumps(body, serializer="json")
        return str(
            dumps(
                {
                    "body": base64.b64encode(encoded.encode()).decode(),
                    "content-encoding": content_encoding,
                    "content-type": content_type,
                    "headers": headers,
                    "properties": {
                        **properties,
                        "delivery_mode": 2,
                        "delivery_info": {"exchange": "", "routing_key": wake_up.queue},
                        "priority": 0,
                        "body_encoding": "base64",
                        "delivery_tag": str(uuid4()),
                    },
                }
            )
        )
