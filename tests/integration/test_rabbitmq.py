"""RabbitMQ as the broker: wake-ups wait in the group's queue, a worker takes them, and its trouble is no publisher's."""

import os
from collections.abc import Iterator
from uuid import uuid4

import pytest
from celery import Celery

from eventbus import EventBus
from eventbus.broker import KombuBroker, WakeUp
from tests.integration.conftest import MakeBus
from tests.support import wait_until

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def rabbitmq_url() -> str:
    """A running server."""
    return os.environ.get("EVENTBUS_TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")


@pytest.fixture
def bus(make_bus: MakeBus, rabbitmq_url: str) -> Iterator[EventBus]:
    """A bus with a group, whose queue is gone afterwards."""
    bus = make_bus(broker_url=rabbitmq_url)
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    yield bus
    with bus.app.connection_for_write() as connection:
        connection.default_channel.queue_delete(bus.settings.queue("a"))


def test_wake_ups_wait_in_the_groups_queue(bus: EventBus) -> None:
    """Also those that come before any worker has declared it."""
    queue = bus.settings.queue("a")

    event = bus.publish("order.created", 1, source="orders")
    with bus.app.connection_for_read() as connection, connection.SimpleQueue(bus.app.amqp.queues[queue]) as waiting:
        message = waiting.get(timeout=5)
        message.ack()

    assert message.decode()[0] == [str(event.id)]
    assert message.headers["task"] == queue


def test_a_queue_is_topped_up_by_its_depth(bus: EventBus) -> None:
    """As with Redis, though another one may add to it at the same moment."""
    queue = bus.settings.queue("a")
    wake_ups = [WakeUp(queue=queue, event_id=uuid4(), type="order.created") for _ in range(3)]

    counts = [bus.broker.top_up(queue, wake_ups, cap=5)]
    wait_until(lambda: bus.broker.depth(queue) == 3)
    counts.append(bus.broker.top_up(queue, wake_ups, cap=5))

    assert counts == [3, 2]


def test_a_queue_that_nobody_declared_is_empty(rabbitmq_url: str) -> None:
    """Which the broker tells by closing the channel."""
    with Celery("test", broker=rabbitmq_url, set_as_current=False) as app:
        broker = KombuBroker(app, rabbitmq_url, listeners=None)

        assert [broker.depth(uuid4().hex) for _ in range(2)] == [0, 0]
        broker.ping()
