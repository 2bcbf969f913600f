"""Listening: what is heard, when, by whom; and that publishers never wait for those who listen."""

import json
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
import redis
import sqlalchemy
from sqlalchemy.orm import Session

from eventbus import Event, EventBus, realtime
from eventbus.embedded import EmbeddedPostgres, EmbeddedValkey
from eventbus.embedded.server import free_port
from eventbus.errors import BrokerUnreachable, InvalidPattern, RealtimeUnavailable
from eventbus.realtime import Listener
from eventbus.subscription import matches
from tests.integration.conftest import MakeBus
from tests.support import closes, wait_until

SUITE_SECONDS = 20.0


def publish(bus: EventBus, type: str = "order.created", data: Any = None, **options: Any) -> Event:
    return bus.publish(type, data, source="tests", **options)


def hear(listener: Listener) -> Event:
    """The next event, or a failed test: an iterator that waits for ever would hang it."""
    guard = threading.Timer(SUITE_SECONDS, listener.close)
    guard.start()
    try:
        return next(listener)
    except StopIteration:
        raise AssertionError(f"nothing heard in {SUITE_SECONDS:g} s") from None
    finally:
        guard.cancel()


def subscribers(client: "redis.Redis[bytes]") -> int:
    """How many connections to the server listen."""
    return sum(1 for item in client.client_list() if int(item["sub"]) + int(item["psub"]))


# --- what is heard --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["full", "ids"])
def test_an_event_is_heard_as_it_is_in_the_log(make_bus: MakeBus, mode: str) -> None:
    """Of an event whose id only was PUBLISHed the rest is read from PostgreSQL."""
    bus = make_bus(realtime=mode)
    data = {"float": 1e16, "text": "ü", "none": None}

    with bus.listen("order.created") as listener:
        event = publish(bus, data=data, headers={"a": "b"}, correlation_id="story")

        assert hear(listener) == event


@pytest.mark.parametrize(
    "pattern", ["order.created", "order.*", "*.created", "order.#", "#", "order.*.#", "*.*.*", "*", "or.*"]
)
def test_a_pattern_means_what_it_means_to_a_group(bus: EventBus, pattern: str) -> None:
    """The star is one word and the hash any number of them, though Redis knows only stars that stand for any text."""
    types = ["order", "order.created", "order.created.late", "orders.created", "order.paid", "x.created", "or.order.x"]

    with bus.listen(pattern) as listener:
        events = [publish(bus, type) for type in types]
        last = publish(bus, pattern.replace("*", "end").replace("#", "end"))
        heard = [hear(listener)]
        while heard[-1] != last:
            heard.append(hear(listener))

    assert heard == [event for event in [*events, last] if matches(pattern, event.type)]


def test_a_prefix_keeps_buses_apart(make_bus: MakeBus, prefix: str) -> None:
    """Also where one prefix makes the other's channels look like its own."""
    plain, other = make_bus(prefix="eventbus"), make_bus(prefix="events")
    type = f"t.{uuid4().hex}"

    with plain.listen("#") as listener, other.listen("#") as others:
        publish(other, type, "other's")
        event = publish(plain, type, "plain's")
        heard = hear(listener)
        while heard.type != type:  # the default prefix may be in use by another test
            heard = hear(listener)

        assert heard == event
        assert hear(others).data == "other's"


def test_events_are_heard_after_their_commit_only(bus: EventBus, database_url: str) -> None:
    """What is published in a transaction is heard when that is committed, and never if it is rolled back."""
    engine = sqlalchemy.create_engine(bus.settings.database_url)
    with bus.listen("order.#") as listener:
        with Session(engine) as session:
            publish(bus, "order.undone", session=session)
            session.rollback()
        with Session(engine) as session:
            later = publish(bus, "order.later", session=session)
            before = publish(bus, "order.before")
            assert hear(listener) == before

            session.commit()

        assert hear(listener) == later
        last = publish(bus, "order.last")
        assert hear(listener) == last
    engine.dispose()


def test_what_was_published_before_is_not_heard(bus: EventBus) -> None:
    """Real time begins when listen returns."""
    publish(bus, data="before")

    with bus.listen("order.created") as listener:
        publish(bus, data="after")

        assert hear(listener).data == "after"


def test_events_of_a_batch_and_repeats(bus: EventBus) -> None:
    """A batch is heard in its order; the repeat of an event is no event."""
    with bus.listen("order.*") as listener:
        first = publish(bus, idempotency_key="k")
        assert publish(bus, idempotency_key="k") == first
        last = publish(bus, data="last")

        assert [hear(listener), hear(listener)] == [first, last]


# --- what is not --------------------------------------------------------------------------------------------------


