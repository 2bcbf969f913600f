"""Relaying: what is due and was told to nobody is told again, in a way that reaches somebody."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from sqlalchemy.orm import Session

from eventbus import Draft, Event, EventBus
from eventbus.errors import BrokerUnreachable
from eventbus.lifecycle import relaying
from eventbus.lifecycle.relaying import Relay
from eventbus.storage import subscriptions
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.rows import Rows

Messages = Callable[[str], list[dict[str, Any]]]
SENT = "SELECT sum(wake_ups) FROM eventbus.repair"
PAST = "UPDATE eventbus.delivery SET due_at = clock_timestamp() - interval '1 s'"


def handle(event: Any) -> None: ...


@pytest.fixture
def subscribed(bus: EventBus) -> EventBus:
    """Groups ``a`` and ``b`` that want everything."""
    for group in "ab":
        bus.subscribe("#", group=group, handler=handle)
    bus.sync()
    return bus


class Consumer:
    """The worker beside a relay, as far as the relay asks about it."""

    def __init__(self) -> None:
        self.is_idle = True
        self.restarts = 0

    def restart(self) -> None:
        self.restarts += 1


@pytest.fixture
def consumer() -> Consumer:
    """A worker that is idle."""
    return Consumer()


@pytest.fixture
def relay(subscribed: EventBus, worker: MakeWorker, consumer: Consumer, prefix: str) -> Relay:
    """The relay of a worker of both groups."""
    return make_relay(subscribed, worker(), consumer, prefix)


def make_relay(bus: EventBus, execution: Any, consumer: Consumer, prefix: str) -> Relay:
    """The relay of a worker."""
    return Relay(
        database=bus.database,
        broker=bus.broker,
        subscriptions=execution.known.all_ids(),
        own_queue=f"{prefix}.own",
        is_idle=lambda: consumer.is_idle,
        restart_consumer=consumer.restart,
    )


@pytest.fixture
def forget(redis_client: "redis.Redis[bytes]", prefix: str) -> Callable[..., None]:
    """A function that empties queues."""

    def delete(*queues: str) -> None:
        redis_client.delete(*(f"{prefix}.{queue}" for queue in queues))

    return delete


def publish(bus: EventBus, number: int) -> list[Event]:
    """Some events."""
    return bus.publish_many([Draft(type="order.created", data=index, source="orders") for index in range(number)])


def named(messages: list[dict[str, Any]]) -> list[str]:
    """What messages name."""
    return [message["headers"]["argsrepr"] for message in messages]


def test_what_nobody_was_told_of_is_told(
    subscribed: EventBus, relay: Relay, rows: Rows, messages: Messages, forget: Callable[..., None]
) -> None:
    """The longest due first, each group in its own queue; once, as long as nobody takes the messages."""
    events = publish(subscribed, 3)
    rows.all(PAST)
    rows.all("UPDATE eventbus.delivery SET due_at = due_at - interval '1 s' WHERE event_id = %s", str(events[2].id))
    forget("a", "b")

    relay.sweep()
    relay.sweep()

    wanted = [f"order.created {events[index].id}" for index in (2, 0, 1)]
    assert named(messages("a")) == named(messages("b")) == wanted
    assert rows.value(SENT) == 6


def test_what_was_just_published_is_left_to_its_own_message(
    subscribed: EventBus, relay: Relay, rows: Rows, messages: Messages, forget: Callable[..., None]
) -> None:
    """A worker is on its way to it; what is not due at all, or final, is nobody's business."""
    publish(subscribed, 2)
    forget("a", "b")
    rows.all("UPDATE eventbus.delivery SET due_at = clock_timestamp() WHERE group_name = 'a'")
    rows.all("UPDATE eventbus.delivery SET due_at = due_at + interval '1 h' WHERE group_name = 'b'")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(relaying, "GRACE", relaying.GRACE * 1000)
        relay.sweep()

    assert messages("a") == messages("b") == []


def test_a_queue_is_topped_up_to_a_length(
    subscribed: EventBus, relay: Relay, rows: Rows, messages: Messages, forget: Callable[..., None]
) -> None:
    """A backlog does not become as many messages, however often it is looked at."""
    publish(subscribed, 120)
    rows.all(PAST)
    before = len(messages("a"))
    forget("b")

    relay.sweep()
    repairs = rows.value(SENT)
    relay.sweep()

    assert before < relaying.CAP
    assert (len(messages("a")), len(messages("b"))) == (relaying.CAP, relaying.CAP)
    assert repairs == 2 * relaying.CAP - before


def test_only_what_its_own_worker_can_run_is_told(
    subscribed: EventBus,
    make_bus: MakeBus,
    worker: MakeWorker,
    consumer: Consumer,
    prefix: str,
    rows: Rows,
    messages: Messages,
    forget: Callable[..., None],
) -> None:
    """For anything else it would spin: wake up, claim nothing, wake up."""
    other = make_bus()
    other.subscribe("#", group="a", handler=handle)
    relay = make_relay(other, worker(other), consumer, prefix)
    publish(subscribed, 1)
    rows.all(PAST)
    forget("a", "b")

    relay.sweep()

    assert (len(messages("a")), len(messages("b"))) == (1, 0)


def test_a_paused_group_is_left_alone(
    subscribed: EventBus,
    relay: Relay,
    consumer: Consumer,
    rows: Rows,
    messages: Messages,
    forget: Callable[..., None],
) -> None:
    """Nothing moves there, which is no reason to go other ways, nor to restart anything."""
    publish(subscribed, 1)
    rows.all(PAST)
    with subscribed.database.autocommit() as connection:
        subscriptions.set_paused(connection, "a", paused=True)
    rows.all("UPDATE eventbus.delivery SET state = 'done', finished_at = now() WHERE group_name = 'b'")
    forget("a", "b")

    for _ in range(10):
        relay.sweep()

    assert messages("a") == messages("own") == []
    assert consumer.restarts == 0


