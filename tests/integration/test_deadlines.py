"""Deadlines: a PostgreSQL that is frozen, or behind a network that has gone silent, holds up no publisher."""

import contextlib
import itertools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from types import FrameType

import pytest

from eventbus import EventBus
from eventbus.errors import DatabaseUnreachable, PublishUncertain
from eventbus.lifecycle import certainty
from eventbus.storage import deadlines
from eventbus.storage.database import Database
from eventbus.storage.deadlines import Deadlines, waiting_at_most
from tests.integration.conftest import MakeBus
from tests.support import wait_until
from tests.support.forks import Fork
from tests.support.rows import Rows
from tests.support.silent_proxy import SilentProxy

SOON = timedelta(milliseconds=50)


@pytest.fixture
def proxy(database_url: str) -> Iterator[SilentProxy]:
    """What stands before the database of `bus`."""
    with SilentProxy(database_url) as started:
        yield started


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that takes seconds takes a tenth of that."""
    monkeypatch.setattr(deadlines, "_PERIOD_SECONDS", 0.05)
    monkeypatch.setattr(certainty, "_ASKING_SECONDS", 0.3)


@pytest.fixture
def bus(impatient: None, make_bus: MakeBus, proxy: SilentProxy) -> EventBus:
    """A bus with a group, which has published and waits no longer than a second for PostgreSQL."""
    bus = make_bus(database_url=f"{proxy.url}?connect_timeout=2", publish_seconds=1)
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    bus.publish("order.created", 0, source="orders")
    return bus


def test_a_publish_to_a_silent_database_ends_with_an_error(bus: EventBus, proxy: SilentProxy, rows: Rows) -> None:
    """It names the key under which it may be repeated: here nothing had been recorded, and the repeat records it once."""
    started = time.monotonic()
    with proxy.silence(), pytest.raises(PublishUncertain) as raised:
        bus.publish("order.created", 1, source="orders", idempotency_key="k")
    took = time.monotonic() - started
    bus.publish("order.created", 1, source="orders", idempotency_key=raised.value.idempotency_key)

    assert 1 <= took < 8
    assert rows.value("SELECT count(*) FROM eventbus.event_log WHERE data = '1'") == 1


def test_where_the_silence_ends_in_time_the_publisher_hears_the_truth(
    bus: EventBus, proxy: SilentProxy, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lost connection is one among others: what became of its statement can be asked."""
    monkeypatch.setattr(certainty, "_ASKING_SECONDS", 10)
    silence = proxy.silence()
    silence.__enter__()
    outcome: list[object] = []

    def publish() -> None:
        try:
            outcome.append(bus.publish("order.created", 1, source="orders").id)
        except DatabaseUnreachable:
            outcome.append(None)

    thread = threading.Thread(target=publish)
    thread.start()
    wait_until(lambda: bus.database._keeping._lost_at > 0)
    silence.__exit__(None, None, None)
    thread.join(10)

    recorded = [id for (id,) in rows.all("SELECT id FROM eventbus.event_log WHERE data = '1'")]
    assert recorded == [str(id) for id in outcome if id is not None]
    assert len(outcome) == 1


def test_what_is_answered_in_time_keeps_its_connection(impatient: None, database: Database) -> None:
    """The limit of one statement is none of the next."""
    limit = timedelta(seconds=0.5)  # what answers at once does so in time on a busy machine, too
    with database.autocommit(within=limit) as first:
        pid = first.backend_pid
        first.value("SELECT 1")
    with database.autocommit() as second:
        second.value("SELECT pg_sleep(0.8)")
        again = second.backend_pid
    with database.transaction(within=limit) as third:
        other = third.value("SELECT pg_backend_pid()")
    with database.transaction() as fourth:
        fourth.value("SELECT pg_sleep(0.8)")
        last = fourth.value("SELECT pg_backend_pid()")

    assert (pid, other) == (again, last)


@pytest.mark.parametrize("way", ["autocommit", "transaction"])
def test_a_block_that_takes_too_long_loses_its_connection(way: str, impatient: None, database: Database) -> None:
    """Whether in one statement, or in a transaction that has not committed; the next one has another connection."""
    with pytest.raises(DatabaseUnreachable), getattr(database, way)(within=SOON) as connection:
        connection.value("SELECT pg_sleep(1)")

    with database.autocommit() as connection:
        assert connection.value("SELECT 1") == 1


@pytest.mark.parametrize("way", ["autocommit", "transaction"])
def test_a_limit_holds_for_all_that_a_block_asks(way: str, impatient: None, database: Database) -> None:
    """Without one at each question; outside of the block nothing is limited."""
    with waiting_at_most(SOON), pytest.raises(DatabaseUnreachable), getattr(database, way)() as connection:
        connection.value("SELECT pg_sleep(1)")

    with getattr(database, way)() as connection:
        connection.value("SELECT pg_sleep(0.3)")


