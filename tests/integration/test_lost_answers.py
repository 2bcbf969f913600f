"""A connection that is lost while a publish commits: the publisher is told the truth, or that nobody can tell it."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventbus import Draft, EventBus
from eventbus.embedded import EmbeddedPostgres
from eventbus.errors import DatabaseUnreachable, IdempotencyConflict, PublishUncertain
from eventbus.lifecycle import certainty
from eventbus.storage import backends
from eventbus.storage.backends import Attempt
from eventbus.storage.database import Database
from eventbus.storage.event_log import Entry
from tests.integration.conftest import MakeBus
from tests.support import wait_until
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.rows import Rows

Messages = Callable[[str], list[dict[str, Any]]]
KEYS = pytest.mark.parametrize("key", [None, "k"], ids=["without key", "with key"])
#: In the statements that record, and in no other.
RECORDS = "INSERT INTO eventbus.event_log"


@pytest.fixture
def pooling_proxy(database_url: str) -> Iterator[FaultProxy]:
    """One that tells no true backend numbers."""
    with FaultProxy(database_url, hides_backends=True) as started:
        yield started


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishers ask for a moment only."""
    monkeypatch.setattr(certainty, "_ASKING_SECONDS", 0.3)


@pytest.fixture
def through(make_bus: MakeBus) -> Callable[[FaultProxy], EventBus]:
    """A function that makes a bus, with a warm connection, whose database is behind a proxy."""

    def make(proxy: FaultProxy) -> EventBus:
        bus = make_bus(database_url=proxy.url)
        bus.subscribe("#", group="a", handler=lambda event: None)
        bus.sync()
        return bus

    return make


@pytest.fixture
def bus(through: Callable[[FaultProxy], EventBus], proxy: FaultProxy) -> EventBus:
    """A bus behind the proxy."""
    return through(proxy)


def publish(bus: EventBus, key: str | None = None, data: Any = 1) -> Any:
    """The fact that these tests publish."""
    return bus.publish("order.created", data, source="orders", idempotency_key=key, correlation_id="story")


