"""The broker: carries wake-ups to the queues of groups, and nothing that would be missed.

    WakeUp ──▶ Celery's own message ──▶ Redis: one pipelined write, with the real-time notices
                                   └──▶ any other broker: kombu's bulk publish

A wake-up holds an event's id. Losing one costs latency, repeating one finds nothing to claim.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import kombu.serialization
import redis
from celery import Celery, signals
from kombu import Connection, Producer
from kombu.exceptions import OperationalError
from kombu.utils.json import dumps

from eventbus.errors import BrokerUnreachable
from eventbus.settings import Settings, without_password

#: How long one attempt to reach a broker may take on the publish path.
_TIMEOUT_SECONDS = 0.4
#: Transport options of kombu that do not change where or how a message is stored in Redis.
_HARMLESS_OPTIONS = frozenset({"visibility_timeout", "ack_emulation", "global_keyprefix", "health_check_interval"})


@dataclass(frozen=True, kw_only=True)
class WakeUp:
    """A message that tells a group's workers to look for work, and which event prompts it."""

    #: Of the queue and of the task.
    queue: str
    event_id: UUID
    type: str


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A text for a real-time channel."""

    channel: str
    text: bytes


class Broker(Protocol):
    """What publishing, sweeping and health checks need of a broker."""

    def send(self, wake_ups: Sequence[WakeUp], notices: Sequence[Notice]) -> None:
        """Send all at once, waiting at most a second.

        Raises:
            BrokerUnreachable: Some or all were not sent.
        """

    def ping(self) -> None:
        """Raise BrokerUnreachable unless the broker answers and accepts writes."""

    def depth(self, queue: str) -> int:
        """How many messages wait in *queue*."""


def connect(app: Celery, settings: Settings) -> Broker:
    """The broker of *settings*, reached in the fastest way that suits it. Opens no connection yet."""
    options = dict(app.conf.broker_transport_options or {})
    plain = urlsplit(settings.broker_url).scheme in ("redis", "rediss") and not app.conf.broker_use_ssl
    notices = _Redis(settings.realtime_url) if settings.realtime_url else None
    if plain and set(options) <= _HARMLESS_OPTIONS:
        prefix = str(options.get("global_keyprefix", ""))
        return RedisBroker(app, settings.broker_url, keyprefix=prefix, realtime_url=settings.realtime_url)
    return KombuBroker(app, settings.broker_url, notices=notices)


class RedisBroker:
    """Redis or Valkey: messages as kombu would store them, pushed in one round trip."""

    def __init__(self, app: Celery, url: str, *, keyprefix: str, realtime_url: str | None) -> None:
        self._app = app
        self._keyprefix = keyprefix
        self._redis = _Redis(url)
        self._realtime = self._redis if realtime_url in (None, url) else _Redis(realtime_url)

    def send(self, wake_ups: Sequence[WakeUp], notices: Sequence[Notice]) -> None:
        """Push *wake_ups* and PUBLISH *notices*."""
        pushes = [(self._keyprefix + item.queue, self._stored(item)) for item in wake_ups]
        published = [(item.channel, item.text) for item in notices]
        if self._realtime is self._redis:
            self._redis.write(pushes, published)
            return
        self._redis.write(pushes, [])
        self._realtime.write([], published)

    def ping(self) -> None:
        """Write a key that vanishes: a read-only or full Redis answers PING, but takes no message."""
        self._redis.call(lambda client: client.set(f"{self._keyprefix}eventbus.probe", b"1", px=1000))

    def depth(self, queue: str) -> int:
        """How many messages wait in *queue*."""
        return int(self._redis.call(lambda client: client.llen(self._keyprefix + queue)))

    def _stored(self, wake_up: WakeUp) -> str:
        """What kombu's Redis transport would push for the message."""
        properties, headers, body = _message(self._app, wake_up)
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


class KombuBroker:
    """Any broker that kombu knows, through its bulk publish."""

    def __init__(self, app: Celery, url: str, *, notices: "_Redis | None") -> None:
        self._app = app
        self._url = url
        self._notices = notices

    def send(self, wake_ups: Sequence[WakeUp], notices: Sequence[Notice]) -> None:
        """Publish *wake_ups* in one batch, then PUBLISH *notices* if there is a Redis for them."""
        if wake_ups:
            self._with_connection(lambda connection: self._publish(connection, wake_ups))
        if self._notices is not None and notices:
            self._notices.write([], [(item.channel, item.text) for item in notices])

    def ping(self) -> None:
        """Open a channel."""
        self._with_connection(lambda connection: connection.default_channel)

    def depth(self, queue: str) -> int:
        """How many messages wait in *queue*; 0 if it was never declared."""

        def count(connection: Connection) -> int:
            try:
                return int(connection.default_channel.queue_declare(queue=queue, passive=True).message_count)
            except connection.channel_errors:
                return 0

        return int(self._with_connection(count))

    def _publish(self, connection: Connection, wake_ups: Sequence[WakeUp]) -> None:
        producer = Producer(connection, auto_declare=False)
        for item in wake_ups:
            properties, headers, body = _message(self._app, item)
            # Declared here too: a broker that routes drops what arrives before the first worker has declared its queue.
            queue = self._app.amqp.queues[item.queue]
            producer.publish(
                body,
                exchange="",
                routing_key=item.queue,
                serializer="json",
                headers=headers,
                declare=[queue],
                retry=False,
                delivery_mode=2,
                **properties,
            )

    def _with_connection(self, action: Callable[[Connection], Any]) -> Any:
        try:
            with self._app.pool.acquire(block=True, timeout=_TIMEOUT_SECONDS) as connection:
                connection.ensure_connection(max_retries=1, timeout=_TIMEOUT_SECONDS)
                return action(connection)
        except (OperationalError, OSError, *Connection(self._url).recoverable_connection_errors) as error:
            raise _unreachable(self._url, error) from error


class _Redis:
    """A Redis server, written to with short time limits and no retries: the caller has better things to do than to wait."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS, retry=None
        )

    def write(self, pushes: Sequence[tuple[str, str]], published: Sequence[tuple[str, bytes]]) -> None:
        """LPUSH and PUBLISH in one round trip."""
        if not pushes and not published:
            return

        def run(client: redis.Redis) -> Any:
            pipeline = client.pipeline(transaction=False)
            by_key: dict[str, list[str]] = {}
            for key, message in pushes:
                by_key.setdefault(key, []).append(message)
            for key, messages in by_key.items():
                pipeline.lpush(key, *messages)
            for channel, text in published:
                pipeline.publish(channel, text)
            return pipeline.execute()

        self.call(run)

    def call(self, action: Callable[[redis.Redis], Any]) -> Any:
        """What *action* returns for the client.

        Raises:
            BrokerUnreachable: The server did not answer, or refused.
        """
        try:
            return action(self._client)
        except (redis.RedisError, OSError) as error:
            raise _unreachable(self._url, error) from error


def _message(app: Celery, wake_up: WakeUp) -> tuple[Mapping[str, Any], Mapping[str, Any], Any]:
    """Properties, headers and body of Celery's own message for *wake_up*; only ids travel."""
    task_id, event_id = str(uuid4()), str(wake_up.event_id)
    message = app.amqp.create_task_message(
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


def _unreachable(url: str, error: BaseException) -> BrokerUnreachable:
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    return BrokerUnreachable(f"the broker at {without_password(url)} cannot be used: {reason}.")
