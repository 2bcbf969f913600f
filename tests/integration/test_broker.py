"""The broker: what a wake-up looks like, who hears of an event in real time, and what happens while the broker is away."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery, signals
from kombu import Connection

from eventbus import Draft, EventBus
from eventbus.broker import KombuBroker, Notice, RedisBroker, WakeUp, connect
from eventbus.broker.contract import TIMEOUT_SECONDS
from eventbus.broker.redis_clients import redis_client
from eventbus.embedded import EmbeddedValkey
from eventbus.errors import BrokerUnreachable, HandlerTimeout, InvalidEvent
from eventbus.lifecycle.circuit import Circuit
from eventbus.lifecycle.waking import Waking
from eventbus.settings import load_settings
from tests.integration.conftest import MakeBus
from tests.support import closes, wait_until
from tests.support.rows import Rows

Messages = Callable[[str], list[dict[str, Any]]]
#: A port that nobody listens on.
REFUSED = "redis://:s3cr3t@127.0.0.1:1/0"


@pytest.fixture
def app(broker_url: str) -> Iterator[Celery]:
    """An app of Celery alone."""
    with Celery("test", broker=broker_url, set_as_current=False) as app:
        yield app


def test_only_ids_travel_and_kombu_reads_them(bus: EventBus, broker_url: str, prefix: str, messages: Messages) -> None:
    """No payload is left in a broker, and no message needs pickle."""
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    event = bus.publish("order.created", {"card": "s3cr3t"}, source="orders", headers={"token": "s3cr3t"})
    [raw] = messages("a")

    with Connection(broker_url) as connection, connection.SimpleQueue(f"{prefix}.a") as queue:
        message = queue.get(timeout=5)
        message.ack()

    args, kwargs, embedded = message.decode()
    assert (args, kwargs) == ([str(event.id)], {})
    assert set(embedded.values()) == {None}
    assert message.headers["task"] == f"{prefix}.a"
    assert message.headers["argsrepr"] == f"order.created {event.id}"
    assert message.content_type == "application/json"
    assert "s3cr3t" not in json.dumps(raw)


@contextmanager
def listening(url: str, channel: str) -> Iterator[Callable[[], Any]]:
    """A subscriber of the real-time channel: a function that returns its next message."""
    with redis.Redis.from_url(url) as client, client.pubsub() as subscriber:
        subscriber.subscribe(channel)
        assert subscriber.get_message(timeout=5)["type"] == "subscribe"
        yield lambda: wait_until(lambda: subscriber.get_message(timeout=1))


@pytest.mark.parametrize("realtime", ["full", "ids"])
def test_real_time_listeners_hear_of_an_event(make_bus: MakeBus, broker_url: str, prefix: str, realtime: str) -> None:
    """The whole event, or its id and type, as is configured."""
    bus = make_bus(realtime=realtime)

    with listening(broker_url, f"{prefix}:events:order.created") as hear:
        event = bus.publish("order.created", {"id": "ü"}, source="orders")
        heard = json.loads(hear()["data"])

    expected = event.as_json() if realtime == "full" else {"id": str(event.id), "type": "order.created"}
    assert heard == expected


def test_listeners_hear_of_the_deepest_data(bus: EventBus, broker_url: str, prefix: str) -> None:
    """What is published can be told: around it a notice has a level of its own."""
    deep: list[Any] = [[]]
    for _ in range(248):
        deep = [deep]

    with listening(broker_url, f"{prefix}:events:order.created") as hear:
        bus.publish("order.created", deep, source="orders")
        heard = json.loads(hear()["data"])

    assert heard["data"] == deep
    with pytest.raises(InvalidEvent, match="nested more than 250 levels deep"):
        bus.publish("order.created", [deep], source="orders")


def test_the_documented_channel_is_the_types(make_bus: MakeBus, broker_url: str) -> None:
    """With the default prefix listeners subscribe to `events:<type>`."""
    bus = make_bus(prefix="eventbus")
    type = f"order.{uuid4().hex}"

    with listening(broker_url, f"events:{type}") as hear:
        event = bus.publish(type, 1, source="orders")

        assert json.loads(hear()["data"])["id"] == str(event.id)


def test_real_time_can_be_off(make_bus: MakeBus, broker_url: str, prefix: str) -> None:
    """Then nothing is PUBLISHed."""
    bus = make_bus(realtime="off")

    with listening(broker_url, f"{prefix}:events:order.created") as hear, redis.Redis.from_url(broker_url) as client:
        bus.publish("order.created", 1, source="orders")
        client.publish(f"{prefix}:events:order.created", "marker")

        assert hear()["data"] == b"marker"


def test_real_time_may_have_a_server_of_its_own(make_bus: MakeBus, valkey: EmbeddedValkey, prefix: str) -> None:
    """Wake-ups go to the broker, notices to the other one, each once."""
    bus = make_bus(realtime_url=valkey.url)

    with listening(valkey.url, f"{prefix}:events:order.created") as hear:
        events = [bus.publish("order.created", number, source="orders") for number in range(3)]
        events += bus.publish_many(Draft(type="order.created", data=number, source="orders") for number in range(2))

        assert [json.loads(hear()["data"])["id"] for _ in events] == [str(event.id) for event in events]


def test_listeners_elsewhere_hear_while_the_broker_is_down(
    make_bus: MakeBus, valkey: EmbeddedValkey, prefix: str
) -> None:
    """Also when it is known to be down, and left alone."""
    bus = make_bus(broker_url=REFUSED, realtime_url=valkey.url)
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()

    with listening(valkey.url, f"{prefix}:events:order.created") as hear:
        events = [bus.publish("order.created", number, source="orders") for number in range(3)]

        assert bus.waking._circuit.is_open
        assert [json.loads(hear()["data"])["id"] for _ in events] == [str(event.id) for event in events]


def test_a_server_of_listeners_that_is_away_does_not_answer(app: Celery, broker_url: str) -> None:
    """Or it would be taken for back at once."""
    broker = RedisBroker(app, broker_url, keyprefix="", realtime_url=REFUSED)
    assert broker.listeners

    with pytest.raises(BrokerUnreachable, match="cannot be used"):
        broker.listeners.ping()


@pytest.mark.alone
def test_a_refused_broker_costs_no_publish(make_bus: MakeBus, rows: Rows, caplog: pytest.LogCaptureFixture) -> None:
    """The event is committed within a bounded time, the next ones do not even try, and one log line says so."""
    bus = make_bus(broker_url=REFUSED)
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    started = time.monotonic()

    for number in range(20):
        bus.publish("order.created", number, source="orders")

    assert time.monotonic() - started < 2
    assert (rows.count("event_log"), rows.count("delivery")) == (20, 20)
    assert [record.message for record in caplog.records].count("broker_down") == 1
    assert "s3cr3t" not in repr([vars(record) for record in caplog.records])
    assert bus.waking._circuit.is_open


@pytest.mark.alone
def test_a_hung_broker_costs_one_publish_its_time_limit(make_bus: MakeBus, valkey: EmbeddedValkey, rows: Rows) -> None:
    """A broker that accepts connections and never answers is given up after its limit, then left alone.

    The first publish does not wait for its answer; the second, which finds none, does.
    """
    bus = make_bus(broker_url=valkey.url)
    for number in range(2):
        bus.publish("order.created", number, source="orders")
    valkey.freeze()

    took = []
    for number in range(10):
        started = time.monotonic()
        bus.publish("order.created", number, source="orders")
        took.append(time.monotonic() - started)
    valkey.thaw()

    assert TIMEOUT_SECONDS <= max(took) < 1.5
    assert sum(took) - max(took) < 0.4
    assert rows.count("event_log") == 12
    assert closes(bus.waking._circuit)


def test_wake_ups_flow_again_when_the_broker_is_back(make_bus: MakeBus, valkey: EmbeddedValkey) -> None:
    """The circuit closes by itself, and a sweep delivers what was not announced meanwhile."""
    bus = make_bus(broker_url=valkey.url)
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    valkey.kill()
    bus.publish("order.created", 0, source="orders")
    down = bus.waking._circuit.is_open

    valkey.start()
    back = closes(bus.waking._circuit)
    bus.publish("order.created", 1, source="orders")
    announced = bus.broker.depth(bus.settings.queue("a"))
    swept = bus.sweep()

    assert down
    assert back
    assert announced == 1
    assert swept == {"a": 2}


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    ],
    ids=["full", "read-only"],
)
def test_a_broker_that_answers_but_takes_no_message_is_down_too(
    make_bus: MakeBus, valkey: EmbeddedValkey, rows: Rows, broken: tuple[str, ...], mended: tuple[str, ...]
) -> None:
    """PING would succeed; the circuit stays open until a write does."""
    bus = make_bus(broker_url=valkey.url)
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    with redis.Redis.from_url(valkey.url) as client:
        client.execute_command(*broken)

        bus.publish("order.created", 1, source="orders")
        down = bus.waking._circuit.is_open
        with pytest.raises(BrokerUnreachable, match="cannot be used"):
            bus.broker.ping()
        client.execute_command(*mended)

    assert down
    assert rows.count("delivery") == 1
    assert closes(bus.waking._circuit)
    assert bus.sweep() == {"a": 1}


def test_a_broker_error_nobody_foresaw_fails_no_publish(bus: EventBus, caplog: pytest.LogCaptureFixture) -> None:
    """The event is committed: whatever the client raises is logged, and the circuit opens."""

    class Odd:
        """A broker client with a fault."""

        listeners = None

        def send(self, wake_ups: Any, notices: Any) -> None:
            raise ZeroDivisionError

        def ping(self) -> None:
            raise ZeroDivisionError

    waking = Waking(Odd(), bus.settings)  # type: ignore[arg-type]

    notice = [Notice(channel="events:a", text=b"{}")]

    first, second = waking.send([], notice), waking.send([], notice)

    assert (first, second) == (False, False)
    assert [record.exc_info is not None for record in caplog.records if record.message == "wake_up_failed"] == [True]


def test_the_time_limit_of_a_handler_that_publishes_passes() -> None:
    """It is no fault of the broker's: the handler ends, and others go on sending."""
    circuit = Circuit(lambda: None)

    def action() -> None:
        raise HandlerTimeout("too long")

    with pytest.raises(HandlerTimeout):
        circuit.attempt(action)

    assert not circuit.is_open


