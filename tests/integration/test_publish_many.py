"""publish_many: many events by few statements, in order, each batch all or nothing."""

import itertools
import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import Schema, fields
from sqlalchemy.orm import Session

from eventbus import Draft, EventBus
from eventbus.delivery import Delivery, Run, running
from eventbus.errors import EventTooLarge, IdempotencyConflict, InvalidEvent, InvalidInput, NotMigrated
from eventbus.lifecycle import publishing
from eventbus.storage import event_log
from eventbus.wire import canonical
from tests.integration.conftest import MakeBus
from tests.support.json_values import json_values
from tests.support.rows import Rows
from tests.support.statements import noted, statements

Messages = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 10."""
    monkeypatch.setattr(publishing, "BATCH_EVENTS", 10)


@pytest.fixture
def subscribed(bus: EventBus) -> EventBus:
    """The bus, with groups that want all, some and none of what is published."""
    for group, pattern in {"a": "#", "b": "order.*", "c": "order.created", "d": "else.where"}.items():
        bus.subscribe(pattern, group=group, handler=lambda event: None)
    bus.sync()
    return bus


def draft(data: Any, type: str = "order.created", key: str | None = None, **options: Any) -> Draft:
    """An event to be."""
    return Draft(**{"type": type, "data": data, "source": "orders", "idempotency_key": key, **options})


def test_a_thousand_events_are_one_statement(subscribed: EventBus, rows: Rows, messages: Messages) -> None:
    """Events, deliveries and keys; ids rise in the order of the drafts; some fifty deliveries share a wake-up."""
    types = itertools.cycle(["order.created", "order.paid", "stock.moved"])
    drafts = [
        draft({"n": n}, type, f"k{n}" if n % 10 == 0 else None) for n, type in zip(range(1000), types, strict=False)
    ]

    with statements(subscribed.database) as sent:
        events = subscribed.publish_many(drafts)

    assert [statement.split()[0] for statement in sent] == ["PREPARE", "EXECUTE"]
    assert [event.data["n"] for event in events] == list(range(1000))
    assert [event.type for event in events] == [item.type for item in drafts]
    assert [event.id for event in events] == sorted(event.id for event in events)
    stored = rows.all(
        "SELECT id, data, metadata ->> 'correlation_id', created_at, source FROM eventbus.event_log ORDER BY id"
    )
    assert stored == [(str(e.id), e.data, e.correlation_id, e.created_at, e.source) for e in events]
    owed = dict(rows.all("SELECT group_name, count(*) FROM eventbus.delivery GROUP BY 1"))
    assert owed == {"a": 1000, "b": 667, "c": 334}
    assert rows.count("publish_key") == 100
    assert {group: len(messages(group)) for group in "abcd"} == {"a": 20, "b": 20, "c": 20, "d": 0}
    told = [message["headers"]["argsrepr"].split()[1] for message in messages("a")]
    assert told == [str(event.id) for event in events[::50]]


def test_events_have_one_shape_however_they_are_published(subscribed: EventBus) -> None:
    """What publish_many returns is what publish would, and what the log gives back."""
    options = {"correlation_id": "story", "headers": {"a": "b"}, "version": 3}

    [many] = subscribed.publish_many([draft({"a": [1.5, None, "ü"]}, **options)])
    one = subscribed.publish("order.created", {"a": [1.5, None, "ü"]}, source="orders", **options)
    [repeat], [kept] = (subscribed.publish_many([draft({"a": [1.5, None, "ü"]}, key="k", **options)]) for _ in range(2))

    for event in (many, repeat):
        assert {**event.as_json(), "id": 0, "created_at": 0, "metadata": {**event.metadata, "timestamp": 0}} == {
            **one.as_json(),
            "id": 0,
            "created_at": 0,
            "metadata": {**one.metadata, "timestamp": 0},
        }
    assert kept == repeat


def test_no_text_is_taken_for_another(subscribed: EventBus, rows: Rows) -> None:
    """A batch travels line by line: what looks like the end of one, or of a value, is none."""
    odd = ["\n", "\\n", "a\r\nb", "\u2028", "'", '"', "\\", "{}", "null", "", "NULL", "%s", "\t"]
    names = ["'", '"', "\\", "\\n", "{}", "null", ",", "%s", "ü"]
    drafts = [draft({text: [text]}, headers={text: text}) for text in odd]
    drafts += [draft(None, source=name, key=name, correlation_id=name) for name in names]

    events = subscribed.publish_many(drafts)

    stored = rows.all(
        "SELECT e.data, e.metadata -> 'headers', e.source, k.key FROM eventbus.event_log AS e "
        "LEFT JOIN eventbus.publish_key AS k ON k.event_id = e.id ORDER BY e.id"
    )
    assert stored == [(item.data, item.headers or {}, item.source, item.idempotency_key) for item in drafts]
    assert [event.data for event in events] == [item.data for item in drafts]
    assert [event.correlation_id for event in events[-len(names) :]] == names


def test_a_version_may_be_a_number_of_any_class(subscribed: EventBus) -> None:
    """A batch travels as text, in which this one would be a name."""

    class Version(int, Enum):
        FIRST = 1

    [event, other] = subscribed.publish_many([draft({}, version=Version.FIRST), draft({}, version=1)])

    assert event.version == other.version == 1


def test_nothing_is_published_of_nothing(subscribed: EventBus, rows: Rows) -> None:
    """No statement, no message."""
    with statements(subscribed.database) as sent:
        assert subscribed.publish_many(iter(())) == []

    assert sent == []


@pytest.mark.usefixtures("small")
def test_an_iterable_is_consumed_a_batch_at_a_time(bus: EventBus, rows: Rows) -> None:
    """A generator that reads from somewhere never runs far ahead of what is recorded."""
    seen: list[int] = []

    def source() -> Iterator[Draft]:
        for n in range(25):
            seen.append(rows.count("event_log"))
            yield draft(n)

    events = bus.publish_many(source())

    assert seen == [0] * 10 + [10] * 10 + [20] * 5
    assert [event.id for event in events] == sorted(event.id for event in events)
    assert [event.created_at for event in events] == sorted(event.created_at for event in events)


def test_ids_rise_across_batches_whatever_the_clock_does(
    bus: EventBus, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second batch is recorded faster than a microsecond for each event of the first."""
    monkeypatch.setattr(publishing, "BATCH_EVENTS", 2)

    events = bus.publish_many(draft(n) for n in range(200))

    assert all(one.id < next.id and one.created_at < next.created_at for one, next in itertools.pairwise(events))


