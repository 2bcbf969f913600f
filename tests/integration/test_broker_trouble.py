"""Trouble with the broker never reaches a publisher: within a second the first time, within 50 ms of the usual from then on."""

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import redis
from sqlalchemy.orm import Session

from eventbus import EventBus
from eventbus.embedded import EmbeddedValkey
from tests.integration.conftest import MakeBus
from tests.support import closes, wait_until
from tests.support.cutting_proxy import CuttingProxy
from tests.support.rows import Rows

FIRST_SECONDS = 1.0
MORE_SECONDS = 0.05
Trouble = Callable[[EmbeddedValkey], AbstractContextManager[None]]


@contextmanager
def refused(valkey: EmbeddedValkey) -> Iterator[None]:
    """Nobody listens."""
    valkey.kill()
    yield
    valkey.start()


@contextmanager
def hung(valkey: EmbeddedValkey) -> Iterator[None]:
    """It is stopped: connections are accepted, and nothing is answered."""
    valkey.freeze()
    yield
    valkey.thaw()


@contextmanager
def full(valkey: EmbeddedValkey) -> Iterator[None]:
    """It has no memory left, and drops nothing."""
    with configured(valkey, ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")):
        yield


@contextmanager
def read_only(valkey: EmbeddedValkey) -> Iterator[None]:
    """It has become somebody's replica."""
    with configured(valkey, ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")):
        yield


@contextmanager
def configured(valkey: EmbeddedValkey, broken: tuple[str, ...], mended: tuple[str, ...]) -> Iterator[None]:
    """Between two commands."""
    with redis.Redis.from_url(valkey.url) as client:
        client.execute_command(*broken)
        yield
        client.execute_command(*mended)


TROUBLES = pytest.mark.parametrize("trouble", [refused, hung, full, read_only], ids=lambda function: function.__name__)


def seconds(action: Callable[[], Any]) -> float:
    """How long *action* takes."""
    started = time.monotonic()
    action()
    return time.monotonic() - started


def make_warm(make_bus: MakeBus, url: str) -> EventBus:
    """A bus with a group that wants everything, which has published."""
    bus = make_bus(broker_url=url)
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    for _ in range(3):
        bus.publish("order.created", 0, source="orders")
    return bus


def in_session(bus: EventBus) -> None:
    """Publish within a transaction, and commit it."""
    with Session(bus.database.engine) as session:
        bus.publish("order.created", 1, source="orders", session=session)
        session.commit()


def alone(bus: EventBus) -> None:
    """Publish."""
    bus.publish("order.created", 1, source="orders")


@TROUBLES
@pytest.mark.parametrize("publish", [alone, in_session], ids=["alone", "in session"])
def test_a_publisher_waits_once_and_briefly(
    make_bus: MakeBus, valkey: EmbeddedValkey, rows: Rows, trouble: Trouble, publish: Callable[[EventBus], None]
) -> None:
    """All is committed; when the broker is back, what was published meanwhile is found and new events are announced."""
    bus = make_warm(make_bus, valkey.url)
    usual = statistics.median(seconds(lambda: publish(bus)) for _ in range(5))
    before = rows.count("event_log")

    with trouble(valkey):
        first = seconds(lambda: publish(bus))
        others = statistics.median(seconds(lambda: publish(bus)) for _ in range(10))
        down = bus.waking._circuit.is_open
    back = closes(bus.waking._circuit)
    depth = bus.broker.depth(bus.settings.queue("a"))
    publish(bus)

    assert first < FIRST_SECONDS
    assert others < usual + MORE_SECONDS
    assert (down, back) == (True, True)
    assert rows.count("event_log") - before == 12
    # Nobody has waited for the broker's answer.
    wait_until(lambda: bus.broker.depth(bus.settings.queue("a")) == depth + 1)


def test_a_process_that_starts_while_the_broker_hangs_waits_no_longer(
    make_bus: MakeBus, valkey: EmbeddedValkey
) -> None:
    """It has no connection yet, and connecting takes an answer, too."""
    bus = make_bus(broker_url=valkey.url)
    bus.sync()

    with hung(valkey):
        first = seconds(lambda: alone(bus))

    assert first < FIRST_SECONDS
    assert closes(bus.waking._circuit)


def test_threads_wait_side_by_side(make_bus: MakeBus, valkey: EmbeddedValkey, rows: Rows) -> None:
    """Nobody waits for somebody else's time limit."""
    bus = make_warm(make_bus, valkey.url)
    took: list[float] = []
    threads = [threading.Thread(target=lambda: took.append(seconds(lambda: alone(bus)))) for _ in range(6)]

    with hung(valkey):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert max(took) < FIRST_SECONDS
    assert rows.count("event_log") == 9
    assert closes(bus.waking._circuit)


def test_a_connection_that_is_cut_in_mid_command_costs_one_wake_up(
    make_bus: MakeBus, valkey: EmbeddedValkey, rows: Rows
) -> None:
    """Half of a command does nothing; the next event is announced on another connection."""
    with CuttingProxy(valkey.url) as proxy:
        bus = make_warm(make_bus, proxy.url)
        depth = bus.broker.depth(bus.settings.queue("a"))

        proxy.cuts = True
        first = seconds(lambda: alone(bus))
        wait_until(lambda: proxy.cut)
        proxy.cuts = False
        second = seconds(lambda: alone(bus))

        assert (proxy.cut, bus.waking._circuit.is_open) == (1, False)
        assert max(first, second) < FIRST_SECONDS
        assert rows.count("delivery") == 5
        assert bus.broker.depth(bus.settings.queue("a")) == depth + 1


def test_a_server_of_listeners_that_hangs_keeps_no_wake_up(
    make_bus: MakeBus, valkey: EmbeddedValkey, prefix: str
) -> None:
    """It is not the broker: workers hear of every event, and publishers wait once."""
    bus = make_bus(realtime_url=valkey.url)
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    alone(bus)

    with hung(valkey):
        first = seconds(lambda: alone(bus))
        others = [seconds(lambda: alone(bus)) for _ in range(10)]

    assert first < FIRST_SECONDS
    assert max(others) < FIRST_SECONDS / 2
    # Nobody has waited for the broker's last answer.
    wait_until(lambda: bus.broker.depth(bus.settings.queue("a")) == 12)
    assert closes(bus.waking._listeners_circuit)
    assert not bus.waking._circuit.is_open


def in_child(action: Callable[[], Any]) -> int:
    """The exit status of a forked child that runs *action*: 0 if it returned true."""
    if (child := os.fork()) == 0:
        status = 1
        try:
            status = 0 if action() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@TROUBLES
def test_a_forked_server_waits_once_for_each_process(
    make_bus: MakeBus, valkey: EmbeddedValkey, rows: Rows, trouble: Trouble
) -> None:
    """Forked after a warm publish, or while its parent leaves the broker alone: a child finds out, and hears of the end, itself."""
    bus = make_warm(make_bus, valkey.url)
    reader, writer = os.pipe()

    def serve() -> bool:
        circuit = bus.waking._circuit
        first = seconds(lambda: alone(bus))
        others = statistics.median(seconds(lambda: alone(bus)) for _ in range(5))
        down = circuit.is_open
        os.write(writer, b"x")
        back = closes(circuit)
        alone(bus)
        return down and back and first < FIRST_SECONDS and others < 0.2

    children: list[int] = []
    with trouble(valkey):
        for parent_publishes in (False, True):
            if parent_publishes:
                alone(bus)
            thread = threading.Thread(target=lambda: children.append(in_child(serve)))
            thread.start()
            os.read(reader, 1)
    wait_until(lambda: len(children) == 2, timeout=20)

    assert children == [0, 0]
    assert closes(bus.waking._circuit)
    # Seven of each child, of which the last was announced, and those of the parent.
    assert rows.count("event_log") == 3 + 2 * 7 + 1


def test_listeners_elsewhere_hear_nothing_where_nothing_is_to_be_heard(
    make_bus: MakeBus, valkey: EmbeddedValkey
) -> None:
    """A server for notices may be named though there are none: the groups are told all the same."""
    bus = make_bus(realtime_url=valkey.url, realtime="off")
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()

    alone(bus)

    assert bus.broker.depth(bus.settings.queue("a")) == 1