def test_the_circuit_probes_until_it_succeeds() -> None:
    """Some failed probes later it is closed again, by one thread however often it was opened."""
    answers = iter([OSError(), None])
    probes: list[int] = []

    def probe() -> None:
        probes.append(1)
        if answer := next(answers):
            raise answer

    circuit = Circuit(probe)

    circuit.open()
    circuit.open()

    assert circuit.is_open
    assert closes(circuit, timeout=5)
    assert not circuit.is_open
    assert len(probes) == 2


def test_a_circuit_that_nobody_would_close_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, each publish tries for itself."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    circuit = Circuit(lambda: None)
    monkeypatch.setattr(threading.Thread, "start", refuse)

    circuit.open()

    assert not circuit.is_open


def test_a_forked_child_tries_the_broker_again() -> None:
    """The thread that would close the circuit does not exist there."""
    circuit = Circuit(lambda: None)
    circuit.is_open = True

    circuit._begin_closed()

    assert not circuit.is_open


def test_an_empty_send_reaches_for_nothing() -> None:
    """No wake-up, no notice, no connection."""
    app = Celery("test", set_as_current=False)

    RedisBroker(app, REFUSED, keyprefix="", realtime_url=None).send([], [])
    KombuBroker(app, "memory://", listeners=None).send([], [])


