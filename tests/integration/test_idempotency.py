"""Idempotency keys: a fact that is published twice, by whomever and however, is one event."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from eventbus import Draft, Event, EventBus
from eventbus.errors import IdempotencyConflict, InvalidInput, PublishBusy
from eventbus.ids import draw_uuids
from eventbus.lifecycle import recording
from eventbus.lifecycle.drafting import origin_of
from eventbus.storage import publish_keys
from eventbus.storage.database import Database
from tests.integration.conftest import MakeBus
from tests.support import wait_until
from tests.support.rows import Rows
from tests.support.statements import statements

Messages = Callable[[str], list[dict[str, Any]]]
ISOLATIONS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


@pytest.fixture
def subscribed(bus: EventBus) -> EventBus:
    """The bus, with the group ``a`` that wants everything."""
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    return bus


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishers wait a moment only."""
    monkeypatch.setattr(recording, "PATIENCE", timedelta(milliseconds=50))


@pytest.fixture
def session(database: Database, rows: Rows) -> Iterator[Callable[[str], Session]]:
    """A function that opens a session in an isolation level, with a snapshot that is taken now."""
    opened: list[Session] = []

    def open_session(isolation: str = "READ COMMITTED") -> Session:
        found = Session(database.engine)
        found.connection(execution_options={"isolation_level": isolation})
        found.execute(text("SELECT count(*) FROM eventbus.publish_key"))
        opened.append(found)
        return found

    yield open_session
    for each in opened:
        each.close()


def publish(bus: EventBus, data: Any = 1, **options: Any) -> Event:
    """The fact that these tests publish again and again."""
    return bus.publish("order.created", data, **{"source": "orders", "idempotency_key": "order-1", **options})


def draft(data: Any = 1, key: str | None = "order-1", **fields: Any) -> Draft:
    """The same fact, for publish_many."""
    return Draft(**{"type": "order.created", "data": data, "source": "orders", "idempotency_key": key, **fields})


def test_a_repeat_returns_the_first_event_and_records_nothing(
    subscribed: EventBus, rows: Rows, messages: Messages
) -> None:
    """Same id, data, metadata and time; nobody is woken again."""
    first = publish(subscribed, {"b": 1, "a": [1.5]}, correlation_id="story", headers={"h": "1"})

    repeat = publish(subscribed, {"a": [1.5], "b": 1}, correlation_id="another", headers={})

    assert repeat == first
    assert (rows.count("event_log"), rows.count("delivery"), rows.count("publish_key")) == (1, 1, 1)
    assert len(messages("a")) == 1


def test_with_a_key_the_usual_publish_is_one_statement(bus: EventBus) -> None:
    """Only a repeat asks a second time, for the event."""
    publish(bus, idempotency_key="warm")

    with statements(bus.database) as fresh:
        publish(bus)
    with statements(bus.database) as repeated:
        publish(bus)

    assert (len(fresh), len(repeated)) == (1, 2)


@pytest.mark.parametrize("other", [{"data": 2}, {"data": 1, "version": 2}, {"data": True}, {"data": 1.5}], ids=str)
def test_other_data_under_a_key_is_a_conflict(bus: EventBus, rows: Rows, other: dict[str, Any]) -> None:
    """The error names the key and the event that has it; nothing is recorded."""
    first = publish(bus)

    with pytest.raises(IdempotencyConflict) as caught:
        publish(bus, **other)

    error = caught.value
    assert (error.source, error.key, error.event_id, error.index) == ("orders", "order-1", first.id, None)
    assert str(first.id) in str(error)
    assert (rows.count("event_log"), rows.count("publish_key")) == (1, 1)


def test_a_conflict_behind_items_that_are_repeats_is_named_by_its_own_place(bus: EventBus, rows: Rows) -> None:
    """What PostgreSQL is asked for leaves out an item that another one of the call repeats."""
    first = publish(bus)

    with pytest.raises(IdempotencyConflict) as caught:
        bus.publish_many([*[draft(3, key="new")] * 3, draft(2)])

    assert (caught.value.event_id, caught.value.index) == (first.id, 3)
    assert rows.count("event_log") == 1


def test_another_type_under_a_key_is_a_conflict(bus: EventBus) -> None:
    """A key names one fact, whatever its type."""
    publish(bus)

    with pytest.raises(IdempotencyConflict):
        bus.publish("order.paid", 1, source="orders", idempotency_key="order-1")


def test_a_key_belongs_to_its_source(bus: EventBus, rows: Rows) -> None:
    """Two services need not agree on keys."""
    assert publish(bus).id != publish(bus, 2, source="shipping").id
    assert rows.count("event_log") == 2


