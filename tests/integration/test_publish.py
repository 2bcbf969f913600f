"""Publishing: one statement, one delivery per group, and nothing at all of what is refused."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from celery.exceptions import SoftTimeLimitExceeded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import Schema, fields
from sqlalchemy.orm import Session

from eventbus import Draft, EventBus, EventSchema
from eventbus.delivery import Delivery, Run, running
from eventbus.errors import (
    DatabaseUnreachable,
    EventTooLarge,
    HandlerTimeout,
    IdempotencyConflict,
    InvalidEvent,
    InvalidEventType,
    InvalidInput,
    UnknownEventType,
    UnknownEventVersion,
)
from eventbus.lifecycle import committing, publishing
from tests.integration.conftest import MakeBus
from tests.support.rows import Rows
from tests.support.statements import statements

Messages = Callable[[str], list[dict[str, Any]]]


def handle(event: Any) -> None: ...


def test_publish_is_one_statement_in_one_transaction(bus: EventBus, rows: Rows) -> None:
    """Event and deliveries exist together or not at all, for the price of one round trip."""
    bus.subscribe("order.*", group="a", handler=handle)
    bus.subscribe("#", group="b", handler=handle)
    bus.sync()
    bus.publish("order.created", {"id": 0}, source="orders")

    with statements(bus.database) as sent:
        event = bus.publish("order.created", {"id": 1}, source="orders")

    assert len(sent) == 1
    written = rows.all(
        "SELECT xmin FROM eventbus.delivery WHERE event_id = %s UNION ALL SELECT xmin FROM eventbus.event_log WHERE id = %s",
        str(event.id),
        str(event.id),
    )
    assert len(written) == 3
    assert len(set(written)) == 1


def test_each_subscribed_group_is_owed_one_delivery(bus: EventBus, rows: Rows, messages: Messages) -> None:
    """Those whose pattern claims the type, and nobody else; each is woken on its own queue."""
    for group, pattern in {"a": "order.created", "b": "*.created", "c": "order.#", "d": "#", "e": "order.paid"}.items():
        bus.subscribe(pattern, group=group, handler=handle)
    bus.sync()

    event = bus.publish("order.created", {}, source="orders")

    found = rows.all("SELECT group_name, state, attempts, deaths, claim, finished_at FROM eventbus.delivery ORDER BY 1")
    assert found == [(group, "pending", 0, 0, None, None) for group in "abcd"]
    assert [len(messages(group)) for group in "abcde"] == [1, 1, 1, 1, 0]
    assert messages("a")[0]["headers"]["argsrepr"] == f"order.created {event.id}"


def test_an_event_that_nobody_wants_is_recorded_all_the_same(bus: EventBus, rows: Rows) -> None:
    """A group that subscribes later can have its history."""
    event = bus.publish("order.created", {"id": 1}, source="orders")

    assert rows.all("SELECT id, type, version, source FROM eventbus.event_log") == [
        (str(event.id), "order.created", 1, "orders")
    ]
    assert rows.count("delivery") == 0


def test_of_several_matching_subscriptions_of_a_group_the_newest_seen_is_chosen(bus: EventBus, rows: Rows) -> None:
    """A renamed pattern never makes two deliveries of one event."""
    rows.all("INSERT INTO eventbus.consumer_group (name, queue) VALUES ('a', 'a')")
    rows.all(
        "INSERT INTO eventbus.subscription (group_name, pattern, handler, policy, last_seen_at) VALUES "
        "('a', 'order.created', 'old', '{}', '2026-01-01Z'), ('a', 'order.*', 'new', '{}', '2026-01-02Z'), "
        "('a', '#', 'older', '{}', '2025-01-01Z')"
    )

    bus.publish("order.created", {}, source="orders")

    assert rows.all(
        "SELECT handler FROM eventbus.delivery AS d JOIN eventbus.subscription AS s ON s.id = d.subscription_id"
    ) == [("new",)]


def test_the_very_next_publish_reaches_a_new_subscription(make_bus: MakeBus, rows: Rows) -> None:
    """A publisher that runs already needs no restart and no cache to run out."""
    publisher, consumer = make_bus(), make_bus()
    before = publisher.publish("order.created", {}, source="orders")

    consumer.subscribe("order.created", group="late", handler=handle)
    consumer.sync()
    after = publisher.publish("order.created", {}, source="orders")

    assert rows.all("SELECT event_id FROM eventbus.delivery") == [(str(after.id),)]
    assert before.id < after.id


def test_a_removed_subscription_is_owed_nothing(bus: EventBus, rows: Rows) -> None:
    """A tombstone claims no event."""
    bus.subscribe("order.created", group="a", handler=handle)
    bus.sync()
    bus.remove_group("a")

    bus.publish("order.created", {}, source="orders")

    assert rows.count("delivery") == 0


def test_ids_follow_the_databases_clock(bus: EventBus, rows: Rows) -> None:
    """Of two events of one publisher the earlier has the smaller id, and the id tells the time."""
    events = [bus.publish("order.created", n, source="orders") for n in range(20)]

    assert [event.id for event in events] == sorted(event.id for event in events)
    for event in events:
        assert event.id.version == 7
        assert event.id.variant == "specified in RFC 4122"
        milliseconds = datetime.fromtimestamp((event.id.int >> 80) / 1000, UTC)
        assert timedelta(0) <= event.created_at - milliseconds < timedelta(milliseconds=1)
    now = rows.value("SELECT now()")
    assert timedelta(0) <= now - events[-1].created_at < timedelta(minutes=1)


moments = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=moments, later=st.integers(1, 5000), random=st.tuples(st.uuids(version=4), st.uuids(version=4)))
def test_ids_order_events_to_the_microsecond(rows: Rows, at: datetime, later: int, random: tuple[UUID, UUID]) -> None:
    """Whatever chance adds, a later moment has the larger id, and no id lies below the floor of its moment."""
    floor, first, second = rows.one(
        "SELECT eventbus.uuid_floor(%s), eventbus.uuid_v7(%s, %s::uuid), eventbus.uuid_v7(%s, %s::uuid)",
        at,
        at,
        str(random[0]),
        at + timedelta(microseconds=later),
        str(random[1]),
    )

    assert floor <= first < second
    assert UUID(first).version == UUID(second).version == 7
    milliseconds, rest = divmod((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1), 1000)
    assert UUID(first).int >> 64 == milliseconds << 16 | 7 << 12 | (rest << 12) // 1000
    assert UUID(first).bytes[8:] == random[0].bytes[8:]


def test_an_event_knows_its_story(bus: EventBus, rows: Rows) -> None:
    """A correlation id that is given is kept, else one is made; headers travel beside the data."""
    given = bus.publish("order.created", {}, source="orders", correlation_id="story", headers={"a": "b"})
    made = bus.publish("order.created", {}, source="orders")

    assert (given.correlation_id, given.causation_id, given.headers) == ("story", None, {"a": "b"})
    assert UUID(made.correlation_id)
    assert given.timestamp == given.created_at == datetime.fromisoformat(given.metadata["timestamp"])
    stored = rows.value("SELECT metadata FROM eventbus.event_log WHERE id = %s", str(given.id))
    assert stored == {"correlation_id": "story", "causation_id": None, "headers": {"a": "b"}}


def test_inside_a_handler_an_event_inherits_the_story_and_names_its_cause(bus: EventBus) -> None:
    """Whoever follows a correlation id sees the whole chain."""
    cause = bus.publish("order.created", {}, source="orders", correlation_id="story")
    run = Run(event=cause, delivery=Delivery(group="a", attempt=1, replay=None))

    with running(run):
        inherited = bus.publish("order.packed", {}, source="stock")
        own = bus.publish("order.packed", {}, source="stock", correlation_id="other")

    assert (inherited.correlation_id, inherited.causation_id) == ("story", cause.id)
    assert (own.correlation_id, own.causation_id) == ("other", cause.id)


class Order(Schema):
    """A schema with a field of each kind that matters here."""

    id = fields.String(required=True)
    amount = fields.Decimal(as_string=True, required=True)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        ({"type": "order created"}, {}, InvalidEventType, "is not an event type"),
        ({"data": {"id": 1}}, {}, InvalidEvent, "id: Not a valid string. amount: Missing data"),
        ({"type": "free.form", "data": {"a": {"b": float("nan")}}}, {}, InvalidEvent, "a.b: nan is not a JSON number"),
        ({"type": "free.form", "data": "x" * 2000}, {"max_event_bytes": 2001}, EventTooLarge, "2,002 bytes"),
        ({"version": 2}, {}, UnknownEventVersion, "has no version 2"),
        ({"type": "free.form"}, {"strict_types": True}, UnknownEventType, "EVENTBUS_STRICT_TYPES=1"),
        ({"source": ""}, {}, InvalidInput, "source='' is empty"),
        ({"headers": {"a": 1}}, {}, InvalidInput, "not a pair of strings"),
        ({"session": object()}, {}, InvalidInput, "session="),
    ],
)
def test_what_is_refused_leaves_no_trace(
    make_bus: MakeBus,
    rows: Rows,
    messages: Messages,
    arguments: dict[str, Any],
    options: dict[str, Any],
    error: type[Exception],
    says: str,
) -> None:
    """Nothing recorded, nothing sent, and one sentence that says why."""
    bus = make_bus(**options)
    bus.event("order.created")(Order)
    bus.subscribe("#", group="a", handler=handle)
    bus.sync()
    good = {"type": "order.created", "data": {"id": "1", "amount": "9.90"}, "source": "orders"}

    with pytest.raises(error) as caught:
        bus.publish(**{**good, **arguments})

    assert says in str(caught.value)
    assert (rows.count("event_log"), rows.count("delivery"), messages("a")) == (0, 0, [])


def test_data_of_the_largest_size_is_accepted(make_bus: MakeBus) -> None:
    """The limit is the last size that fits; headers count, as JSON too."""
    bus = make_bus(max_event_bytes=20)

    assert bus.publish("free.form", "x" * 18, source="test").data == "x" * 18
    assert bus.publish("free.form", "x" * 8, source="test", headers={"a": "ü"}).headers == {"a": "ü"}
    with pytest.raises(EventTooLarge, match="headers: 21 bytes of JSON with the data, more than the 20") as caught:
        bus.publish("free.form", "x" * 9, source="test", headers={"a": "ü"})

    assert (caught.value.size_bytes, caught.value.limit_bytes) == (21, 20)


def test_data_is_stored_in_the_canonical_form_of_its_schema(bus: EventBus) -> None:
    """All equal inputs become one event, in the version that is registered."""
    bus.event("order.created", version=3)(Order)

    event = bus.publish("order.created", {"amount": 9.5, "id": "1"}, source="orders")

    assert (event.version, event.data) == (3, {"id": "1", "amount": "9.5"})


def test_logs_name_the_event_and_never_its_data(bus: EventBus, caplog: pytest.LogCaptureFixture) -> None:
    """Payloads are nobody's business but the handlers'."""
    with caplog.at_level(logging.DEBUG, logger="eventbus"):
        event = bus.publish("order.created", {"card": "4711-s3cr3t"}, source="orders", correlation_id="story")

    [record] = [item for item in caplog.records if item.message == "event_published"]
    assert (record.event_id, record.type, record.correlation_id) == (str(event.id), "order.created", "story")
    assert "s3cr3t" not in repr([vars(item) for item in caplog.records])


@contextmanager
def logging_fails(message: str, error: Exception) -> Iterator[None]:
    """While a filter of the application's raises *error* at what publishing logs as *message*."""

    def fail(record: logging.LogRecord) -> bool:
        if message in (record.msg, "*"):
            raise error
        return True

    handlers = [logging.getLogger(module.__name__) for module in (publishing, committing)]
    for logger in handlers:
        logger.addFilter(fail)
    yield
    for logger in handlers:
        logger.removeFilter(fail)


