"""Statistics: exact whatever commits late, dies or happens twice; from PostgreSQL alone, and countable again from rows."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
import redis

from eventbus import EventBus
from eventbus.embedded import EmbeddedValkey
from eventbus.errors import DatabaseBusy
from eventbus.lifecycle import counting
from eventbus.storage import traffic
from eventbus.storage.database import Database
from eventbus.storage.overview import GroupStats, TypeStats
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support import requirements
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns
from tests.support.waiting import wait_until

#: An event with an id of some time ago, as a transaction leaves that commits late.
APPEND = """
INSERT INTO eventbus.event_log (id, type, version, source, data, metadata, created_at)
SELECT eventbus.uuid_v7(at, gen_random_uuid()), %s, 1, 'tests', '{}', '{"correlation_id": "late"}', at
FROM (SELECT clock_timestamp() - %s::interval AS at) AS clock
"""
COUNTED = "SELECT minute, type, group_name, published, consumed FROM eventbus.traffic ORDER BY 1, 2, 3"
#: What was tallied lies some minutes back.
AGE_TALLIES = "UPDATE eventbus.traffic_tally SET minute = minute - interval '5 minutes'"
#: Spans were counted an hour ago, but for one of the last minute, if one began meanwhile: it has to end after it started.
AGE_SPANS = """
UPDATE eventbus.traffic_span SET ended_at = ended_at - interval '61 minutes' WHERE started_at < ended_at - interval '61 minutes'
"""


def fill(rows: Rows, count: int) -> None:
    """Write *count* events of more than an hour ago, ten a minute, into the log."""
    rows.all(
        "INSERT INTO eventbus.event_log (id, type, version, source, data, metadata, created_at) "
        "SELECT eventbus.uuid_v7(at, gen_random_uuid()), 'order.created', 1, 'tests', '{}', '{\"correlation_id\": \"c\"}', at "
        "FROM generate_series(1, %s) AS n CROSS JOIN LATERAL "
        "(SELECT now() - interval '1 hour' - n * interval '6 s' AS at) AS clock",
        count,
    )


def fail(event: Any) -> None:
    raise KeyError("sku")


@pytest.fixture
def execution(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of ``stock``, which handles orders, and of ``mail``, which fails at each and never retries."""
    bus.subscribe("order.*", group="stock", handler=lambda event: None)
    bus.subscribe("order.*", group="mail", handler=fail, max_retries=0)
    return worker()


@pytest.fixture
def impatient(bus: EventBus, rows: Rows) -> None:
    """Whoever waits for a lock is told so after a second: a test that fails must not hang."""
    rows.all(f"ALTER DATABASE {rows.value('SELECT current_database()')} SET lock_timeout = '1s'")
    bus.database.dispose()


def run(execution: SingleRuns, group: str) -> int:
    """Handle all that is due; how many deliveries."""
    count = 0
    while (claimed := execution.take(group, None, task_id=None)) is not None:
        result = execution.run(claimed)
        if isinstance(result, BaseException):
            execution.fail(claimed, result)
        count += 1
    return count


WRITTEN = "SELECT started_at FROM eventbus.traffic_span WHERE writers <> '{}'"


def published(bus: EventBus) -> int:
    """How many events there are, as the bus says."""
    return bus.stats().published


def test_stats_tell_what_was_published_consumed_and_given_up(bus: EventBus, execution: SingleRuns) -> None:
    """In total, by type and by group; what is open is counted by group, and a group without work has a depth of 0."""
    for type in ("order.created", "order.created", "order.paid", "user.created"):
        bus.publish(type, {}, source="tests")
    run(execution, "mail")
    found = execution.take("stock", None, task_id=None)
    assert found is not None
    execution.run(found)

    stats = bus.stats()

    assert (stats.published, stats.consumed, stats.dead) == (4, 1, 3)
    assert stats.queue_depths == {"mail": 0, "stock": 2}
    assert stats.by_type == {
        "order.created": TypeStats(published=2, consumed=1, dead=2),
        "order.paid": TypeStats(published=1, dead=1),
        "user.created": TypeStats(published=1),
    }
    assert stats.by_group == {"mail": GroupStats(dead=3), "stock": GroupStats(consumed=1, depth=2)}
    bus.discard_dead_letters("order.paid", group="mail", reason="a test order")
    assert (bus.stats().dead, len(bus.dead_letters().items)) == (2, 2)


