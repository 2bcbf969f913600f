"""Any broker that kombu knows, such as RabbitMQ."""

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery
from kombu import Connection, Producer
from kombu.connection import ConnectionPool
from kombu.exceptions import LimitExceeded, OperationalError

from eventbus.broker.contract import TIMEOUT_SECONDS, Announcement, Notice, WakeUp, unreachable
from eventbus.broker.envelopes import Envelopes
from eventbus.broker.redis_server import RedisListeners
from eventbus.errors import InvalidSetting
from eventbus.urls import encoding_hint, options_hint, scheme, without_password

#: At once, for an app that keeps no pool of its own.
_CONNECTIONS = 10


class KombuBroker:
    """Publishes each wake-up to its queue. It carries no notices: those go to a Redis, if there is one for them."""

    def __init__(self, app: Celery, url: str, *, listeners: RedisListeners | None) -> None:
        check_url(app, url)
        self._app = app
        self._url = url
        self.listeners = listeners
        self._envelopes = Envelopes(app)
        self._lock = threading.Lock()
        self._connections: ConnectionPool | None = None
        os.register_at_fork(after_in_child=self._after_fork)

    def send(self, wake_ups: Sequence[WakeUp], notices: Sequence[Notice]) -> None:
        """Publish *wake_ups* on one connection; *notices* reach nobody."""
        del notices
        if wake_ups:
            self._with_connection(lambda connection: self._publish(connection, wake_ups))

    def announce(self, item: Announcement, notice: Notice | None) -> None:
        """The same for one event: a broker in general offers nothing shorter."""
        self.send(item.wake_ups(), [notice] if notice else [])

    def top_up(self, queue: str, wake_ups: Sequence[WakeUp], cap: int) -> int:
        """Publish the first of *wake_ups* until *queue* holds *cap*; somebody else may add to it meanwhile."""
        chosen = wake_ups[: max(0, cap - self.depth(queue))]
        if chosen:
            self._with_connection(lambda connection: self._publish(connection, chosen, queue=queue))
        return len(chosen)

    def ping(self) -> None:
        """Open a channel, and close it: the one that is kept would say nothing of the broker."""
        self._with_connection(lambda connection: connection.channel().close())

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
            with self._pool().acquire(block=True, timeout=TIMEOUT_SECONDS) as connection:
                try:
                    # Half the time: it tries again when that is not over, as after a refusal.
                    connection.ensure_connection(
                        max_retries=1, interval_start=0, interval_step=0, timeout=TIMEOUT_SECONDS / 2
                    )
                    _limit(connection)
                    return action(connection)
                except BaseException:
                    # Half a message may be on its way, or half an answer: nobody could make sense of what follows.
                    connection.collect()
                    raise
        except (
            OperationalError,
            LimitExceeded,
            OSError,
            *Connection(self._url).recoverable_connection_errors,
        ) as error:
            raise unreachable(self._url, error) from error

    def _pool(self) -> ConnectionPool:
        """Connections of our own: those of the app wait for a broker that hangs as long as the app lets them."""
        with self._lock:
            if self._connections is None:
                connection = self._app.connection_for_write(connect_timeout=TIMEOUT_SECONDS)
                self._connections = connection.Pool(limit=self._app.conf.broker_pool_limit or _CONNECTIONS)
            return self._connections

    def _after_fork(self) -> None:
        """What the parent has open is the parent's."""
        self._lock = threading.Lock()
        self._connections = None


def check_url(app: Celery, url: str) -> None:
    """Raise InvalidSetting if Celery could not even begin to connect to *url*, the broker of *app*."""
    reason = None
    try:
        for each in app.connection_for_write().alt or [None]:
            _ = app.connection_for_write(each).transport
    except Exception as error:  # noqa: BLE001 - transports are anybody's code
        reason = _reason(error, url)
    if reason is not None:  # raised here, for the cause may hold a part of the password
        hints = f"{options_hint(url, 'Celery')}{encoding_hint(url)}"
        expected = f"the URL of a broker that Celery can use here, such as redis://host:6379/0{hints}{reason}"
        raise InvalidSetting("EVENTBUS_BROKER_URL", without_password(url), expected)


def _reason(error: Exception, url: str) -> str:
    """What *error* says against *url*, where no part of a password can be in it; else nothing."""
    if isinstance(error, ImportError | NameError):  # of a package that is not installed
        return f": {error}"
    if isinstance(error, KeyError) and error.args == (f"No such transport: {scheme(url)}",):
        return f": it knows no {scheme(url)}://"
    if isinstance(error, ValueError) and str(error).startswith("Port "):
        return ": the port is no number from 0 to 65535"
    return ""


def _limit(connection: Connection) -> None:
    """Let no read or write of *connection* wait longer than `TIMEOUT_SECONDS`.

    On the socket itself: py-amqp's own read_timeout only makes it read again.
    """
    transport = getattr(connection.connection, "transport", None)
    open_socket = getattr(transport, "sock", None)
    if open_socket is not None:
        open_socket.settimeout(TIMEOUT_SECONDS)
