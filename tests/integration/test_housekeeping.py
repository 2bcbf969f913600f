"""Housekeeping: what a worker's main process does beside its pool, whatever fails, and however many do it at once."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from eventbus import EventBus
from eventbus.embedded import EmbeddedPostgres
from eventbus.lifecycle import housekeeping
from eventbus.lifecycle.housekeeping import Chore, chores_of, keep_house, say_goodbye
from eventbus.storage import partitions, workers
from eventbus.storage.database import Database
from eventbus.storage.workers import Worker
from tests.support.rows import Rows
from tests.support.waiting import wait_until

SILENCE = "UPDATE eventbus.worker SET started_at = started_at - %s::interval, seen_at = seen_at - %s::interval WHERE name = %s"


def make_worker(name: str = "w1", *, groups: tuple[str, ...] = ("stock",)) -> Worker:
    """A worker as it describes itself."""
    return Worker(
        id=uuid4(), name=name, host="here", pid=1, pool="prefork", concurrency=2, version="0", groups=list(groups)
    )


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    """Set in the end."""
    event = threading.Event()
    yield event
    event.set()


def keep(database: Database, stop: threading.Event, *chores: Chore) -> threading.Thread:
    """Keep house in a thread."""
    thread = threading.Thread(target=keep_house, args=(database, chores), kwargs={"stop": stop}, daemon=True)
    thread.start()
    return thread


def test_a_worker_without_groups_only_says_that_it_lives() -> None:
    """It serves nobody, so it keeps no house for them."""
    assert [chore.name for chore in chores_of(make_worker(groups=()))] == ["heartbeat"]


def test_a_worker_is_live_while_it_says_so(database: Database, rows: Rows) -> None:
    """Seen in the last 30 seconds; by name."""
    for name in ("w2", "w1", "silent"):
        with database.autocommit() as connection:
            workers.beat(connection, make_worker(name))
    rows.all(SILENCE, "31 s", "31 s", "silent")

    with database.autocommit() as connection:
        found = workers.list_live(connection)

    assert [(worker.name, worker.groups, worker.host) for worker in found] == [
        ("w1", ("stock",), "here"),
        ("w2", ("stock",), "here"),
    ]


def test_a_heartbeat_renews_the_row_of_its_worker(database: Database, rows: Rows) -> None:
    """One row for each start of a worker, which comes back if somebody has deleted it."""
    worker = make_worker()
    with database.autocommit() as connection:
        workers.beat(connection, worker)
        rows.all(SILENCE, "31 s", "31 s", "w1")
        workers.beat(connection, worker)
        renewed = workers.list_live(connection)
        workers.leave(connection, worker)
        workers.beat(connection, worker)

        assert [item.id for item in workers.list_live(connection)] == [worker.id]
    assert len(renewed) == rows.count("worker") == 1
    assert renewed[0].seen_at - renewed[0].started_at > timedelta(seconds=30)


def test_a_worker_hears_of_another_of_its_name(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Once from each that lives at the same time; not from one that was killed before it started."""
    killed, first, second = (make_worker() for _ in range(3))
    with database.autocommit() as connection:
        workers.beat(connection, killed)
        workers.beat(connection, make_worker("w2"))
    beats = [chores_of(worker)[0].do for worker in (first, second)]

    for beat in (*beats, *beats, *beats):
        beat(database)

    told = [(record.message, record.__dict__["worker"], record.__dict__["pid"]) for record in caplog.records]
    assert told == [("worker_name_shared", "w1", 1)] * 2


def test_a_heartbeat_says_which_groups_are_served_now(database: Database) -> None:
    """A worker may begin to consume another queue while it runs."""
    worker = make_worker()
    with database.autocommit() as connection:
        workers.beat(connection, worker)
        workers.beat(connection, replace(worker, groups=["mail", "stock"]))
        [found] = workers.list_live(connection)

    assert list(found.groups) == ["mail", "stock"]


def test_a_worker_that_died_is_remembered_for_a_day(database: Database, rows: Rows) -> None:
    """Whoever looks for what happened at night still finds it in the morning."""
    for name, silent in (("lately", "23 h"), ("long ago", "25 h")):
        with database.autocommit() as connection:
            workers.beat(connection, make_worker(name))
        rows.all(SILENCE, silent, silent, name)

    housekeeping.forget_old(database)

    assert rows.all("SELECT name FROM eventbus.worker") == [("lately",)]