@pytest.mark.parametrize("key", ["", " ", "x" * 201, 7, "a\nb", "\ud800"])
def test_a_key_that_cannot_be_used_is_refused(bus: EventBus, rows: Rows, key: Any) -> None:
    """Before anything is recorded."""
    with pytest.raises(InvalidInput, match="idempotency_key="):
        publish(bus, idempotency_key=key)

    assert rows.count("event_log") == 0


def test_a_key_is_kept_for_seven_days(bus: EventBus, rows: Rows) -> None:
    """To the last moment, and not one longer, whether or not somebody has tidied up."""
    first = publish(bus)
    rows.all("UPDATE eventbus.publish_key SET created_at = now() - interval '7 days' + interval '1 minute'")
    within = publish(bus)
    rows.all("UPDATE eventbus.publish_key SET created_at = now() - interval '7 days' - interval '1 second'")

    after = publish(bus, 2)

    assert within == first
    assert after.id != first.id
    assert rows.all("SELECT event_id FROM eventbus.publish_key") == [(str(after.id),)]
    assert publish(bus, 2) == after


def test_a_key_ends_with_its_event(bus: EventBus, rows: Rows) -> None:
    """An event that is no longer in the log cannot be returned: the fact is recorded anew."""
    first = publish(bus)
    rows.all("DELETE FROM eventbus.event_log")

    again = publish(bus)

    assert again.id != first.id
    assert rows.all("SELECT id FROM eventbus.event_log") == [(str(again.id),)]


def test_expired_keys_are_deleted_in_batches(database: Database, rows: Rows) -> None:
    """The oldest first; keys whose time is not over stay."""
    rows.all(
        "INSERT INTO eventbus.publish_key SELECT 'orders', n::text, gen_random_uuid(), sha256(''), "
        "now() - make_interval(days => n) FROM generate_series(5, 10) AS n"
    )

    with database.autocommit() as connection:
        deleted = [publish_keys.expire(connection, 2) for _ in range(3)]
        plan = connection.rows("EXPLAIN " + publish_keys.EXPIRE, kept=publish_keys.KEPT, limit=2)

    assert deleted == [2, 2, 0]
    assert rows.all("SELECT key FROM eventbus.publish_key ORDER BY 1") == [("5",), ("6",)]
    assert any("publish_key_created_idx" in row[0] for row in plan)


def test_a_key_is_looked_up_by_its_index(database: Database, rows: Rows) -> None:
    """However many keys there are."""
    rows.all(
        "INSERT INTO eventbus.publish_key SELECT 'orders', n::text, gen_random_uuid(), sha256(''), now() "
        "FROM generate_series(1, 5000) AS n"
    )
    rows.all("ANALYZE eventbus.publish_key")

    with database.autocommit() as connection:
        plan = connection.rows("EXPLAIN " + publish_keys.FIND, sources=["orders"], keys=["7"], digests=["00"])

    assert any("publish_key_pkey" in row[0] for row in plan)


# --- sessions ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_twice_in_one_transaction_is_one_event(
    subscribed: EventBus, session: Callable[[str], Session], rows: Rows, messages: Messages, isolation: str
) -> None:
    """It sees its own key, in every isolation level."""
    transaction = session(isolation)

    first, repeat = publish(subscribed, session=transaction), publish(subscribed, session=transaction)
    transaction.commit()

    assert repeat == first
    assert (rows.count("event_log"), len(messages("a"))) == (1, 1)


def test_a_key_of_a_transaction_that_rolls_back_is_free(bus: EventBus, session: Callable[..., Session]) -> None:
    """Event and key exist together or not at all."""
    transaction = session()
    lost = publish(bus, session=transaction)
    transaction.rollback()

    assert publish(bus, 2).id != lost.id


@pytest.mark.parametrize("many", [False, True])
def test_a_transaction_older_than_the_first_publish_gets_its_event(
    subscribed: EventBus, session: Callable[[str], Session], rows: Rows, messages: Messages, many: bool
) -> None:
    """REPEATABLE READ cannot see it, but it is there: it is read on another connection, and the transaction goes on."""
    transaction = session("REPEATABLE READ")
    first = publish(subscribed)

    if many:
        drafts = [draft(5, key="new"), draft(), draft(6, key=None)]
        events = subscribed.publish_many(drafts, session=transaction)
    else:
        events = [publish(subscribed, 5, idempotency_key="new", session=transaction)]
        events += [
            publish(subscribed, session=transaction),
            publish(subscribed, 6, idempotency_key=None, session=transaction),
        ]
    transaction.commit()

    assert events[1] == first
    assert rows.all("SELECT data FROM eventbus.event_log ORDER BY id") == [(1,), (5,), (6,)]
    assert len(messages("a")) == 3