@pytest.mark.parametrize("many", [False, True])
def test_what_fails_after_the_commit_fails_no_publish(
    bus: EventBus, rows: Rows, caplog: pytest.LogCaptureFixture, many: bool
) -> None:
    """Whoever is told that it failed would publish again; a worker's relay finds what nobody was told."""
    drafts = [Draft(type="order.created", data=n, source="orders") for n in range(2 if many else 1)]
    caplog.set_level(logging.INFO, logger="eventbus")

    with logging_fails("events_published" if many else "event_published", ZeroDivisionError()):
        events = bus.publish_many(drafts)

    assert [event.data for event in events] == [draft.data for draft in drafts]
    assert rows.count("event_log") == len(drafts)
    assert [record.levelno for record in caplog.records if record.message == "dispatch_failed"] == [logging.ERROR]


def test_a_filter_that_fails_for_all_fails_no_publish(
    bus: EventBus, rows: Rows, caplog: pytest.LogCaptureFixture, redis_client: "redis.Redis[bytes]"
) -> None:
    """Such as one that asks for a request: nothing can be logged, and the groups are told all the same."""
    caplog.set_level(logging.INFO, logger="eventbus")
    bus.subscribe("order.*", group="a", handler=lambda event: None)
    bus.sync()

    with logging_fails("*", LookupError("no request")):
        bus.publish("order.created", 1, source="orders")
        bus.publish_many([Draft(type="order.created", data=n, source="orders") for n in range(2)])
        with Session(bus.database.engine) as session:
            bus.publish("order.created", 1, source="orders", session=session)
            session.commit()

    assert rows.count("event_log") == 4
    assert redis_client.llen(bus.settings.queue("a")) == 4


