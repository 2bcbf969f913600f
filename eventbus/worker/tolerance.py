"""Tolerance: what would end a worker of Celery's, such as a message that makes no sense, costs a word in the log.

    Redis list ─▶ item: JSON as kombu stores it? ─▶ body: [args, kwargs, embed]? ─▶ task
                    └─ no: dropped                   └─ no: dropped

Nothing is lost with it: a message is a wake-up, and the relay sends another one. Without this, one bad message would end every
worker that takes it, one after the other.
"""

import logging
from collections.abc import Callable
from typing import Any

import kombu.transport
from celery.concurrency.asynpool import AsynPool
from celery.exceptions import InvalidTaskError
from celery.worker.strategy import default
from kombu.transport import redis
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import OutOfMemoryError

log = logging.getLogger(__name__)

_REDIS_SCHEMES = ("redis", "rediss")
#: What reading and unpacking an item raises that is no JSON, or not of kombu's form.
_MAKES_NO_SENSE = (ValueError, KeyError, TypeError, AttributeError)


class Channel(redis.Channel):
    """A channel that outlives items which kombu cannot unpack."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except _MAKES_NO_SENSE:
            # The item has left its list, so it comes to nobody again.
            log.exception("message_malformed", extra={"consequence": "dropped; what is due has another wake-up"})
        except OutOfMemoryError:
            # A full server gives a message and then refuses to keep the copy of it: Celery would stop consuming for good.
            log.error("message_not_kept", extra={"reason": "Redis is full", "consequence": "dropped"})
        return True

    def _queue_bind(self, *arguments: Any) -> Any:
        try:
            return super()._queue_bind(*arguments)
        except OutOfMemoryError as error:
            # Whoever connects binds its queues first. Celery connects again if the connection was lost, and else ends the worker.
            log.warning("queue_not_bound", extra={"reason": "Redis is full", "consequence": "connecting again"})
            raise ConnectionLost("Redis is full: queues cannot be bound") from error


class Transport(redis.Transport):
    """kombu's Redis transport, with that channel."""

    Channel = Channel


def tolerate_malformed_items() -> None:
    """Let this process read Redis through `Transport`; called before a worker opens its connection."""
    for scheme in _REDIS_SCHEMES:
        kombu.transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
        kombu.transport._transport_cache.pop(scheme, None)


def tolerate_ended_children() -> None:
    """Let a worker that connects anew pass over children that have ended and are still to be replaced.

    Celery gives up watching a child when it ends. If the connection is made anew before the pool has replaced it, Celery would
    watch it again, fails to, and ends the worker.
    """
    AsynPool._track_child_process = _track_living


def _track_living(pool: Any, process: Any, hub: Any) -> None:
    if getattr(process, "_sentinel_poll", process) is not None:
        _track_child_process(pool, process, hub)


_track_child_process: Callable[..., None] = AsynPool._track_child_process


def drop_lost_messages(app: Any) -> None:
    """Let a worker that serves groups alone keep no second copy of what it takes from Redis.

    Celery restores from these copies what a worker that died had taken: for wake-ups that is the relay's business. Only for
    workers without tasks of other kinds, which need the copies. Nor does it read the three lists beside each queue that are for
    priorities, which wake-ups do not have.
    """
    given = app.conf.broker_transport_options or {}
    app.conf.broker_transport_options = {"priority_steps": [0], **given, "ack_emulation": False}


def keep_connecting(app: Any) -> None:
    """Let a worker try for as long as it takes to reach a broker that is away, where the app does not say for how long.

    Celery gives up after a hundred tries, some fifty minutes, and ends the worker: whoever repairs Redis at night would have to
    start every worker, too.
    """
    # The last of its layers is the app's own copy of Celery's defaults; what `add_defaults` adds comes before an app's object.
    app.conf.maps[-1]["broker_connection_max_retries"] = None


def accept_wake_ups(app: Any) -> None:
    """Let a worker read JSON, as which wake-ups are sent, also where the app's other tasks use something else."""
    if not {"json", "application/json"}.intersection(app.conf.accept_content):
        app.conf.accept_content = [*app.conf.accept_content, "json"]


def check_body(task: Any, app: Any, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Celery's strategy for a task, with a look at the body before it is taken apart."""
    handle: Callable[..., Any] = default(task, app, consumer, **options)

    def check_then_handle(message: Any, body: Any, *rest: Any, **more: Any) -> Any:
        match message.payload if body is None else body:
            case [list() | tuple(), dict(), dict() | None, *_]:
                return handle(message, body, *rest, **more)
            case {"args": list() | tuple()}:  # a message of Celery's first protocol
                return handle(message, body, *rest, **more)
            case _:
                raise InvalidTaskError("the message is not [args, kwargs, embed], as Celery sends them")

    return check_then_handle
