"""RabbitMQ as the broker: wake-ups wait in the group's queue, a worker takes them, and its trouble is no publisher's."""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from sqlalchemy.orm import Session

from eventbus import EventBus
from eventbus.broker import KombuBroker, WakeUp, kombu_broker
from tests.integration.conftest import MakeBus
from tests.support import closes, wait_until
from tests.support.forks import Fork
from tests.support.rows import Rows
from tests.support.silent_proxy import SilentProxy

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


def seconds(action: Callable[[], Any]) -> float:
    """How long *action* takes."""
    started = time.monotonic()
    action()
    return time.monotonic() - started


def alone(bus: EventBus) -> None:
    """Publish."""
    bus.publish("order.created", 1, source="orders")


def in_session(bus: EventBus) -> None:
    """Publish within a transaction, and commit it."""
    with Session(bus.database.engine) as session:
        bus.publish("order.created", 1, source="orders", session=session)
        session.commit()


@pytest.fixture
def far(bus: EventBus, make_bus: MakeBus, rabbitmq_url: str) -> Iterator[tuple[EventBus, SilentProxy]]:
    """A publisher of the same events that has no connection yet, and what stands before its broker."""
    with SilentProxy(rabbitmq_url) as proxy:
        publisher = make_bus(broker_url=proxy.url)
        publisher.subscribe("#", group="a", handler=lambda event: None)
        yield publisher, proxy


@pytest.mark.parametrize("publish", [alone, in_session], ids=["alone", "in session"])
@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
def test_a_broker_that_hangs_costs_a_publisher_one_short_wait(
    far: tuple[EventBus, SilentProxy], bus: EventBus, rows: Rows, is_warm: bool, publish: Callable[[EventBus], None]
) -> None:
    """Less than a second, whether it has a connection or needs one; then none, and when the broker is back, wake-ups again."""
    publisher, proxy = far
    usual = statistics.median(seconds(lambda: publish(bus)) for _ in range(5))
    if is_warm:
        publish(publisher)
    before = rows.count("event_log")

    with proxy.silence():
        first = seconds(lambda: publish(publisher))
        others = statistics.median(seconds(lambda: publish(publisher)) for _ in range(10))
        hung = seconds(lambda: publisher.waking._circuit.attempt(publisher.broker.ping))
        down = publisher.waking._circuit.is_open
    back = closes(publisher.waking._circuit)
    # A write to a connection that is open hangs in no buffer: those wake-ups come late.
    late = 11 if is_warm else 0
    depth = 5 + int(is_warm) + late
    wait_until(lambda: bus.broker.depth(bus.settings.queue("a")) == depth)
    publish(publisher)

    assert first < 1.0
    assert others < usual + 0.05
    assert hung < 1.0
    assert (down, back) == (True, True)
    assert rows.count("event_log") - before == 12
    wait_until(lambda: bus.broker.depth(bus.settings.queue("a")) == depth + 1)


def test_a_full_buffer_costs_one_wait_too(far: tuple[EventBus, SilentProxy]) -> None:
    """Until it is full, nobody can tell that the broker hangs; half a message goes with its connection."""
    publisher, proxy = far
    queue = publisher.settings.queue("a")
    many = [WakeUp(queue=queue, event_id=uuid4(), type="order.created")] * 100
    publisher.waking.send(many[:1])

    with proxy.silence():
        took = []
        while not publisher.waking._circuit.is_open:
            took.append(seconds(lambda: publisher.waking.send(many)))
    back = closes(publisher.waking._circuit)

    assert max(took) < 1.0
    assert back
    assert publisher.waking.send(many[:1])


def test_a_broker_that_refuses_costs_no_publish(make_bus: MakeBus, rows: Rows) -> None:
    """Nor does it wait before it tries a second time."""
    publisher = make_bus(broker_url="amqp://guest:guest@127.0.0.1:1//")
    publisher.subscribe("#", group="a", handler=lambda event: None)
    publisher.sync()

    first = seconds(lambda: alone(publisher))

    assert first < 1.0
    assert publisher.waking._circuit.is_open
    assert rows.count("delivery") == 1


def test_a_forked_server_has_connections_of_its_own(bus: EventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the parent has open is the parent's: two who ask on one connection at once get each other's answers."""
    # A busy broker may take longer than a publisher waits to greet the child, which is not what is asked here.
    monkeypatch.setattr(kombu_broker, "TIMEOUT_SECONDS", 3.0)
    queue = bus.settings.queue("a")
    alone(bus)

    def go_to_and_fro() -> None:
        for _ in range(100):
            alone(bus)
            bus.broker.depth(queue)

    def child(fork: Fork) -> None:
        alone(bus)
        fork.report("connected")
        go_to_and_fro()
        fork.report(f"whole: {not bus.waking._circuit.is_open}")

    with Fork(child) as forked:
        assert forked.hear() == "connected"
        go_to_and_fro()
        assert forked.hear() == "whole: True"
        forked.join()

    assert not bus.waking._circuit.is_open
    wait_until(lambda: bus.broker.depth(queue) == 202)