@pytest.mark.parametrize("limit", [HandlerTimeout("0.1 s"), SoftTimeLimitExceeded()])
def test_the_time_limit_of_a_handler_strikes_after_the_commit_too(
    bus: EventBus, caplog: pytest.LogCaptureFixture, limit: Exception
) -> None:
    """It ends the run, or the ordinary task, and not the publish alone."""
    caplog.set_level(logging.INFO, logger="eventbus")

    with logging_fails("event_published", limit), pytest.raises(type(limit)):
        bus.publish("order.created", 1, source="orders")


def test_a_database_that_is_gone_is_one_clear_error_without_the_password(make_bus: MakeBus) -> None:
    """The publisher knows that nothing was recorded, and where to look."""
    bus = make_bus(database_url="postgresql://user:s3cr3t@127.0.0.1:1/db")

    with pytest.raises(DatabaseUnreachable, match=r"user:\*\*\*@127\.0\.0\.1:1/db cannot be reached") as caught:
        bus.publish("order.created", {}, source="orders")

    assert "s3cr3t" not in str(caught.value)


def test_from_env_publishes_where_the_environment_says(environment: dict[str, str], rows: Rows) -> None:
    """A service that only publishes needs no app of its own."""
    bus = EventBus.from_env()

    event = bus.publish("order.created", {}, source=str(uuid4()))

    assert rows.value("SELECT source FROM eventbus.event_log WHERE id = %s", str(event.id)) == event.source
    bus.database.dispose()


class Amount(fields.Field[Decimal]):
    """Takes apart what it is given, as a field of a user's own may."""

    def _deserialize(self, value: Any, *_arguments: Any, **_options: Any) -> Decimal:
        return Decimal(value.pop("amount"))

    def _serialize(self, value: Any, *_arguments: Any, **_options: Any) -> dict[str, str]:
        return {"amount": str(value)}


class Priced(EventSchema):
    """Has one."""

    price = Amount(required=True, metadata={"json_schema": {"type": "object"}})


def test_a_field_that_takes_its_data_apart_changes_no_event(bus: EventBus, rows: Rows) -> None:
    """What handlers, listeners and idempotency keys see is what the log holds."""
    bus.register_schema("item.priced", 1, Priced)
    data = {"price": {"amount": "1.50"}}

    event = bus.publish("item.priced", data, source="shop", idempotency_key="k")

    assert event.data == data == {"price": {"amount": "1.50"}}
    assert rows.all("SELECT data FROM eventbus.event_log") == [(data,)]
    with pytest.raises(IdempotencyConflict):
        bus.publish("item.priced", {"price": {"amount": "9.99"}}, source="shop", idempotency_key="k")