def test_a_connection_that_was_closed_meanwhile_is_none_to_cut(impatient: None, database: Database) -> None:
    """Its number may be another's by now."""
    found = Deadlines()
    with database.autocommit() as connection:
        connection.driver.close()

        with found.limit(connection.driver, SOON):
            wait_until(lambda: not found.due)


def test_an_answer_that_comes_at_the_last_moment_is_not_cut(database: Database) -> None:
    """Whoever takes the note out of the table decides."""
    found = Deadlines()
    with database.autocommit() as connection:
        found._cut(7, connection.driver)

        assert connection.value("SELECT 1") == 1


def test_the_thread_ends_when_nothing_is_waited_for(
    impatient: None, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that rests costs nothing; what it waits for later is watched again, by one thread however many wait."""
    monkeypatch.setattr(deadlines, "_LOOKS", 1)
    found = Deadlines()
    with database.autocommit() as connection:
        for _ in range(2):
            with found.limit(connection.driver, timedelta(seconds=60)):
                thread = found._thread
                found._begin()
                assert not found._ends()
                assert found._thread is thread is not None
            wait_until(lambda: found._thread is None)


def test_where_no_thread_can_start_there_is_no_limit(
    impatient: None, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while a process ends, or has too many threads: a publish goes through, and a later one is watched again."""
    found = Deadlines()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with database.autocommit() as connection:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with found.limit(connection.driver, SOON):
                assert connection.value("SELECT 1") == 1
        assert (found.due, found._thread) == ({}, None)
        with found.limit(connection.driver, timedelta(seconds=60)):
            assert found._thread is not None


def test_a_log_that_fails_keeps_nobody_waiting(impatient: None, database: Database) -> None:
    """The connection is cut before it is said, and the next one is, too."""

    def fail(_record: logging.LogRecord) -> bool:
        raise RuntimeError("the filter of an application")

    logger = logging.getLogger("eventbus.storage.deadlines")
    logger.addFilter(fail)
    try:
        for _ in range(2):
            with pytest.raises(DatabaseUnreachable), database.autocommit(within=SOON) as connection:
                connection.value("SELECT pg_sleep(20)")
    finally:
        logger.removeFilter(fail)


def test_a_child_watches_for_itself(impatient: None, database: Database) -> None:
    """The parent's thread is not there, and what the parent waits for is the parent's."""
    found = Deadlines()

    def child(fork: Fork) -> None:
        mine = Database(str(database.engine.url.render_as_string(hide_password=False)))
        assert (found.due, found._thread) == ({}, None)
        with pytest.raises(DatabaseUnreachable), mine.autocommit(within=SOON) as connection:
            connection.value("SELECT pg_sleep(1)")
        fork.report(str(os.getpid()))

    with database.autocommit() as connection, found.limit(connection.driver, timedelta(seconds=60)):
        with Fork(child) as forked:
            reported = forked.hear()
            forked.join()

    assert reported == str(forked.pid)


@pytest.mark.parametrize("is_being_cut", [False, True])
@pytest.mark.parametrize("number", range(4))
def test_a_block_whose_end_is_interrupted_leaves_nothing_to_cut_its_next_user(
    database: Database, number: int, is_being_cut: bool
) -> None:
    """As by a handler's time limit, at the start of any function that the end calls."""
    calls = itertools.count()

    def interrupt(_frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and next(calls) == number:
            sys.settrace(None)
            raise KeyboardInterrupt

    before = sys.gettrace()
    with contextlib.suppress(KeyboardInterrupt):
        try:
            with database.autocommit(within=SOON) as connection:
                connection.value("SELECT 1")
                if is_being_cut:
                    database.deadlines.due.clear()
                sys.settrace(interrupt)
        finally:
            sys.settrace(before)

    kept = {id(direct.driver) for direct in database._keeping._kept}
    noted = {id(driver) for _, driver, _ in database.deadlines.due.values()}
    assert not kept & noted


def test_a_connection_that_is_being_cut_when_its_user_is_interrupted_is_nobodys(database: Database) -> None:
    """As by a handler's time limit that strikes while it is waited for."""

    def ring(_number: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code is Deadlines.await_cut.__code__:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ring)
    lock = database.deadlines._lock
    try:
        with pytest.raises(KeyboardInterrupt), database.autocommit(within=timedelta(seconds=60)) as connection:
            database.deadlines.due.clear()
            lock.acquire()
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)  # until it is waited for
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        lock.release()

    assert connection.driver.closed