def test_each_batch_is_recorded_after_the_newest_of_those_before(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL is told, for its clock may have been set back in between; an earlier publish's event is none of them."""
    monkeypatch.setattr(publishing, "BATCH_EVENTS", 2)
    bus.publish("order.created", 6, source="orders", idempotency_key="old")
    told: list[datetime | None] = []

    def note(_statement: str, parameters: Any) -> None:
        if isinstance(parameters, dict) and "after" in parameters:
            told.append(parameters["after"])

    with noted(bus.database, note):
        events = bus.publish_many([*(draft(n) for n in range(5)), draft(6, key="old"), draft(7)])

    assert told == [None, *(events[newest].created_at for newest in (1, 3, 4))]


@pytest.mark.parametrize("item", [draft("x" * 298), draft("x" * 198, headers={"a": "x" * 92})])
def test_a_batch_is_also_limited_by_its_size(bus: EventBus, monkeypatch: pytest.MonkeyPatch, item: Draft) -> None:
    """A thousand events of a megabyte are no statement that a server likes."""
    monkeypatch.setattr(publishing, "BATCH_BYTES", 1000)
    bus.sync()

    with statements(bus.database) as sent:
        bus.publish_many(item for _ in range(10))

    assert [statement.split()[0] for statement in sent] == ["PREPARE", "EXECUTE", "EXECUTE", "EXECUTE"]


class Order(Schema):
    """A schema that some drafts fit."""

    id = fields.Integer(required=True, strict=True)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        (draft({"id": "x"}), InvalidEvent, "order.created was refused: id: Not a valid integer."),
        (draft(float("nan"), "free.form"), InvalidEvent, "nan is not a JSON number"),
        (draft("x" * 3000, "free.form"), EventTooLarge, "3,002 bytes"),
        (draft({"id": 1}, "order created"), InvalidInput, "is not an event type"),
        (draft({"id": 1}, key=""), InvalidInput, "idempotency_key="),
        (draft({"id": 1}, key="taken"), IdempotencyConflict, "'taken' of source 'orders'"),
        (draft({"id": 1}, key="k12"), IdempotencyConflict, "earlier item of the same batch"),
        ({"type": "order.created"}, InvalidInput, "is a dict, not a Draft"),
    ],
)
@pytest.mark.parametrize("in_session", [False, True])
def test_a_bad_item_is_named_and_nothing_of_its_batch_is_recorded(
    make_bus: MakeBus, rows: Rows, messages: Messages, bad: Any, error: type[InvalidInput], says: str, in_session: bool
) -> None:
    """The error is the same as publish's, with the item's index and the events of the batches before."""
    bus = make_bus(max_event_bytes=2000)
    bus.event("order.created")(Order)
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    first = bus.publish("order.created", {"id": 99}, source="orders", idempotency_key="taken")
    drafts = [draft({"id": n}, key=f"k{n}") for n in range(30)]
    drafts[17] = bad
    session = Session(bus.database.engine) if in_session else None

    with pytest.raises(error) as caught:
        bus.publish_many(drafts, session=session)
    if session:
        session.commit()
        session.close()

    what = "written in the session's transaction" if in_session else "recorded"
    assert str(caught.value).startswith(f"item 17 (items 0 to 9 {what}): ")
    assert says in str(caught.value)
    assert caught.value.index == 17
    assert [event.data for event in caught.value.recorded] == [{"id": n} for n in range(10)]
    assert rows.all("SELECT id FROM eventbus.event_log ORDER BY id") == [
        (str(event.id),) for event in [first, *caught.value.recorded]
    ]
    assert (rows.count("publish_key"), len(messages("a"))) == (11, 11)