def test_an_empty_bus_has_zeroes(bus: EventBus) -> None:
    """Nothing is no special case."""
    stats = bus.stats()

    assert (stats.published, stats.consumed, stats.dead, stats.queue_depths, stats.by_type) == (0, 0, 0, {}, {})


def test_what_happened_is_in_the_numbers_at_once(bus: EventBus, execution: SingleRuns) -> None:
    """Also between two counts: nobody waits for a minute to end."""
    seen = []
    for _ in range(3):
        bus.publish("order.created", {}, source="tests")
        run(execution, "stock")
        stats = bus.stats()
        seen.append((stats.published, stats.consumed))

    assert seen == [(1, 1), (2, 2), (3, 3)]


def test_the_broker_has_no_part_in_the_numbers(make_bus: MakeBus, worker: MakeWorker, valkey: EmbeddedValkey) -> None:
    """They are the same after FLUSHALL, and when it is gone: only its own depth, shown beside them, is not known then."""
    bus = make_bus(broker_url=valkey.url)
    bus.subscribe("#", group="stock", handler=lambda event: None)
    execution = worker(bus)
    for _ in range(3):
        bus.publish("order.created", {}, source="tests")
    claimed = execution.take("stock", None, task_id=None)
    assert claimed is not None
    execution.run(claimed)
    before, depths = bus.stats(), [bus.broker_depths(["stock"])]

    flush(valkey.url)
    flushed = bus.stats()
    depths.append(bus.broker_depths(["stock"]))
    valkey.stop()
    gone = bus.stats()
    depths.append(bus.broker_depths(["stock"]))

    assert before == flushed == gone
    assert before.queue_depths == {"stock": 2}
    assert depths == [{"stock": 3}, {"stock": 0}, None]


def flush(url: str) -> None:
    """FLUSHALL."""
    with closing(redis.Redis.from_url(url)) as client:
        client.flushall()


def test_a_delivery_that_is_done_again_counts_again(bus: EventBus, worker: MakeWorker, rows: Rows) -> None:
    """Replays are included, skipped ones are not; and counting anew from the rows finds the same numbers, minute by minute."""
    bus.subscribe("order.*", group="stock", handler=lambda event: None)
    bus.subscribe("user.*", group="stock", handler=lambda event: None, replay="skip")
    execution = worker()
    bus.publish("order.created", {}, source="tests")
    bus.publish("user.created", {}, source="tests")
    run(execution, "stock")
    for _ in range(2):
        bus.replay("#", group="stock")
        run(execution, "stock")
    age(rows, "5 minutes")
    counted = bus.stats()
    by_minute = rows.all(COUNTED)

    bus.recount()

    assert counted.by_type["order.created"] == TypeStats(published=1, consumed=3)
    assert counted.by_type["user.created"] == TypeStats(published=1, consumed=1)
    assert bus.stats() == counted
    assert rows.all(COUNTED) == by_minute


def age(rows: Rows, by: str) -> None:
    """Let all that has happened so far have happened earlier."""
    rows.all(
        f"""
        WITH events AS (
            UPDATE eventbus.event_log
            SET created_at = created_at - interval '{by}', id = eventbus.uuid_v7(created_at - interval '{by}', id)
        ), tallies AS (
            UPDATE eventbus.traffic_tally SET minute = minute - interval '{by}'
        )
        UPDATE eventbus.delivery AS d
        SET finished_at = finished_at - interval '{by}',
            done_before = ARRAY(SELECT at - interval '{by}' FROM unnest(done_before) AS at),
            event_id = eventbus.uuid_v7(e.created_at - interval '{by}', e.id)
        FROM eventbus.event_log AS e WHERE e.id = d.event_id
        """
    )


def test_a_delivery_that_is_replayed_while_it_runs_is_done_once(
    bus: EventBus, execution: SingleRuns, rows: Rows
) -> None:
    """The first run ends without making it done."""
    bus.publish("order.created", {}, source="tests")
    claimed = execution.take("stock", None, task_id=None)
    assert claimed is not None
    bus.replay("#", group="stock")
    execution.run(claimed)
    between = bus.stats().consumed
    run(execution, "stock")

    assert (between, bus.stats().consumed) == (0, 1)
    bus.recount()
    assert bus.stats().consumed == 1