@pytest.mark.parametrize(
    ("url", "options", "kind"),
    [
        ("redis://host", {}, RedisBroker),
        ("redis://host", {"visibility_timeout": 5, "global_keyprefix": "x"}, RedisBroker),
        ("redis://host", {"sep": ":"}, KombuBroker),
        ("sentinel://host", {}, KombuBroker),
        ("memory://", {}, KombuBroker),
        ("amqp://host", {}, KombuBroker),
    ],
)
def test_the_fast_way_is_taken_only_where_it_stores_what_kombu_would(
    url: str, options: dict[str, Any], kind: type
) -> None:
    """An option that changes where or how messages are stored leads through kombu itself."""
    app = Celery("test", set_as_current=False)
    app.conf.broker_transport_options = options
    settings = load_settings({"database_url": "postgresql://h/d", "broker_url": url}, environment={})

    assert type(connect(app, settings)) is kind


def test_a_key_prefix_of_celerys_is_kept(app: Celery, prefix: str, redis_client: "redis.Redis[bytes]") -> None:
    """Workers with global_keyprefix look where we push."""
    app.conf.broker_transport_options = {"global_keyprefix": f"{prefix}:"}
    settings = load_settings({"database_url": "postgresql://h/d", "broker_url": app.conf.broker_url}, environment={})
    broker = connect(app, settings)

    broker.send([WakeUp(queue="q", event_id=uuid4(), type="order.created")], [])

    assert redis_client.llen(f"{prefix}:q") == broker.depth("q") == 1