def drafts(count: int, key: str | None = None) -> list[Draft]:
    """Many of them, of one story."""
    return [
        Draft(
            type="order.created",
            data=n,
            source="orders",
            correlation_id="story",
            idempotency_key=key and f"{key}{n}",
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("keep_server_side", [False, True], ids=["closed", "silent"])
@pytest.mark.parametrize("fault", [Fault.UNANSWERED, Fault.ANSWERED])
@KEYS
def test_an_event_that_was_recorded_is_returned_and_its_groups_are_woken(
    bus: EventBus,
    proxy: FaultProxy,
    rows: Rows,
    messages: Messages,
    fault: Fault,
    key: str | None,
    keep_server_side: bool,
) -> None:
    """The caller never learns that the answer was lost on its way; nothing is recorded twice."""
    for data in range(2):  # other events of the same story are none of it
        publish(bus, data=data)
    proxy.lose(fault, RECORDS, keep_server_side=keep_server_side)

    try:
        event = publish(bus, key)
    except DatabaseUnreachable:
        # Cut off before the backend had begun: then nothing was recorded, which is what the error says.
        assert (fault, key) == (Fault.UNANSWERED, None)
        event = publish(bus, key)

    assert proxy.lost == 1
    assert rows.all("SELECT id FROM eventbus.event_log ORDER BY id OFFSET 2") == [(str(event.id),)]
    assert [message["headers"]["argsrepr"].split()[1] for message in messages("a")[2:]] == [str(event.id)]
    assert event.metadata == {
        "correlation_id": "story",
        "causation_id": None,
        "headers": {},
        "timestamp": event.created_at.isoformat(),
    }


@pytest.mark.parametrize("keep_server_side", [False, True], ids=["closed", "silent"])
def test_an_event_that_never_reached_the_server_was_not_recorded(
    bus: EventBus, proxy: FaultProxy, rows: Rows, messages: Messages, keep_server_side: bool
) -> None:
    """The error says so, and it is true for good."""
    backend = rows.value(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'eventbus' AND datname = current_database()"
    )
    proxy.lose(Fault.BEFORE, RECORDS, keep_server_side=keep_server_side)

    with pytest.raises(DatabaseUnreachable, match="nothing was recorded"):
        publish(bus)

    assert (proxy.lost, rows.count("event_log"), messages("a")) == (1, 0, [])
    assert rows.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", backend) == 0


def test_with_a_key_an_event_that_never_reached_the_server_is_published_again(
    bus: EventBus, proxy: FaultProxy, rows: Rows, messages: Messages
) -> None:
    """A key makes that safe; also when the second attempt is lost too."""
    proxy.lose(Fault.BEFORE, RECORDS, times=2)

    event = publish(bus, "k")

    assert proxy.lost == 2
    assert rows.all("SELECT id FROM eventbus.event_log") == [(str(event.id),)]
    assert len(messages("a")) == 1


@KEYS
def test_a_statement_that_still_runs_is_ended_before_the_log_is_read(
    bus: EventBus, proxy: FaultProxy, rows: Rows, key: str | None
) -> None:
    """It waits for a lock when its client is lost: read at once, the log would lie."""
    publish(bus, key and "warm", data="warm")
    with rows.transaction() as blocker:
        blocker.execute("LOCK TABLE eventbus.event_log IN SHARE MODE")
        proxy.lose(Fault.UNANSWERED, RECORDS)
        result: list[Any] = []

        def attempt() -> None:
            try:
                result.append(publish(bus, key))
            except DatabaseUnreachable as error:
                result.append(error)

        thread = threading.Thread(target=attempt)
        thread.start()
        wait_until(lambda: proxy.lost == 1)
        if key is None:
            thread.join(10)
            assert not thread.is_alive()
        blocker.connection.rollback()
        thread.join(10)

    [found] = result
    if key is None:
        assert isinstance(found, DatabaseUnreachable)
        assert rows.count("event_log") == 1
    else:
        assert rows.all("SELECT id FROM eventbus.event_log ORDER BY id OFFSET 1") == [(str(found.id),)]


@pytest.mark.usefixtures("briefly")
@KEYS
@pytest.mark.parametrize("fault", list(Fault))
def test_where_nobody_can_be_asked_the_outcome_is_uncertain(
    bus: EventBus, proxy: FaultProxy, rows: Rows, fault: Fault, key: str | None
) -> None:
    """PublishUncertain, within the time of asking; with its key a repeat is safe."""
    proxy.lose(fault, RECORDS, then_refuse=True)

    with pytest.raises(PublishUncertain) as caught:
        publish(bus, key)
    proxy.refuses = False

    assert (caught.value.type, caught.value.idempotency_key) == ("order.created", key)
    assert isinstance(caught.value.__cause__, DatabaseUnreachable)
    if key is not None:
        event = publish(bus, key)
        assert rows.all("SELECT id FROM eventbus.event_log") == [(str(event.id),)]


def test_a_server_that_was_never_reached_is_not_uncertain(bus: EventBus, proxy: FaultProxy, rows: Rows) -> None:
    """No connection, no statement: the usual error at once."""
    bus.database.dispose()
    proxy.refuses = True

    with pytest.raises(DatabaseUnreachable, match="cannot be reached"):
        publish(bus, "k")


def test_a_refusal_of_the_server_is_not_a_lost_answer(
    bus: EventBus, rows: Rows, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has answered: it is read-only, and nothing needs to be asked."""
    monkeypatch.setattr(certainty, "_settle", None)
    rows.all(f"ALTER DATABASE {database_url.rpartition('/')[2]} SET default_transaction_read_only = on")
    bus.database.dispose()

    with pytest.raises(DatabaseUnreachable, match="is read-only"):
        publish(bus)


def test_a_repeat_after_a_lost_answer_sees_a_conflict(bus: EventBus, proxy: FaultProxy, rows: Rows) -> None:
    """What an earlier event has is not the lost one's."""
    publish(bus, "k", data=1)
    proxy.lose(Fault.ANSWERED, RECORDS)

    with pytest.raises(IdempotencyConflict):
        publish(bus, "k", data=2)

    assert rows.count("event_log") == 1


def test_a_repeat_of_an_earlier_event_wakes_nobody(
    bus: EventBus, proxy: FaultProxy, rows: Rows, messages: Messages
) -> None:
    """Only what the lost attempt itself recorded is new."""
    first = publish(bus, "k")
    proxy.lose(Fault.ANSWERED, RECORDS)

    repeat = publish(bus, "k")

    assert (repeat, proxy.lost, len(messages("a"))) == (first, 1, 1)


# --- batches -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "k", "mixed"])
def test_a_batch_whose_answer_was_lost_is_returned_whole(
    bus: EventBus, proxy: FaultProxy, rows: Rows, messages: Messages, key: str | None
) -> None:
    """Recorded once, in order, and the group is woken as ever; keys that were used before keep their events."""
    given = drafts(50, None if key == "mixed" else key)
    if key == "mixed":
        given[10], given[20] = drafts(50, "k")[10], drafts(50, "k")[10]
        given[30] = drafts(50, "k")[30]
        earlier = publish(bus, "k30", data=30)
    proxy.lose(Fault.ANSWERED, RECORDS)

    events = bus.publish_many(given)

    assert proxy.lost == 1
    assert [event.data for event in events] == [10 if key == "mixed" and n == 20 else n for n in range(50)]
    stored = [id for (id,) in rows.all("SELECT id FROM eventbus.event_log ORDER BY id")]
    assert sorted({str(event.id) for event in events}) == stored
    assert rows.count("delivery") == len(stored)
    assert len(messages("a")) in range(17, 20)
    if key == "mixed":
        assert events[30] == earlier
        assert events[20] == events[10]


def test_a_batch_that_never_reached_the_server_says_which_ones_did(
    bus: EventBus, proxy: FaultProxy, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`recorded` holds the batches before."""
    monkeypatch.setattr("eventbus.lifecycle.publishing.BATCH_EVENTS", 10)

    def source() -> Iterator[Draft]:
        for n, draft in enumerate(drafts(30)):
            if n == 10:
                proxy.lose(Fault.BEFORE, RECORDS)
            yield draft

    with pytest.raises(
        DatabaseUnreachable, match=r"item 10 \(items 0 to 9 recorded\): .* nothing was recorded"
    ) as caught:
        bus.publish_many(source())

    assert caught.value.index == 10
    assert [event.data for event in caught.value.recorded] == list(range(10))
    assert rows.count("event_log") == 10


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize(("key", "mixes", "told"), [(None, False, None), ("k", False, "k0"), ("k", True, None)])
def test_an_uncertain_batch_can_be_repeated_if_every_item_has_a_key(
    bus: EventBus, proxy: FaultProxy, rows: Rows, key: str | None, mixes: bool, told: str | None
) -> None:
    """The error says whether it can."""
    given = drafts(5, key)
    if mixes:
        given[3] = drafts(5)[3]
    proxy.lose(Fault.ANSWERED, RECORDS, then_refuse=True)

    with pytest.raises(PublishUncertain) as caught:
        bus.publish_many(given)
    proxy.refuses = False

    assert (caught.value.idempotency_key, caught.value.index) == (told, 0)
    if told:
        bus.publish_many(given)
        assert rows.count("event_log") == 5


# --- behind a pooling proxy ------------------------------------------------------------------------------------------------


def test_behind_a_pooling_proxy_a_recorded_event_is_found(
    through: Callable[[FaultProxy], EventBus], pooling_proxy: FaultProxy, rows: Rows
) -> None:
    """Backend numbers mean nothing there; the log does."""
    bus = through(pooling_proxy)
    pooling_proxy.lose(Fault.ANSWERED, RECORDS)

    event = publish(bus)

    assert rows.all("SELECT id FROM eventbus.event_log") == [(str(event.id),)]


def test_behind_a_pooling_proxy_a_running_statement_is_ended(
    through: Callable[[FaultProxy], EventBus], pooling_proxy: FaultProxy, rows: Rows
) -> None:
    """Its backend is known by the statement's own text; once it has ended, the log tells the truth."""
    bus = through(pooling_proxy)
    publish(bus, data="warm")
    with rows.transaction() as blocker:
        blocker.execute("LOCK TABLE eventbus.event_log IN SHARE MODE")
        pooling_proxy.lose(Fault.UNANSWERED, RECORDS, keep_server_side=True)
        result: list[BaseException] = []

        def attempt() -> None:
            try:
                publish(bus)
            except (DatabaseUnreachable, PublishUncertain) as error:
                result.append(error)

        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join(10)
        blocker.connection.rollback()

    # Asked before the server had read it, it is uncertain; what is never said is that an event was not recorded that was.
    assert {type(error) for error in result} <= {DatabaseUnreachable, PublishUncertain}
    assert len(result) == 1
    assert rows.count("event_log") == 1


@pytest.mark.usefixtures("briefly")
def test_behind_a_pooling_proxy_a_missing_event_is_uncertain(
    through: Callable[[FaultProxy], EventBus], pooling_proxy: FaultProxy, rows: Rows
) -> None:
    """The proxy may still pass it on: "nothing was recorded" could become untrue."""
    bus = through(pooling_proxy)
    pooling_proxy.lose(Fault.BEFORE, RECORDS)

    with pytest.raises(PublishUncertain):
        publish(bus)


# --- what is asked ---------------------------------------------------------------------------------------------------------


def test_another_backend_of_the_same_number_is_left_alone(database: Database, rows: Rows) -> None:
    """One that began after the attempt is not the lost one, nor is another user's."""
    me = rows.value("SELECT pg_backend_pid()")
    young = Attempt(pid=me, token="0", started_seconds=0.0)

    with database.autocommit() as connection:
        ended = backends.end(connection, young)

    assert ended
    assert rows.value("SELECT 1") == 1


@pytest.mark.usefixtures("briefly")
def test_a_standby_is_not_asked(bus: EventBus, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not have heard of the commit: its "no" would be worth nothing."""
    monkeypatch.setattr(backends, "is_primary", lambda connection: False)
    proxy.lose(Fault.ANSWERED, RECORDS)

    with pytest.raises(PublishUncertain):
        publish(bus)


def test_a_batch_of_which_a_part_is_gone_is_uncertain(bus: EventBus, database: Database, rows: Rows) -> None:
    """A key's event that was erased at that moment leaves a hole that nobody may fill with a guess."""
    entry = Entry(
        type="order.created",
        version=1,
        source="orders",
        data=b"0",
        size_bytes=1,
        value=0,
        metadata={"correlation_id": "story"},
        token="0",
        key="k",
        digest=b"0" * 32,
    )

    with database.autocommit() as connection, pytest.raises(certainty._CannotTell):
        certainty._with_held(connection, [entry], {})


def test_a_killed_server_leaves_no_doubt_once_it_is_back(
    postgres: EmbeddedPostgres, make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publisher waits for it, within the time of asking, and learns what became of its event."""
    monkeypatch.setattr(certainty, "_ASKING_SECONDS", 15.0)
    bus = make_bus(database_url=postgres.url)
    publish(bus)
    rows = Rows(postgres.url)
    result: list[Any] = []

    def attempt() -> None:
        try:
            result.append(publish(bus, "k"))
        except PublishUncertain as error:
            result.append(error)

    with rows.transaction() as blocker:
        blocker.execute("LOCK TABLE eventbus.event_log IN ACCESS EXCLUSIVE MODE")
        thread = threading.Thread(target=attempt)
        thread.start()
        wait_until(lambda: rows.waiting() == 1)
        postgres.kill()
    postgres.start()
    thread.join(20)

    [event] = result
    assert Rows(postgres.url).all("SELECT id FROM eventbus.event_log ORDER BY id OFFSET 1") == [(str(event.id),)]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    faults=st.lists(st.tuples(st.sampled_from([None, *Fault]), st.booleans(), st.booleans()), min_size=1, max_size=4)
)
def test_whatever_is_lost_the_publisher_is_told_the_truth(
    bus: EventBus, proxy: FaultProxy, rows: Rows, faults: list[tuple[Fault | None, bool, bool]]
) -> None:
    """Returned: recorded once. DatabaseUnreachable: not recorded. With a key, always returned."""
    rows.all("TRUNCATE eventbus.event_log, eventbus.delivery, eventbus.publish_key")
    expected = []
    for n, (fault, has_key, silent) in enumerate(faults):
        if fault is not None:
            proxy.lose(fault, RECORDS, keep_server_side=silent)
        try:
            expected.append((str(publish(bus, f"k{n}" if has_key else None, data=n).id), n))
        except DatabaseUnreachable:
            assert not has_key

    assert rows.all("SELECT id, data FROM eventbus.event_log ORDER BY id") == expected
