"""Sweeping: what is due and was never announced, or whose announcement was lost, is announced again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
from sqlalchemy.orm import Session

from eventbus import Draft, EventBus
from eventbus.errors import BrokerUnreachable
from eventbus.lifecycle import relaying
from eventbus.lifecycle.settlement import Done
from eventbus.lifecycle.sweeping import sweep
from eventbus.storage import subscriptions
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.rows import Rows

Messages = Callable[[str], list[dict[str, Any]]]


def handle(event: Any) -> None: ...


@pytest.fixture
def subscribed(bus: EventBus) -> EventBus:
    """Groups ``a`` and ``b`` that want everything."""
    for group in "ab":
        bus.subscribe("#", group=group, handler=handle)
    bus.sync()
    return bus


def test_every_lost_message_is_sent_again(
    subscribed: EventBus, redis_client: "redis.Redis[bytes]", prefix: str, messages: Messages
) -> None:
    """A broker that lost everything costs time, never an event."""
    events = [subscribed.publish("order.created", number, source="orders") for number in range(3)]
    redis_client.delete(f"{prefix}.a", f"{prefix}.b")

    swept = subscribed.sweep()

    assert swept == {"a": 3, "b": 3}
    for group in "ab":
        named = [message["headers"]["argsrepr"] for message in messages(group)]
        assert named == [f"order.created {event.id}" for event in events]


def test_a_dead_workers_claim_is_announced_when_its_lease_ends(
    subscribed: EventBus, worker: MakeWorker, rows: Rows
) -> None:
    """Not before: what runs is not due."""
    execution = worker()
    subscribed.publish("order.created", 1, source="orders")
    for group in "ab":
        execution.take(group, None, task_id=None)
    running = subscribed.sweep()

    rows.all("UPDATE eventbus.delivery SET due_at = now() - interval '1 s' WHERE group_name = 'a'")

    assert running == {}
    assert subscribed.sweep() == {"a": 1}


def test_a_paused_group_is_left_alone(subscribed: EventBus, messages: Messages) -> None:
    """Nobody may claim for it, so nobody is woken."""
    subscribed.publish("order.created", 1, source="orders")
    with subscribed.database.autocommit() as connection:
        subscriptions.set_paused(connection, "a", paused=True)

    assert subscribed.sweep() == {"b": 1}
    assert len(messages("a")) == 1


@pytest.mark.parametrize("state", ["done", "parked", "later", "removed"])
def test_what_nobody_may_run_now_is_not_announced(state: str, subscribed: EventBus, rows: Rows) -> None:
    """Final, parked, not due yet, or without a living subscription."""
    subscribed.publish("order.created", 1, source="orders")
    rows.all(
        {
            "done": "UPDATE eventbus.delivery SET state = 'done', finished_at = now()",
            "parked": "UPDATE eventbus.delivery SET state = 'parked'",
            "later": "UPDATE eventbus.delivery SET due_at = now() + interval '1 h'",
            "removed": "UPDATE eventbus.subscription SET removed_at = now()",
        }[state]
    )

    assert subscribed.sweep() == {}


def test_a_sweep_is_bounded(subscribed: EventBus) -> None:
    """A long backlog does not become as many messages; the oldest come first."""
    for number in range(5):
        subscribed.publish("order.created", number, source="orders")

    assert sweep(subscribed.database, subscribed.broker, limit=2) == {"a": 2, "b": 2}


def test_a_relay_leaves_what_was_just_published_to_its_own_message(
    bus: EventBus, redis_client: "redis.Redis[bytes]", prefix: str, messages: Messages, rows: Rows
) -> None:
    """Of a group that takes events by several patterns, too, no more are announced than a queue is to hold."""
    types = ("order.created", "order.paid")
    for group, pattern in zip("aab", (*types, "#"), strict=True):
        bus.subscribe(pattern, group=group, handler=handle)
    bus.sync()
    bus.publish_many([Draft(type=type, data=number, source="orders") for number in range(3) for type in types])
    redis_client.delete(f"{prefix}.a", f"{prefix}.b")
    rows.all(
        "UPDATE eventbus.delivery SET due_at = clock_timestamp() - make_interval(hours => (group_name = 'a')::int)"
    )

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(relaying, "GRACE", timedelta(minutes=30))
        patched.setattr(relaying, "CAP", 4)
        bus.relay()

    assert (len(messages("a")), len(messages("b"))) == (4, 0)


def test_a_sweep_without_a_broker_says_so(make_bus: MakeBus) -> None:
    """The operator is not told that all is well."""
    bus = make_bus(broker_url="redis://127.0.0.1:1/0")
    bus.subscribe("#", group="a", handler=handle)
    bus.sync()
    bus.publish("order.created", 1, source="orders")

    with pytest.raises(BrokerUnreachable):
        bus.sweep()


def test_what_was_published_while_its_group_unsubscribed_is_cancelled(
    subscribed: EventBus, rows: Rows, messages: Messages
) -> None:
    """A transaction that saw the subscription and commits after its end leaves nothing that waits for ever."""
    with Session(subscribed.database.engine) as session:
        late = subscribed.publish("order.created", 1, source="orders", session=session)
        subscribed.remove_group("a")
        session.commit()
    before = rows.delivery(late.id, "a")["state"]

    subscribed.sweep()

    assert before == "pending"
    assert rows.delivery(late.id, "a")["state"] == "cancelled"
    assert rows.delivery(late.id, "b")["state"] == "pending"


def test_what_is_parked_for_a_group_that_unsubscribed_is_cancelled(
    subscribed: EventBus, rows: Rows, messages: Messages
) -> None:
    """By an old worker that ran it meanwhile, or where the cancelling was interrupted: no code will ever come for it."""
    event = subscribed.publish("order.created", 1, source="orders")
    subscribed.remove_group("a")
    rows.all(
        "UPDATE eventbus.delivery SET state = 'parked', due_at = 'infinity', finished_at = NULL WHERE group_name = 'a'"
    )

    subscribed.sweep()

    assert rows.delivery(event.id, "a")["state"] == "cancelled"


def test_what_was_published_while_a_pattern_was_replaced_goes_to_the_new_one(
    subscribed: EventBus, make_bus: MakeBus, worker: MakeWorker
) -> None:
    """Replacing a subscription loses no event, whenever its publisher commits."""
    newer = make_bus()
    newer.subscribe("order.*", group="a", handler=handle)
    with Session(subscribed.database.engine) as session:
        late = subscribed.publish("order.created", 1, source="orders", session=session)
        newer.sync(replace=True)
        session.commit()
    execution = worker(newer)
    before = execution.take("a", late.id, task_id=None)

    swept = newer.sweep()
    claimed = execution.take("a", late.id, task_id=None)

    assert before is None
    assert swept["a"] == 1
    assert claimed is not None
    assert claimed.event.id == late.id


def test_what_an_old_worker_is_running_is_left_to_it(subscribed: EventBus, worker: MakeWorker, rows: Rows) -> None:
    """Its claim stands until its lease ends."""
    execution = worker()
    event = subscribed.publish("order.created", 1, source="orders")
    claimed = execution.take("a", event.id, task_id=None)
    assert claimed is not None
    rows.all("UPDATE eventbus.subscription SET removed_at = now() WHERE group_name = 'a'")

    subscribed.sweep()

    assert rows.delivery(event.id, "a")["state"] == "running"
    assert execution.run(claimed) == Done()