@pytest.mark.parametrize("many", [False, True])
def test_a_transaction_older_than_the_first_publish_sees_a_conflict(
    bus: EventBus, session: Callable[[str], Session], rows: Rows, many: bool
) -> None:
    """Other data is other data, whatever the snapshot shows; nothing is recorded, and the transaction goes on."""
    transaction = session("REPEATABLE READ")
    first = publish(bus)

    with pytest.raises(IdempotencyConflict) as caught:
        if many:
            bus.publish_many([draft(2, key=None), *[draft(3, key="new")] * 2, draft(2)], session=transaction)
        else:
            publish(bus, 2, session=transaction)
    kept = publish(bus, 9, idempotency_key="kept", session=transaction)
    transaction.commit()

    assert (caught.value.event_id, caught.value.index) == (first.id, 3 if many else None)
    assert rows.all("SELECT id FROM eventbus.event_log ORDER BY id") == [(str(first.id),), (str(kept.id),)]


def test_a_serializable_transaction_is_told_to_repeat(
    bus: EventBus, session: Callable[[str], Session], rows: Rows
) -> None:
    """It may not know what its snapshot does not: repeated, it gets the first event."""
    transaction = session("SERIALIZABLE")
    first = publish(bus)

    with pytest.raises(PublishBusy, match="roll back, then publish again"):
        publish(bus, session=transaction)
    transaction.rollback()
    transaction.connection(execution_options={"isolation_level": "SERIALIZABLE"})

    assert publish(bus, session=transaction) == first


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("many", [False, True])
def test_a_key_in_use_by_a_transaction_is_waited_for_but_not_forever(
    bus: EventBus, session: Callable[..., Session], rows: Rows, isolation: str, many: bool
) -> None:
    """PublishBusy: nothing was recorded, and the caller's transaction is as it was, its own limits included."""
    holder, waiter = session(), session(isolation)
    waiter.execute(text("SET LOCAL lock_timeout = '7s'"))
    publish(bus, session=holder)

    with pytest.raises(PublishBusy, match="in use by another transaction"):
        if many:
            bus.publish_many([draft(), draft(7, key="other")], session=waiter)
        else:
            publish(bus, session=waiter)
    limit = waiter.execute(text("SHOW lock_timeout")).scalar()
    holder.rollback()
    event = publish(bus, session=waiter)
    waiter.commit()

    assert limit == "7s"
    assert rows.all("SELECT id FROM eventbus.event_log") == [(str(event.id),)]


@pytest.mark.usefixtures("impatient")
def test_no_limit_of_ours_outlives_the_statement(bus: EventBus, database: Database) -> None:
    """A proxy may give the connection to somebody else between two statements."""
    publish(bus)
    publish(bus)

    with database.autocommit() as connection:
        assert connection.value("SHOW lock_timeout") == "0"


def test_a_holder_whose_time_runs_out_at_that_moment_is_worth_a_repeat(bus: EventBus) -> None:
    """The one snapshot still shows the key as taken, the other as free: PublishBusy, not a loop."""
    entry = bus._publisher._prepare(draft(), origin_of(None), draw_uuids(2))

    with pytest.raises(PublishBusy):
        recording._read_elsewhere(bus.database, [entry], numbers=[0])


def test_an_async_session_takes_keys_too(subscribed: EventBus, database_url: str, rows: Rows) -> None:
    """Another driver, the same promise."""

    async def twice() -> list[Event]:
        engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"))
        async with AsyncSession(engine) as session:
            first = await session.run_sync(lambda inner: publish(subscribed, session=inner))
            many = await session.run_sync(
                lambda inner: subscribed.publish_many([draft(), draft(2, key=None)], session=inner)
            )
            await session.commit()
        await engine.dispose()
        return [first, *many]

    first, repeat, new = asyncio.run(twice())

    assert repeat == first
    assert rows.all("SELECT id FROM eventbus.event_log ORDER BY id") == [(str(first.id),), (str(new.id),)]


def test_an_async_session_of_repeatable_read_reads_elsewhere(bus: EventBus, database_url: str) -> None:
    """The lookup on another connection does not depend on the session's driver."""

    async def late() -> tuple[Event, Event]:
        engine = create_async_engine(
            database_url.replace("postgresql://", "postgresql+asyncpg://"), isolation_level="REPEATABLE READ"
        )
        async with AsyncSession(engine) as session:
            await session.execute(text("SELECT count(*) FROM eventbus.publish_key"))
            first = await asyncio.to_thread(publish, bus)
            repeat = await session.run_sync(lambda inner: publish(bus, session=inner))
            await session.commit()
        await engine.dispose()
        return first, repeat

    first, repeat = asyncio.run(late())

    assert repeat == first