def test_what_does_not_move_goes_to_the_workers_own_queue(
    subscribed: EventBus, relay: Relay, rows: Rows, messages: Messages, forget: Callable[..., None]
) -> None:
    """When it has been looked at often enough: others may be popping its wake-ups in vain, whatever the length of its queue."""
    stuck, moving = publish(subscribed, 2)
    rows.all(PAST)
    rows.all("UPDATE eventbus.delivery SET due_at = due_at - interval '1 s' WHERE event_id = %s", str(stuck.id))
    direct = []

    for _ in range(relaying.PATIENCE):
        relay.sweep()
        direct.append(named(messages("own")))
        # Of the other group, the oldest is another one each time.
        rows.all("UPDATE eventbus.delivery SET due_at = due_at - interval '1 s' WHERE group_name = 'b'")
        forget("a")

    assert direct == [*[[]] * (relaying.PATIENCE - 1), [f"order.created {stuck.id}"]]
    assert messages("own")[0]["headers"]["task"].endswith(".a")
    assert moving != stuck


def test_what_moves_is_not_stuck(subscribed: EventBus, relay: Relay, rows: Rows, messages: Messages) -> None:
    """A backlog that is being worked on has a new oldest each time."""
    events = publish(subscribed, 6)
    rows.all(PAST)

    for event in events:
        relay.sweep()
        rows.all("UPDATE eventbus.delivery SET state = 'done', finished_at = now() WHERE event_id = %s", str(event.id))

    assert messages("own") == []


def test_an_own_queue_that_is_not_read_has_its_consumer_restarted_once(
    subscribed: EventBus, relay: Relay, consumer: Consumer, rows: Rows, messages: Messages
) -> None:
    """A connection that died silently does not come back by itself; one that was just made anew gets its time."""
    publish(subscribed, 1)
    rows.all(PAST)
    restarts = []

    for _ in range(relaying._RESTART_SWEEPS + relaying.PATIENCE):
        relay.sweep()
        restarts.append(consumer.restarts)

    assert restarts[: relaying.PATIENCE] == [0] * relaying.PATIENCE
    assert restarts[relaying.PATIENCE] == 1
    assert restarts[-1] == 1
    assert len(messages("own")) == 2

    relay.sweep()

    assert consumer.restarts == 2


def test_a_consumer_that_has_just_begun_to_read_gets_its_time(
    subscribed: EventBus, relay: Relay, consumer: Consumer, rows: Rows
) -> None:
    """It may have connected for longer than relays are patient: what waited meanwhile says nothing of it."""
    publish(subscribed, 1)
    rows.all(PAST)
    consumer.is_idle = False
    for _ in range(relaying.PATIENCE + 2):
        relay.sweep()
    consumer.is_idle = True

    restarts = []
    for _ in range(2):
        relay.sweep()
        restarts.append(consumer.restarts)

    assert restarts == [0, 1]


def test_each_time_that_something_is_stuck_the_consumer_gets_its_time(
    subscribed: EventBus, relay: Relay, consumer: Consumer, rows: Rows
) -> None:
    """That it had time once says nothing of the next time."""
    publish(subscribed, 1)
    rows.all(PAST)
    for _ in range(relaying.PATIENCE):
        relay.sweep()
    rows.all("UPDATE eventbus.delivery SET state = 'done', finished_at = now()")
    relay.sweep()
    publish(subscribed, 1)
    rows.all(f"{PAST} WHERE finished_at IS NULL")

    for _ in range(relaying.PATIENCE):
        relay.sweep()

    assert consumer.restarts == 0


@pytest.mark.parametrize("reason", ["busy", "read"])
def test_a_consumer_that_works_is_not_restarted(
    reason: str,
    subscribed: EventBus,
    relay: Relay,
    consumer: Consumer,
    rows: Rows,
    forget: Callable[..., None],
) -> None:
    """A worker whose processes are all busy does not read, and one that reads may be passing over what another holds."""
    publish(subscribed, 1)
    rows.all(PAST)
    consumer.is_idle = reason != "busy"

    for _ in range(10):
        relay.sweep()
        if reason == "read":
            forget("own")

    assert consumer.restarts == 0


def test_orphans_find_a_home_now_and_then(subscribed: EventBus, relay: Relay, rows: Rows, messages: Messages) -> None:
    """What was being published while its group unsubscribed waits for ever without that."""
    relay.sweep()
    with Session(subscribed.database.engine) as session:
        late = subscribed.publish("order.created", 1, source="orders", session=session)
        subscribed.remove_group("a")
        session.commit()
    rows.all(PAST)

    seen = []
    for _ in range(relaying._ORPHAN_SWEEPS):
        relay.sweep()
        seen.append(rows.delivery(late.id, "a")["state"])

    assert seen == ["pending"] * (relaying._ORPHAN_SWEEPS - 1) + ["cancelled"]


def test_a_broker_that_is_away_is_said(make_bus: MakeBus, worker: MakeWorker, consumer: Consumer, rows: Rows) -> None:
    """The duty that sweeps logs it, and sweeps again."""
    bus = make_bus(broker_url="redis://127.0.0.1:1/0")
    bus.subscribe("#", group="a", handler=handle)
    relay = make_relay(bus, worker(bus), consumer, "none")
    bus.publish("order.created", 1, source="orders")
    rows.all(PAST)

    with pytest.raises(BrokerUnreachable):
        relay.sweep()

    assert rows.value(SENT) is None