@pytest.mark.usefixtures("small")
def test_what_an_error_names_as_recorded_can_load(bus: EventBus) -> None:
    """As what a call returns."""
    paid = Schema.from_dict({"amount": fields.Decimal(required=True, as_string=True)}, name="Paid")
    bus.register_schema("order.paid", 1, paid)
    drafts = [draft({"amount": "9.90"}, "order.paid") for _ in range(10)]

    with pytest.raises(InvalidEvent) as caught:
        bus.publish_many([*drafts, draft({}, "order.paid")])

    assert [event.load() for event in caught.value.recorded] == [{"amount": Decimal("9.90")}] * 10


def test_the_very_first_item_may_be_bad(bus: EventBus, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words fit then too, and after a batch of one."""
    with pytest.raises(InvalidEvent, match=r"^item 0 \(nothing before it recorded\): ") as first:
        bus.publish_many([draft(float("nan"))])
    monkeypatch.setattr(publishing, "BATCH_EVENTS", 1)
    with pytest.raises(InvalidEvent, match=r"^item 1 \(item 0 recorded\): ") as second:
        bus.publish_many([draft(1), draft(float("nan"))])

    assert (first.value.recorded, len(second.value.recorded)) == ((), 1)


@pytest.mark.usefixtures("small")
def test_an_iterable_that_fails_says_how_far_it_came(bus: EventBus, rows: Rows) -> None:
    """Its own error passes as it is, with a note."""

    def source() -> Iterator[Draft]:
        yield from (draft(n) for n in range(13))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        bus.publish_many(source())

    assert caught.value.__notes__ == ["publish_many had items 0 to 9 recorded."]
    assert rows.count("event_log") == 10


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("many", [False, True])
def test_an_iterable_that_publishes_may_fail_with_an_error_of_ours(bus: EventBus, rows: Rows, many: bool) -> None:
    """It is about the other call: what it says of itself stays, and a note says how far this one came."""

    def source() -> Iterator[Draft]:
        yield from (draft(n) for n in range(13))
        bad = [draft("other"), draft(float("nan"))]
        bus.publish_many(bad) if many else bus.publish(bad[1].type, bad[1].data, source="orders")

    with pytest.raises(InvalidEvent) as caught:
        bus.publish_many(source())

    assert str(caught.value).startswith(
        "item 1 (nothing before it recorded): " if many else "order.created was refused"
    )
    assert (caught.value.index, caught.value.recorded) == (1 if many else None, ())
    assert caught.value.__notes__ == ["publish_many had items 0 to 9 recorded."]
    assert rows.count("event_log") == 10


def test_a_generator_can_be_gone_on_with_after_a_refusal(bus: EventBus, rows: Rows) -> None:
    """It is the caller's: what follows the refused item can be published."""
    drafts = (draft(float("nan") if n == 0 else n) for n in range(3))

    with pytest.raises(InvalidEvent):
        bus.publish_many(drafts)
    bus.publish_many(drafts)

    assert rows.all("SELECT data FROM eventbus.event_log ORDER BY id") == [(1,), (2,)]


def test_an_error_of_the_database_is_about_a_batch(make_bus: MakeBus, empty_database_url: str, rows: Rows) -> None:
    """Its index is that of the batch's first item."""
    bus = make_bus(database_url=empty_database_url)

    with pytest.raises(NotMigrated, match=r"^item 0 \(nothing before it recorded\): ") as caught:
        bus.publish_many([draft(1), draft(2)])

    assert (caught.value.index, caught.value.recorded) == (0, ())


@pytest.mark.usefixtures("small")
def test_a_key_twice_in_one_call_is_one_event(subscribed: EventBus, rows: Rows, messages: Messages) -> None:
    """In one batch and across batches; each position gets the event."""
    keys = ["x", "y", "x", *(f"k{n}" for n in range(10)), "x", "y"]

    events = subscribed.publish_many(draft(key, key=key) for key in keys)

    assert [event.data for event in events] == keys
    assert len({event.id for event in events}) == rows.count("event_log") == len(messages("a")) == 12


@pytest.mark.usefixtures("small")
def test_a_repeated_call_returns_the_first_events_and_goes_on(
    subscribed: EventBus, rows: Rows, messages: Messages
) -> None:
    """How an import is resumed: what is there is not recorded again, and nobody is woken for it."""
    first = subscribed.publish_many(draft(n, key=f"line-{n}") for n in range(15))

    resumed = subscribed.publish_many(draft(n, key=f"line-{n}") for n in range(25))

    assert resumed[:15] == first
    assert rows.all("SELECT data FROM eventbus.event_log ORDER BY id") == [(n,) for n in range(25)]
    assert len(messages("a")) == 25


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("commits", [True, False])
def test_all_batches_join_the_callers_transaction(
    subscribed: EventBus, rows: Rows, messages: Messages, commits: bool
) -> None:
    """They exist, and messages leave, exactly if it commits."""
    with Session(subscribed.database.engine) as session:
        events = subscribed.publish_many((draft(n) for n in range(25)), session=session)
        before = rows.count("event_log"), len(messages("a"))
        if commits:
            session.commit()

    assert before == (0, 0)
    assert [event.data for event in events] == list(range(25))
    assert (rows.count("event_log"), len(messages("a"))) == ((25, 13) if commits else (0, 0))


def test_inside_a_handler_events_inherit_the_story_and_join_its_session(subscribed: EventBus, rows: Rows) -> None:
    """Like publish."""
    cause = subscribed.publish("order.created", {}, source="orders", correlation_id="story")
    with Session(subscribed.database.engine) as session:
        run = Run(event=cause, delivery=Delivery(group="a", attempt=1, replay=None), session=session)
        with running(run):
            events = subscribed.publish_many([draft(1), draft(2, correlation_id="own")])
        before = rows.count("event_log")
        session.commit()

    assert before == 1
    assert [(event.correlation_id, event.causation_id) for event in events] == [("story", cause.id), ("own", cause.id)]


def test_the_log_has_one_line_for_each_batch(bus: EventBus, caplog: pytest.LogCaptureFixture) -> None:
    """Not a thousand; and none for a batch that was there before."""
    caplog.set_level(logging.INFO, logger="eventbus")
    bus.publish_many(draft(n, key=str(n)) for n in range(20))
    [line] = [record for record in caplog.records if record.message == "events_published"]
    caplog.clear()
    bus.publish_many(draft(n, key=str(n)) for n in range(20))

    assert vars(line)["events"] == 20
    assert [record.message for record in caplog.records if "published" in record.message] == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(json_values, min_size=2, max_size=20))