def test_malformed_notices_are_logged_and_skipped(
    bus: EventBus, redis_client: "redis.Redis[bytes]", prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever somebody PUBLISHes, listening goes on, and the log shows nothing of it."""
    with bus.listen("order.*") as listener:
        for text in (b"s3cr3t", b"\xff", b"[1]", json.dumps({"id": "s3cr3t", "type": "order.created"})):
            redis_client.publish(f"{prefix}:events:order.created", text)
        redis_client.publish(f"{prefix}:events:order..", b"no type at all")
        event = publish(bus)

        assert hear(listener) == event

    assert [record.getMessage() for record in caplog.records] == ["realtime_malformed"] * 4
    assert "s3cr3t" not in str([vars(record) for record in caplog.records])


def test_an_event_that_cannot_be_read_is_logged_and_skipped(
    make_bus: MakeBus,
    valkey: EmbeddedValkey,
    postgres: EmbeddedPostgres,
    prefix: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With ids only, an event that was erased, or a database that is away, costs that event and not the listener."""
    bus = make_bus(realtime="ids", broker_url=valkey.url, database_url=postgres.url)
    with bus.listen("order.created") as listener, redis.Redis.from_url(valkey.url) as client:
        channel = f"{prefix}:events:order.created"
        client.publish(channel, json.dumps({"id": str(uuid4()), "type": "order.created"}))
        event = publish(bus)
        assert hear(listener) == event

        postgres.kill()
        client.publish(channel, json.dumps({"id": str(event.id), "type": "order.created"}))
        client.publish(channel, json.dumps(event.as_json()))
        assert hear(listener) == event

    assert [(record.getMessage(), vars(record)["reason"][:25]) for record in caplog.records] == [
        ("realtime_not_read", "it is not in the log"),
        ("realtime_not_read", caplog.records[1].__dict__["reason"][:25]),
    ]
    assert "PostgreSQL at" in caplog.records[1].__dict__["reason"]


def test_where_nothing_is_published_nothing_can_be_listened_to(make_bus: MakeBus, broker_url: str) -> None:
    """The error says what to set; a Redis beside RabbitMQ is enough."""
    with pytest.raises(RealtimeUnavailable, match=r"EVENTBUS_REALTIME is off; set it to full or ids"):
        make_bus(realtime="off").listen("#")
    with pytest.raises(
        RealtimeUnavailable, match=r"amqp://user:\*\*\*@host is no Redis; name one in EVENTBUS_REALTIME"
    ):
        make_bus(broker_url="amqp://user:s3cr3t@host").listen("#")

    with make_bus(broker_url="amqp://host", realtime_url=broker_url).listen("#") as listener:
        assert isinstance(listener, Listener)


def test_a_pattern_is_checked_first(bus: EventBus) -> None:
    """Before anything is connected."""
    with pytest.raises(InvalidPattern):
        bus.listen("order.#.x")


def test_a_redis_that_is_away_or_hangs_is_said_at_once(
    make_bus: MakeBus, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a time limit, and without the password."""
    monkeypatch.setattr(realtime, "_CONNECT_SECONDS", 0.3)
    with pytest.raises(BrokerUnreachable, match=r"redis://:\*\*\*@127.0.0.1:\d+/0 cannot be listened to"):
        make_bus(realtime_url=f"redis://:s3cr3t@127.0.0.1:{free_port()}/0").listen("#")

    bus = make_bus(realtime_url=valkey.url)
    valkey.freeze()
    try:
        with pytest.raises(BrokerUnreachable):
            bus.listen("#")
    finally:
        valkey.thaw()


# --- how it goes on, and ends -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fate", ["killed", "cut", "frozen"])
def test_a_lost_connection_is_made_again_and_said(
    make_bus: MakeBus,
    valkey: EmbeddedValkey,
    fate: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis restarted, the connection cut, or a server that no longer answers: what is published afterwards is heard."""
    monkeypatch.setattr(realtime, "_QUIET_SECONDS", 0.2)
    monkeypatch.setattr(realtime, "_POLL_SECONDS", 0.1)
    monkeypatch.setattr(realtime, "_CONNECT_SECONDS", 0.3)
    bus = make_bus(realtime_url=valkey.url)
    heard: list[Event] = []

    def logged(message: str) -> bool:
        return message in [record.getMessage() for record in caplog.records]

    with bus.listen("order.*") as listener:
        thread = threading.Thread(target=lambda: heard.extend(listener))
        thread.start()
        first = publish(bus, data="first")
        wait_until(lambda: heard == [first])
        with redis.Redis.from_url(valkey.url) as client:
            {"killed": valkey.kill, "frozen": valkey.freeze, "cut": lambda: client.client_kill_filter(_type="pubsub")}[
                fate
            ]()
        wait_until(lambda: logged("realtime_lost"))
        {"killed": valkey.start, "frozen": valkey.thaw, "cut": lambda: None}[fate]()
        wait_until(lambda: logged("realtime_back"))

        # A publisher that found Redis away looks for it in its own time.
        closes(bus.waking._circuit, timeout=SUITE_SECONDS)
        second = publish(bus, data="second")

        wait_until(lambda: heard == [first, second])
        listener.close()
        thread.join(SUITE_SECONDS)

    assert not thread.is_alive()


def test_a_quiet_connection_that_answers_is_kept(
    bus: EventBus, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, redis_client: "redis.Redis[bytes]"
) -> None:
    """Silence is no loss: a PING is answered."""
    # An answer has as long as it is quiet before: what a busy machine needs is no loss.
    monkeypatch.setattr(realtime, "_QUIET_SECONDS", 0.5)
    monkeypatch.setattr(realtime, "_POLL_SECONDS", 0.02)

    def pings() -> int:
        return int(redis_client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"])

    with bus.listen("order.*") as listener:
        before = pings()
        thread = threading.Thread(target=lambda: list(listener))
        thread.start()
        wait_until(lambda: pings() >= before + 4)
        listener.close()
        thread.join(SUITE_SECONDS)

    assert caplog.records == []


@pytest.mark.parametrize("leave", ["with", "close", "forget", "interrupt"])
def test_a_listener_leaves_nothing_behind(
    make_bus: MakeBus, valkey: EmbeddedValkey, leave: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the loop is left, its connection is closed, and there are no more events."""
    bus = make_bus(realtime_url=valkey.url)

    def loop() -> Listener | None:
        listener = bus.listen("order.*")
        assert subscribers(client) == 1
        publish(bus)
        if leave == "with":
            with listener:
                for _ in listener:
                    break
        elif leave == "interrupt":
            monkeypatch.setattr(listener, "_hear", interrupted)
            with pytest.raises(KeyboardInterrupt), listener:
                next(listener)
        else:
            for _ in listener:
                break
        if leave == "forget":
            return None
        listener.close()
        return listener

    def interrupted() -> None:
        raise KeyboardInterrupt

    with redis.Redis.from_url(valkey.url) as client:
        listener = loop()
        wait_until(lambda: subscribers(client) == 0)

    assert listener is None or list(listener) == []


def test_closing_ends_a_wait_for_redis(
    make_bus: MakeBus, valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits for a server that is away need not wait for ever."""
    bus = make_bus(realtime_url=valkey.url)
    listener = bus.listen("order.*")
    thread = threading.Thread(target=lambda: list(listener))
    thread.start()
    valkey.kill()
    wait_until(lambda: "realtime_lost" in caplog.text)

    listener.close()

    thread.join(SUITE_SECONDS)
    assert not thread.is_alive()


# --- publishers do not care ---------------------------------------------------------------------------------------


def test_a_slow_reader_never_slows_publish(
    make_bus: MakeBus, valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis buffers for a listener that does not read, then drops it; publishing takes as long as without it."""
    bus, mute = make_bus(realtime_url=valkey.url), make_bus(realtime="off")
    data = "x" * 10_000

    def seconds(of: EventBus) -> float:
        """How long one publish takes."""
        started = time.perf_counter()
        publish(of, data=data)
        return time.perf_counter() - started

    with redis.Redis.from_url(valkey.url) as client, closing(bus.listen("order.*")) as listener:
        # Small enough for a test: the default is 32 MB at once, or 8 MB for a minute. The kernel buffers some MB more.
        client.config_set("client-output-buffer-limit", "pubsub 1mb 512kb 60")
        taken: list[tuple[float, float]] = []
        while len(taken) < 5_000 and subscribers(client) > 0:
            taken.append((seconds(bus), seconds(mute)))
        assert subscribers(client) == 0

        # In turn, so that whatever else the machine does slows both.
        unread, alone = (statistics.median(times) for times in zip(*taken, strict=True))
        assert unread < alone * 2 + 0.002
        assert bus.waking._circuit.is_open is False

        heard: list[Event] = []
        thread = threading.Thread(target=lambda: heard.extend(listener))
        thread.start()
        wait_until(lambda: "realtime_back" in caplog.text, timeout=SUITE_SECONDS)
        last = publish(bus, data="last")
        wait_until(lambda: heard[-1:] == [last])
        listener.close()
        thread.join(SUITE_SECONDS)

    assert {event.data for event in heard[:-1]} == {data}  # what Redis had sent before it lost patience


def test_a_redis_without_listeners_costs_no_round_trip(
    make_bus: MakeBus, valkey: EmbeddedValkey, worker: Callable[..., Any]
) -> None:
    """The notice travels with the wake-ups: the server reads once for each publish, with real time and without."""
    reads = {}
    for mode in ("off", "full"):
        bus = make_bus(broker_url=valkey.url, realtime=mode)
        bus.subscribe("order.created", group="inventory", handler=print)
        bus.sync()
        publish(bus)
        with redis.Redis.from_url(valkey.url) as client:
            before = int(client.info("stats")["total_reads_processed"])
            for _ in range(10):
                publish(bus)
            # Each question is a read of its own.
            reads[mode] = int(client.info("stats")["total_reads_processed"]) - before - 1

    assert reads == {"off": 10, "full": 10}
