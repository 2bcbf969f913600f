"""Any broker that kombu knows, such as RabbitMQ."""

from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery
from kombu import Connection, Producer
from kombu.exceptions import OperationalError

from eventbus.broker.contract import TIMEOUT_SECONDS, Notice, WakeUp, unreachable
from eventbus.broker.envelopes import Envelopes
from eventbus.broker.redis_server import RedisListeners


class KombuBroker:
    """Publishes each wake-up to its queue; notices go to a Redis, if there is one for them."""

    def __init__(self, app: Celery, url: str, *, listeners: RedisListeners | None) -> None:
        self._app = app
        self._url = url
        self.listeners = listeners
        self._envelopes = Envelopes(app)

    def send(self, wake_ups: Sequence[WakeUp], notices: Sequence[Notice]) -> None:
        """Publish *wake_ups* on one connection, then PUBLISH *notices* if there is a Redis for them."""
        if wake_ups:
            self._with_connection(lambda connection: self._publish(connection, wake_ups))
        if self.listeners:
            self.listeners.tell(notices)

    def post(self, wake_ups: Sequence[WakeUp], notices: Sequence[Notice]) -> None:
        """The same: a broker in general offers nothing shorter."""
        self.send(wake_ups, notices)

    def top_up(self, queue: str, wake_ups: Sequence[WakeUp], cap: int) -> int:
        """Publish the first of *wake_ups* until *queue* holds *cap*; somebody else may add to it meanwhile."""
        chosen = wake_ups[: max(0, cap - self.depth(queue))]
        if chosen:
            self._with_connection(lambda connection: self._publish(connection, chosen, queue=queue))
        return len(chosen)

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

    def _publish(self, connection: Connection, wake_ups: Sequence[WakeUp], *, queue: str | None = None) -> None:
        """Publish each to its group's queue, or all to *queue*, such as that of one worker."""
        producer = Producer(connection, auto_declare=False)
        for item in wake_ups:
            properties, headers, body = self._envelopes.message(item)
            name = queue or item.queue
            producer.publish(
                body,
                exchange="",
                routing_key=name,
                serializer="json",
                headers=headers,
                # Declared here too: a broker that routes drops what arrives before the first worker has declared its queue.
                declare=[self._app.amqp.queues[name]],
                retry=False,
                delivery_mode=2,
                **properties,
            )

    def _with_connection(self, action: Callable[[Connection], Any]) -> Any:
        try:
            with self._app.pool.acquire(block=True, timeout=TIMEOUT_SECONDS) as connection:
                connection.ensure_connection(max_retries=1, timeout=TIMEOUT_SECONDS)
                return action(connection)
        except (OperationalError, OSError, *Connection(self._url).recoverable_connection_errors) as error:
            raise unreachable(self._url, error) from error