def test_data_comes_back_from_the_log_as_it_was_published(bus: EventBus, rows: Rows, values: list[Any]) -> None:
    """Publisher, log and every handler see the same value, whatever JSON it is."""
    rows.all("TRUNCATE eventbus.event_log")

    events = bus.publish_many(draft(value) for value in values)

    with bus.database.autocommit() as connection:
        found = event_log.find_events(connection, [event.id for event in events])
    assert [canonical(found[event.id].data) for event in events] == [canonical(event.data) for event in events]
    assert found == {event.id: event for event in events}


keys = st.sampled_from([None, None, "a", "b", "c"])
Call = list[tuple[str | None, int]]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(st.lists(st.tuples(keys, st.integers(0, 1)), max_size=8), min_size=1, max_size=4),
    size=st.integers(1, 4),
)
def test_a_call_does_what_a_publish_of_each_would(
    bus: EventBus, rows: Rows, monkeypatch: pytest.MonkeyPatch, calls: list[Call], size: int
) -> None:
    """Held against a model of keys, repeats, conflicts and batches."""
    monkeypatch.setattr(publishing, "BATCH_EVENTS", size)
    rows.all("TRUNCATE eventbus.event_log, eventbus.publish_key")
    log: list[int] = []
    held: dict[str, int] = {}
    for call in calls:
        recorded = modelled(call, size, log, held)
        try:
            returned = bus.publish_many(draft(data, key=key) for key, data in call)
        except IdempotencyConflict as error:
            returned = list(error.recorded)

        assert [event.data for event in returned] == [data for _, data in call[:recorded]]

    assert rows.all("SELECT data FROM eventbus.event_log ORDER BY id") == [(data,) for data in log]


def modelled(call: Call, size: int, log: list[int], held: dict[str, int]) -> int:
    """What *log* and *held* are after a call; how many of its items are recorded, or were before."""
    for start in range(0, len(call), size):
        mine, new = dict(held), []
        for key, data in call[start : start + size]:
            if key is None or key not in mine:
                new.append(data)
            if key is not None and mine.setdefault(key, data) != data:
                return start
        log += new
        held |= mine
    return len(call)