def test_all_chores_are_done_at_once_and_then_when_they_are_due(
    bus: EventBus, database: Database, rows: Rows, stop: threading.Event
) -> None:
    """A worker that starts is live, counts, and makes the partitions that are missing."""
    bus.publish("order.created", {}, source="tests", idempotency_key="old")
    rows.all("UPDATE eventbus.publish_key SET created_at = created_at - interval '8 days'")
    rows.all("INSERT INTO eventbus.traffic VALUES ('2001-01-01Z', 'old', '', 1, 0)")
    rows.value("SELECT eventbus.ensure_partitions()")  # a week may have begun since the migration
    parts = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'eventbus.event_log'::regclass"
    before = rows.value(parts)
    [(part,)] = rows.all(
        "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'eventbus.event_log'::regclass "
        "AND inhrelid::regclass::text NOT LIKE '%%default'",
    )
    rows.all(f"DROP TABLE {part}")
    with database.autocommit() as connection:
        workers.beat(connection, make_worker("dead"))
    rows.all(SILENCE, "2 days", "2 days", "dead")

    thread = keep(database, stop, *chores_of(make_worker()))
    wait_until(lambda: rows.all("SELECT name FROM eventbus.worker") == [("w1",)])
    stop.set()
    thread.join(10)

    assert rows.value(parts) == before
    assert rows.count("publish_key") == 0
    assert rows.count("traffic_span") > 0
    assert rows.value("SELECT count(*) FROM eventbus.traffic WHERE type = 'old'") == 0
    assert not thread.is_alive()


def test_a_chore_is_repeated_when_its_time_has_come(database: Database, stop: threading.Event) -> None:
    """Each at its own pace."""
    done: list[str] = []

    def chore(name: str, seconds: float) -> Chore:
        return Chore(name=name, every=timedelta(seconds=seconds), do=lambda _: done.append(name))

    keep(database, stop, chore("often", 0.01), chore("seldom", 60))

    wait_until(lambda: done.count("often") >= 3)
    assert done.count("seldom") == 1


def test_a_chore_that_fails_keeps_no_other_from_being_done(
    database: Database, stop: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """Its first failure is logged, with where an unexpected one came from; and that it is well again."""
    caplog.set_level(logging.INFO, logger="eventbus")
    runs: list[str] = []

    def fail(_: Database) -> None:
        runs.append("failing")
        if runs.count("failing") < 4:
            raise ZeroDivisionError("by zero")

    keep(
        database,
        stop,
        Chore(name="failing", every=timedelta(0), do=fail),
        Chore(name="other", every=timedelta(0), do=lambda _: runs.append("other")),
    )
    wait_until(lambda: runs.count("other") > 4)

    logged = [record for record in caplog.records if "housekeeping" in record.message]
    assert [record.message for record in logged] == ["housekeeping_failed", "housekeeping_recovered"]
    assert logged[0].exc_info is not None


def test_housekeeping_survives_a_database_that_is_away(
    postgres: EmbeddedPostgres, stop: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """Each chore says so once, and goes on when it is back."""
    caplog.set_level(logging.INFO, logger="eventbus")
    database = Database(postgres.url.replace("postgresql://", "postgresql+psycopg2://"), pool_size=1)
    worker = make_worker()
    quick = [Chore(name=c.name, every=timedelta(milliseconds=20), do=c.do) for c in chores_of(worker)[:2]]

    def live() -> int:
        with database.autocommit() as connection:
            return len(workers.list_live(connection))

    thread = keep(database, stop, *quick)
    messages = lambda text: [r for r in caplog.records if r.message == text]  # noqa: E731
    wait_until(live)
    postgres.kill()
    wait_until(lambda: len(messages("housekeeping_failed")) == 2)
    say_goodbye(database, worker)
    postgres.start()
    wait_until(lambda: len(messages("housekeeping_recovered")) == 2)
    stop.set()
    thread.join(10)

    assert live() == 1
    assert len(messages("housekeeping_failed")) == 2
    assert len(messages("goodbye_failed")) == 1
    say_goodbye(database, worker)
    assert live() == 0
    database.dispose()


def test_many_keys_are_expired_in_parts(
    bus: EventBus, database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until there is none left."""
    monkeypatch.setattr(housekeeping, "_KEYS", 2)
    for number in range(5):
        bus.publish("order.created", {}, source="tests", idempotency_key=str(number))
    rows.all("UPDATE eventbus.publish_key SET created_at = created_at - interval '8 days' WHERE key <> '4'")

    housekeeping.expire_keys(database)

    assert rows.all("SELECT key FROM eventbus.publish_key") == [("4",)]


def test_partitions_are_left_to_whoever_is_making_them(database: Database) -> None:
    """Nobody waits for the lock."""
    with database.transaction() as first:
        first.row("SELECT pg_advisory_xact_lock(hashtext('eventbus.ensure_partitions'))")
        with database.transaction() as second:
            made: Any = partitions.ensure(second)

    assert made == 0