def test_instrumentation_sees_what_is_sent(app: Celery, broker_url: str, prefix: str) -> None:
    """Celery's publish signals are sent from the direct way too, and may add headers."""
    seen: list[str] = []

    def before(sender: str, headers: dict[str, Any], **_: Any) -> None:
        headers["traceparent"] = "00-1"
        seen.append(f"before {sender}")

    def after(sender: str, **_: Any) -> None:
        seen.append(f"after {sender}")

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    queue = f"{prefix}.a"

    RedisBroker(app, broker_url, keyprefix="", realtime_url=None).send(
        [WakeUp(queue=queue, event_id=uuid4(), type="t")], []
    )
    signals.before_task_publish.disconnect(before)
    signals.after_task_publish.disconnect(after)

    with redis.Redis.from_url(broker_url) as client:
        assert json.loads(client.lpop(queue))["headers"]["traceparent"] == "00-1"
    assert seen == [f"before {queue}", f"after {queue}"]


def test_any_other_broker_is_reached_through_kombu(valkey: EmbeddedValkey, prefix: str, broker_url: str) -> None:
    """Wake-ups wait in the group's queue, notices go to the Redis that is named for them."""
    with Celery("test", broker="memory://", set_as_current=False) as app:
        settings = load_settings(
            {"database_url": "postgresql://h/d", "broker_url": "memory://", "realtime_url": valkey.url}, environment={}
        )
        broker = connect(app, settings)
        queue = f"{prefix}.a"
        with listening(valkey.url, "channel") as hear:
            empty = broker.depth(queue)
            told = Waking(broker, settings).send(
                [WakeUp(queue=queue, event_id=uuid4(), type="order.created")], [Notice(channel="channel", text=b"text")]
            )

            assert told
            assert hear()["data"] == b"text"
        broker.ping()

        assert (empty, broker.depth(queue)) == (0, 1)


@pytest.mark.alone
def test_a_broker_behind_kombu_that_is_down_is_the_same_error() -> None:
    """One error, one sentence, no password, in bounded time."""
    with Celery("test", broker="amqp://user:s3cr3t@127.0.0.1:1//", set_as_current=False) as app:
        broker = KombuBroker(app, app.conf.broker_url, listeners=None)
        started = time.monotonic()

        with pytest.raises(BrokerUnreachable, match=r"amqp://user:\*\*\*@127\.0\.0\.1:1// cannot be used") as caught:
            broker.send([WakeUp(queue="q", event_id=uuid4(), type="order.created")], [])

    assert time.monotonic() - started < 3
    assert "s3cr3t" not in str(caught.value)


def test_an_error_without_a_text_is_named_by_its_type() -> None:
    """The sentence never ends in nothing."""
    broker = RedisBroker(Celery("test", set_as_current=False), REFUSED, keyprefix="", realtime_url=None)
    broker._redis._client = SimpleNamespace(llen=lambda key: (_ for _ in ()).throw(TimeoutError()))  # type: ignore[assignment]

    with pytest.raises(BrokerUnreachable, match="TimeoutError"):
        broker.depth("q")


@pytest.mark.parametrize("spelled", ["CERT_REQUIRED", "required"])
def test_certificates_are_asked_for_as_celery_spells_it(spelled: str) -> None:
    """And as the redis package does."""
    client = redis_client(f"rediss://host/0?ssl_cert_reqs={spelled}", "EVENTBUS_BROKER_URL")

    assert client.connection_pool.connection_kwargs["ssl_cert_reqs"] == "required"


def test_of_several_brokers_celery_chooses(app: Celery) -> None:
    """The redis package would take the first one, and its database 0."""
    several = {"database_url": "postgresql://h/d", "broker_url": "redis://one/1;redis://two/1"}

    assert isinstance(connect(app, load_settings(several, environment={})), KombuBroker)