# --- races ---------------------------------------------------------------------------------------------------------------


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """What *actions* return or raise, each in a thread of its own, started together."""
    barrier = threading.Barrier(len(actions))
    results: list[Any] = [None] * len(actions)

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = actions[number]()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


@pytest.mark.parametrize("many", [False, True])
def test_two_publishers_at_once_record_one_event(make_bus: MakeBus, rows: Rows, many: bool) -> None:
    """Both return it."""
    buses = [make_bus() for _ in range(4)]

    for number in range(15):
        key = f"order-{number}"

        def act(bus: EventBus, key: str = key) -> Event:
            if many:
                return bus.publish_many([draft(key=f"{key}-b"), draft(key=key), draft(key=f"{key}-a")])[1]
            return publish(bus, idempotency_key=key)

        events = at_once(*(lambda bus=bus: act(bus) for bus in buses))  # type: ignore[misc]

        assert len({event.id for event in events}) == 1, events
    assert rows.count("event_log") == (45 if many else 15)


def test_two_batches_with_the_same_keys_in_another_order_do_not_wait_in_a_circle(make_bus: MakeBus, rows: Rows) -> None:
    """Keys are taken in key order."""
    one, two = make_bus(), make_bus()

    for number in range(10):
        drafts = [draft(n, key=f"{number}-{n}") for n in range(100)]
        forward, backward = at_once(
            lambda drafts=drafts: one.publish_many(drafts),  # type: ignore[misc]
            lambda drafts=drafts: two.publish_many(reversed(drafts)),  # type: ignore[misc]
        )

        assert [event.id for event in forward] == [event.id for event in reversed(backward)]
    assert rows.count("event_log") == 1000


def blocked(rows: Rows) -> bool:
    """Whether somebody waits for a lock."""
    return bool(rows.waiting())


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("commits", [True, False])
def test_a_publisher_waits_for_the_transaction_that_has_the_key(
    make_bus: MakeBus, session: Callable[..., Session], rows: Rows, isolation: str, commits: bool
) -> None:
    """It returns the holder's event if that commits, and records its own if not; a SERIALIZABLE one repeats."""
    bus, other = make_bus(), make_bus()
    holder, waiter = session(), session(isolation)
    held = publish(bus, session=holder)
    result: list[Any] = []

    def wait() -> None:
        try:
            result.append(publish(other, session=waiter))
        except PublishBusy as error:
            result.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: blocked(rows), message="the second publisher to wait")
    if commits:
        holder.commit()
    else:
        holder.rollback()
    thread.join(10)
    waiter.commit()

    [found] = result
    assert rows.count("event_log") == 1
    if commits and isolation == "SERIALIZABLE":
        assert isinstance(found, PublishBusy)
    else:
        assert (found == held) is commits


def test_two_transactions_that_wait_for_each_other_end(
    make_bus: MakeBus, session: Callable[..., Session], rows: Rows
) -> None:
    """Keys of several statements may be taken in a circle: one is told, and both can go on."""
    one, two = session(), session()
    bus, other = make_bus(), make_bus()
    publish(bus, idempotency_key="x", session=one)
    publish(other, idempotency_key="y", session=two)

    def cross(bus: EventBus, mine: Session, key: str) -> Any:
        try:
            return publish(bus, idempotency_key=key, session=mine)
        except PublishBusy as error:
            mine.rollback()
            return error
        finally:
            mine.commit()

    results = at_once(lambda: cross(bus, one, "y"), lambda: cross(other, two, "x"))

    assert any(isinstance(result, PublishBusy) for result in results)
    assert all(isinstance(result, Event | PublishBusy) for result in results)
    assert rows.value("SELECT count(DISTINCT key) = count(*) FROM eventbus.publish_key")


def test_the_isolation_of_an_engine_counts_too(bus: EventBus, database_url: str) -> None:
    """Some services set it once for all sessions."""
    engine = sqlalchemy.create_engine(
        database_url.replace("postgresql://", "postgresql+psycopg2://"), isolation_level="REPEATABLE READ"
    )
    with Session(engine) as transaction:
        transaction.execute(text("SELECT count(*) FROM eventbus.publish_key"))
        first = publish(bus)

        assert publish(bus, session=transaction) == first
    engine.dispose()