def test_a_run_that_lost_its_claim_counts_nothing(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Whoever settles first is counted, nobody else."""
    bus.publish("order.created", {}, source="tests")
    first = execution.take("stock", None, task_id=None)
    rows.all("UPDATE eventbus.delivery SET due_at = clock_timestamp() - interval '1 second' WHERE group_name = 'stock'")
    second = execution.take("stock", None, task_id=None)
    assert first is not None
    assert second is not None
    execution.run(second)
    execution.run(first)

    assert bus.stats().consumed == 1


def settle(bus: EventBus, rows: Rows) -> None:
    """Count until nobody is known to have been writing meanwhile, in whatever database of the server."""

    def is_settled() -> bool:
        counting.count_traffic(bus.database)
        with bus.database.autocommit() as connection:
            return not traffic.is_due(connection) and not rows.all(WRITTEN)

    wait_until(is_settled)


def test_an_event_that_appears_behind_the_count_is_counted(bus: EventBus, rows: Rows) -> None:
    """Its id is of the moment it was published; its transaction commits when that minute was counted long since."""
    rows.all(APPEND, "order.created", "5 minutes")
    with rows.transaction() as early, rows.transaction() as cursor:
        early.execute("SELECT pg_current_xact_id()")
        cursor.execute(APPEND, ("order.created", "5 minutes"))
        rows.all(APPEND, "order.created", "5 minutes")
        seen = [published(bus)]
        spans = rows.value("SELECT count(*) FROM eventbus.traffic_span WHERE cardinality(writers) >= 2")
        cursor.connection.commit()
        seen.append(published(bus))
        early.execute(APPEND, ("order.paid", "3 minutes"))
        early.connection.commit()
        seen.append(published(bus))

    assert (seen, spans) == ([2, 3, 4], 1)
    assert rows.value("SELECT sum(published) FROM eventbus.traffic") == 4


def test_an_event_of_the_newest_transaction_is_counted_too(bus: EventBus, rows: Rows) -> None:
    """A snapshot does not list those whose number is beyond the last that has ended."""
    rows.all("SELECT pg_current_xact_id()")
    with rows.transaction() as cursor:
        cursor.execute(APPEND, ("order.created", "5 minutes"))
        before = published(bus)
        cursor.connection.commit()

    assert (before, published(bus)) == (0, 1)


def test_a_prepared_transaction_is_waited_for(request: pytest.FixtureRequest, bus: EventBus, rows: Rows) -> None:
    """Two-phase commit may take its time, and has no connection meanwhile."""
    if rows.value("SHOW max_prepared_transactions") == "0":
        requirements.skip(request.node, "a server with max_prepared_transactions")
    with rows.transaction() as cursor:
        cursor.execute(APPEND, ("order.created", "5 minutes"))
        cursor.execute("PREPARE TRANSACTION %s", (bus.settings.prefix,))
    before = published(bus)

    rows.all("COMMIT PREPARED %s", bus.settings.prefix)

    assert (before, published(bus)) == (0, 1)


def test_a_rolled_back_publish_is_never_counted(bus: EventBus, rows: Rows) -> None:
    """Neither before nor after."""
    with rows.transaction() as cursor:
        cursor.execute(APPEND, ("order.created", "5 minutes"))
        before = published(bus)
        cursor.connection.rollback()

    assert (before, published(bus)) == (0, 0)


def test_an_event_from_a_clock_that_went_back_is_found_by_the_second_look(bus: EventBus, rows: Rows) -> None:
    """Nobody was known to be writing when its minute was counted; an hour later it is counted all the same."""
    rows.all(APPEND, "order.created", "90 minutes")
    settle(bus, rows)
    rows.all(APPEND, "order.created", "90 minutes")
    before = published(bus)
    rows.all(AGE_SPANS)

    assert (before, published(bus)) == (1, 2)


def test_what_was_counted_is_not_read_again(bus: EventBus, rows: Rows) -> None:
    """A span that cannot change any more is forgotten, but for the newest, which says how far the log was counted."""
    fill(rows, 50)
    settle(bus, rows)
    rows.all("UPDATE eventbus.event_log SET type = type || '.changed'")

    assert set(bus.stats().by_type) == {"order.created"}


@pytest.mark.parametrize("ask", [EventBus.stats, EventBus.measure, EventBus.pulse])
def test_whoever_asks_for_numbers_counts(ask: Callable[[EventBus], object], bus: EventBus, rows: Rows) -> None:
    """So that where no worker lives a scrape or a page does not read all of the log, each time anew."""
    fill(rows, 50)

    ask(bus)

    assert rows.value("SELECT sum(published) FROM eventbus.traffic") == 50


def test_a_long_log_is_counted_in_parts(bus: EventBus, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that nobody ever counted does not become one long transaction."""
    monkeypatch.setattr(counting, "_EVENTS", 100)
    fill(rows, 1000)
    counting.count_traffic(bus.database, patience=timedelta(0))
    once = rows.value("SELECT sum(published) FROM eventbus.traffic")

    counting.count_traffic(bus.database)

    assert 100 <= once <= 110
    assert rows.value("SELECT sum(published) FROM eventbus.traffic") == published(bus) == 1000


def test_tallies_are_moved_once_their_minute_is_over(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """And the sum never shows it."""
    for _ in range(3):
        bus.publish("order.created", {}, source="tests")
    run(execution, "stock")
    before = (bus.stats(), rows.value("SELECT sum(consumed) FROM eventbus.traffic_tally"))
    rows.all(AGE_TALLIES)

    after = (bus.stats(), rows.count("traffic_tally"))

    assert before[0] == after[0]
    assert (before[1], after[1]) == (3, 0)
    assert rows.value("SELECT sum(consumed) FROM eventbus.traffic") == 3


def test_a_tally_that_is_being_written_is_left_for_later(
    bus: EventBus, execution: SingleRuns, rows: Rows, impatient: None
) -> None:
    """Counting waits for no transaction of a handler, and loses nothing of it."""
    bus.publish("order.created", {}, source="tests")
    run(execution, "stock")
    rows.all(AGE_TALLIES)
    with rows.transaction() as cursor:
        cursor.execute("UPDATE eventbus.traffic_tally SET consumed = consumed + 1")
        while_written = (bus.stats().consumed, rows.count("traffic_tally"))
        cursor.connection.commit()

    assert while_written == (1, 1)
    assert (bus.stats().consumed, rows.count("traffic_tally")) == (2, 0)


def test_two_may_count_at_once(bus: EventBus, rows: Rows) -> None:
    """One does, the others leave it to that one."""
    fill(rows, 2000)
    barrier = threading.Barrier(4)

    def count() -> None:
        barrier.wait()
        for _ in range(5):
            counting.count_traffic(bus.database)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert published(bus) == rows.value("SELECT sum(published) FROM eventbus.traffic") == 2000


def test_nobody_waits_for_whoever_is_counting(bus: EventBus, database: Database, rows: Rows) -> None:
    """Numbers are exact meanwhile, for what is not counted is read from the log."""
    fill(rows, 20)
    with database.transaction() as connection:
        assert traffic.try_lock(connection)

        assert published(bus) == 20
        assert rows.count("traffic_span") == 0


def test_a_counter_that_dies_has_changed_nothing(bus: EventBus, database: Database, rows: Rows) -> None:
    """Its transaction is gone, its lock too; the next one counts."""
    fill(rows, 20)
    with pytest.raises(RuntimeError, match="killed"), database.transaction() as connection:
        traffic.try_lock(connection)
        span = traffic.next_span(connection, limit=1000)
        assert span is not None
        traffic.count_span(connection, span)
        raise RuntimeError("killed")
    before = rows.count("traffic")

    assert (before, published(bus)) == (0, 20)
    assert rows.value("SELECT sum(published) FROM eventbus.traffic_total") == 20


def test_connections_tally_without_waiting_for_each_other(
    bus: EventBus, execution: SingleRuns, rows: Rows, impatient: None
) -> None:
    """Each has its own row; both are in the sum."""
    for _ in range(2):
        bus.publish("order.created", {}, source="tests")
    run(execution, "stock")
    rows.all("UPDATE eventbus.traffic_tally SET backend = 1")
    bus.publish("order.created", {}, source="tests")
    with rows.transaction() as cursor:
        cursor.execute("SELECT FROM eventbus.traffic_tally FOR UPDATE")
        run(execution, "stock")

    assert rows.value("SELECT count(DISTINCT backend) FROM eventbus.traffic_tally") == 2
    assert bus.stats().consumed == 3


def test_counting_anew_mends_what_was_damaged(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """All of it can be had from the rows: also while what was done lately is only tallied."""
    for _ in range(3):
        bus.publish("order.created", {}, source="tests")
    run(execution, "stock")
    fill(rows, 10)
    right = bus.stats()
    rows.all("UPDATE eventbus.traffic_total SET published = published + 7, consumed = consumed * 2")
    rows.all("DELETE FROM eventbus.traffic")
    damaged = bus.stats()

    bus.recount()

    assert damaged != right
    assert bus.stats() == right
    rows.all(AGE_TALLIES)
    assert bus.stats() == right


def test_counting_anew_tells_how_far_it_has_come_and_is_all_or_nothing(bus: EventBus, rows: Rows) -> None:
    """Day by day; what stops it, as Ctrl-C would, leaves what was counted before."""
    fill(rows, 20_000)
    right = bus.stats()
    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    bus.recount(watch=lambda done, total: seen.append((done, total)))
    with pytest.raises(KeyboardInterrupt):
        bus.recount(watch=stop)

    assert seen == [(done + 1, seen[-1][1]) for done in range(seen[-1][1])]
    assert len(seen) in (3, 4)
    assert bus.stats() == right


def test_counting_anew_waits_for_whoever_counts(bus: EventBus, rows: Rows) -> None:
    """And begins anew when somebody has counted just before; published events count once."""
    fill(rows, 10)
    with ThreadPoolExecutor(1) as pool:
        with rows.transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('eventbus.traffic'))")
            counting_anew = pool.submit(bus.recount)
            with pytest.raises(TimeoutError):
                counting_anew.result(0.3)
        counting_anew.result(10)

    assert bus.stats().published == 10


def test_counting_anew_that_meets_another_count_begins_anew(bus: EventBus, rows: Rows) -> None:
    """What it sees is of one moment, so what others wrote since then cannot be overwritten unseen."""
    fill(rows, 10)
    counting.count_traffic(bus.database)
    rows.all("DELETE FROM eventbus.traffic_total")
    begun: list[int] = []

    def interfere(done: int, total: int) -> None:
        if done == total:
            begun.append(total)
        if done == total and len(begun) == 1:
            rows.all("INSERT INTO eventbus.traffic_total VALUES ('order.created', '', 3, 0)")

    bus.recount(watch=interfere)

    assert len(begun) == 2
    assert bus.stats().published == 10


def test_counting_anew_gives_up_in_the_end(
    bus: EventBus, rows: Rows, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds its rows for longer than a few tries is named as the reason."""
    monkeypatch.setattr(counting, "_TRIES", 2)
    fill(rows, 10)
    counting.count_traffic(bus.database)
    with rows.transaction() as cursor:
        cursor.execute("UPDATE eventbus.traffic_total SET published = published")

        with pytest.raises(DatabaseBusy):
            bus.recount()

    assert bus.stats().published == 10


def test_counts_that_are_not_kept_by_the_minute_stay_in_the_total(bus: EventBus, rows: Rows) -> None:
    """What grows with time is thrown away when it is old, what was counted is not."""
    fill(rows, 10)
    counting.count_traffic(bus.database)
    kept = rows.count("traffic")
    with bus.database.autocommit() as connection:
        assert traffic.expire(connection, kept=timedelta(days=365)) == 0
    assert rows.count("traffic") == kept
    with bus.database.autocommit() as connection:
        expired = traffic.expire(connection, kept=timedelta(hours=1))

    assert expired > 0
    assert published(bus) == 10


def test_the_numbers_are_those_of_a_count_of_the_rows(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """While publishers, workers and counters are all at it."""
    stop, errors = threading.Event(), []

    def guarded(action: Callable[[], Any]) -> Callable[[], None]:
        def loop() -> None:
            try:
                while not stop.is_set():
                    action()
            except Exception as error:
                errors.append(error)

        return loop

    def age_and_count() -> None:
        rows_of_mine = Rows(rows.url)
        rows_of_mine.all(f"{AGE_TALLIES} WHERE backend <> pg_backend_pid()")
        rows_of_mine.close()
        counting.count_traffic(bus.database)

    threads = [
        threading.Thread(target=guarded(lambda: bus.publish("order.created", {}, source="tests"))),
        threading.Thread(target=guarded(lambda: run(execution, "stock"))),
        threading.Thread(target=guarded(lambda: run(execution, "stock"))),
        threading.Thread(target=guarded(age_and_count)),
    ]
    for thread in threads:
        thread.start()
    for _ in range(20):
        bus.stats()
    stop.set()
    for thread in threads:
        thread.join()

    stats = bus.stats()
    assert errors == []
    assert stats.published == rows.count("event_log") > 0
    assert stats.consumed == rows.value("SELECT count(*) FROM eventbus.delivery WHERE state = 'done'") > 0
