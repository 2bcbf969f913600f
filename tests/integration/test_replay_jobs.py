"""Replay jobs: interrupted anywhere they go on exactly once, beside everything else that changes deliveries."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy

from eventbus import EventBus
from eventbus.errors import InvalidInput, ReplayStopped
from eventbus.event import Event
from eventbus.lifecycle import replay_batches, replaying
from eventbus.lifecycle.replay_planning import Asked
from eventbus.replay import Outcome, ReplayState
from eventbus.storage import replays
from eventbus.storage.replays import QUIET, Job
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support import wait_until
from tests.support.replays import fill_log, put_all, states
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns
from tests.support.threads import in_thread
from tests.support.workers import ROOT

#: Counts how often each delivery was touched on behalf of a replay, in transactions that committed.
TOUCHES = """
CREATE TABLE public.touch (event_id uuid, replay_id uuid);
CREATE FUNCTION public.note_touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.touch VALUES (NEW.event_id, NEW.replay_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER note_touch AFTER INSERT OR UPDATE ON eventbus.delivery FOR EACH ROW
WHEN (NEW.replay_id IS NOT NULL) EXECUTE FUNCTION public.note_touch();
"""
#: Takes locks in key order too: the test must not deadlock by itself.
LOSE = """
DELETE FROM eventbus.delivery WHERE (event_id, group_name) IN (
    SELECT event_id, group_name FROM eventbus.delivery WHERE state IN ('done', 'cancelled') ORDER BY 1, 2 FOR UPDATE)
"""
RUN_ONE = """
import sys
from uuid import UUID
from eventbus import EventBus

EventBus.from_env().resume_replay(UUID(sys.argv[1]))
"""


class Interruption(Exception):
    """What a test lets happen."""


def handle(event: Any) -> None: ...


@pytest.fixture
def shop(bus: EventBus, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> EventBus:
    """A bus with one group, forty events in the log, half of them done, and batches of ten."""
    bus.subscribe("order.#", group="shop", handler=handle)
    bus.sync()
    for _ in range(20):
        bus.publish("order.created", {}, source="tests")
    put_all(rows, "shop", "done")
    fill_log(rows, 20)
    rows.all(TOUCHES)
    monkeypatch.setattr(replay_batches, "BATCH", 10)
    return bus


def create(bus: EventBus, *, rate: float | None = None) -> Job:
    """A planned job over the whole log."""
    return bus.replaying.create(bus.replaying.plan(Asked(group="shop", pattern="#")), rate=rate)


def assert_each_touched_once(rows: Rows, count: int = 40) -> None:
    """Exactly once: no event left out, none twice."""
    assert rows.one("SELECT count(*), count(DISTINCT event_id) FROM public.touch") == (count, count)


@contextmanager
def failing_at(bus: EventBus, number: int, error: type[BaseException], *, at: str = "statement") -> Iterator[None]:
    """Raise *error* instead of sending the statement, or the COMMIT, of that number, from 1."""
    engine = bus.database.engine
    left = [number]

    def count(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise error

    name = "before_cursor_execute" if at == "statement" else "commit"
    sqlalchemy.event.listen(engine, name, count)
    try:
        yield
    finally:
        sqlalchemy.event.remove(engine, name, count)


def test_a_job_says_what_it_is_about_and_what_it_did(shop: EventBus) -> None:
    """Newest first, with its filter, its counts, and who asked."""
    job = create(shop, rate=1e6)
    assert (job.state, job.total, job.seen, job.rate) == (ReplayState.PLANNED, 40, 0, 1e6)

    replay = shop.resume_replay(job.id)
    cancelled = create(shop)
    shop.cancel_replay(cancelled.id)

    assert [item.id for item in shop.replays()] == [cancelled.id, job.id]
    assert [item.id for item in shop.replays(limit=1)] == [cancelled.id]
    assert [item.id for item in shop.replays(cursor=cancelled.id)] == [job.id]
    done = shop.find_replay(job.id)
    assert (done.state, done.shown_state, done.seen) == (ReplayState.DONE, ReplayState.DONE, 40)
    assert done.counts == replay.outcomes == dict.fromkeys(Outcome, 0) | {Outcome.RESET: 20, Outcome.INSERTED: 20}
    assert done.finished_at
    assert done.finished_at >= done.created_at
    assert "@" in done.requested_by
    assert done.selection == job.selection


def test_who_asked_is_known_by_number_where_there_is_no_name(shop: EventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user is in no password file."""

    def fail() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", fail)

    assert create(shop).requested_by.startswith(f"{os.getuid()}@")


@pytest.mark.parametrize("error", [Interruption, KeyboardInterrupt])
@pytest.mark.parametrize("at", ["statement", "commit"])
def test_interrupted_at_any_statement_it_is_resumed_exactly_once(
    shop: EventBus, rows: Rows, at: str, error: type[BaseException]
) -> None:
    """Whatever the batch was doing: all of it happens, or none, and the cursor tells which."""
    job = create(shop)
    number = 1
    while True:
        number += 1
        try:
            with failing_at(shop, number, error, at=at):
                shop.resume_replay(job.id)
        except error:
            state = shop.find_replay(job.id).state
            if state is ReplayState.DONE:  # only the end of its entry in the audit was left
                break
            assert state is ReplayState.INTERRUPTED
            touched = rows.value("SELECT count(*) FROM public.touch")
            assert touched == shop.find_replay(job.id).seen
            assert touched % 10 == 0
            continue
        break

    # A batch has eleven statements and one COMMIT.
    assert number > (13 if at == "statement" else 4)
    assert shop.find_replay(job.id).state is ReplayState.DONE
    assert_each_touched_once(rows)


def test_stopped_between_batches_it_goes_on_from_there(shop: EventBus, rows: Rows) -> None:
    """What the command line does at Ctrl-C."""
    job = create(shop)
    stop = threading.Event()

    left = shop.replaying.run(job.id, watch=lambda moved: stop.set() if moved.seen == 20 else None, stop=stop)

    assert (left.state, left.seen, left.runner) == (ReplayState.INTERRUPTED, 20, None)
    assert shop.resume_replay(job.id).count == 40
    assert_each_touched_once(rows)
    with pytest.raises(InvalidInput, match="is done: there is nothing left to resume"):
        shop.resume_replay(job.id)


def test_stopped_while_it_waits_for_its_rate_it_stops_at_once(shop: EventBus) -> None:
    """However long the wait would be."""
    job = create(shop, rate=0.001)
    stop = threading.Event()
    thread, left = in_thread(lambda: shop.replaying.run(job.id, stop=stop))
    wait_until(lambda: shop.find_replay(job.id).seen == 1)

    stop.set()

    thread.join(20)
    assert [(job.state, job.seen) for job in left] == [(ReplayState.INTERRUPTED, 1)]


def test_what_ended_a_run_is_told_though_its_end_cannot_be_written(shop: EventBus, rows: Rows) -> None:
    """The reason must not be lost in an error of the database that follows from it."""
    job = create(shop)

    def lose(moved: Job) -> None:
        rows.all("ALTER TABLE eventbus.replay RENAME TO replay_gone")
        raise Interruption

    with pytest.raises(Interruption):
        shop.replaying.run(job.id, watch=lose)
    rows.all("ALTER TABLE eventbus.replay_gone RENAME TO replay")

    assert shop.find_replay(job.id).state is ReplayState.RUNNING
    assert shop.resume_replay(job.id).count == 40


def test_an_error_while_it_is_watched_leaves_it_resumable(shop: EventBus, rows: Rows) -> None:
    """The batch before stands."""
    job = create(shop)

    def fail(moved: Job) -> None:
        raise Interruption

    with pytest.raises(Interruption):
        shop.replaying.run(job.id, watch=fail)

    assert (shop.find_replay(job.id).state, shop.find_replay(job.id).seen) == (ReplayState.INTERRUPTED, 10)
    shop.resume_replay(job.id)
    assert_each_touched_once(rows)


def changes(bus: EventBus) -> list[tuple[str, int | None, str]]:
    """What the audit tells of the group's replays, oldest first."""
    return [(entry.action, entry.changed, entry.result) for entry in bus.audit(action="replay", group="shop")][::-1]


def test_the_audit_counts_what_each_run_of_a_replay_made_due(shop: EventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that committed before it was cut short, nothing of an earlier run; a cancellation is the group's as well."""
    job = create(shop)
    stop = threading.Event()

    def fail(_wake_ups: object) -> None:
        raise Interruption

    with monkeypatch.context() as cut_short:
        cut_short.setattr(shop.waking, "send", fail)
        with pytest.raises(Interruption):
            shop.resume_replay(job.id)
    shop.replaying.run(job.id, watch=lambda moved: stop.set() if moved.seen == 30 else None, stop=stop)
    shop.replaying.run(job.id, stop=stop)
    shop.resume_replay(job.id)
    shop.cancel_replay(create(shop).id)

    assert changes(shop) == [
        ("replay run", 10, "failed: Interruption"),
        ("replay run", 20, "interrupted"),
        ("replay run", 0, "interrupted"),
        ("replay run", 10, "done"),
        ("replay cancel", 1, "done"),
    ]


def test_killed_it_is_shown_as_interrupted_and_resumed_exactly_once(
    shop: EventBus, rows: Rows, environment: dict[str, str]
) -> None:
    """kill -9 leaves it running with an age; after a while it is taken for what it is, and it may be resumed before."""
    job = create(shop, rate=10)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_ONE, str(job.id)],
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    try:
        wait_until(lambda: shop.find_replay(job.id).seen >= 10, timeout=20)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    killed = shop.find_replay(job.id)
    assert killed.shown_state is ReplayState.RUNNING
    assert timedelta(0) < killed.quiet < QUIET
    assert [[item.id for item in shop.replays(state=state)] for state in ("running", "interrupted")] == [[job.id], []]
    rows.all("UPDATE eventbus.replay SET updated_at = updated_at - interval '1 minute'")
    assert shop.find_replay(job.id).shown_state is ReplayState.INTERRUPTED
    assert [[item.id for item in shop.replays(state=state)] for state in ("running", "interrupted")] == [[], [job.id]]
    rows.all("UPDATE eventbus.replay SET rate = NULL")
    assert shop.resume_replay(job.id).count == 40
    assert_each_touched_once(rows)


def test_cancelled_from_elsewhere_it_stops_between_batches(
    shop: EventBus, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once for all who look; its own process notices while it waits for the rate, and shows meanwhile that it lives."""
    monkeypatch.setattr(replaying, "_TOUCH_SECONDS", 0.1)
    job = create(shop, rate=0.1)
    thread, ended = in_thread(lambda: shop.resume_replay(job.id))
    wait_until(lambda: shop.find_replay(job.id).seen == 1)
    rows.all("UPDATE eventbus.replay SET updated_at = updated_at - interval '1 minute'")
    wait_until(lambda: shop.find_replay(job.id).shown_state is ReplayState.RUNNING)

    assert shop.cancel_replay(job.id) is True

    thread.join(10)
    [error] = ended
    assert isinstance(error, ReplayStopped)
    assert f"replay {job.id} is cancelled: it had come to 1 of 40" in str(error)
    assert shop.cancel_replay(job.id) is False
    with pytest.raises(InvalidInput, match="is cancelled"):
        shop.resume_replay(job.id)
    assert_each_touched_once(rows, 1)


def test_cancelled_before_a_batch_it_does_nothing_more(shop: EventBus, rows: Rows) -> None:
    """Also where nobody waits for a rate."""
    job = create(shop)

    left = shop.replaying.run(job.id, watch=lambda moved: assert_true(shop.cancel_replay(moved.id)))

    assert (left.state, left.seen) == (ReplayState.CANCELLED, 10)
    assert_each_touched_once(rows, 10)


def test_a_cancellation_waits_for_the_batch_that_is_under_way(shop: EventBus, rows: Rows) -> None:
    """What was begun is done and counted; the process ends as one whose job was cancelled."""
    job = create(shop)
    with rows.transaction() as other:
        other.execute("SELECT FROM eventbus.delivery ORDER BY event_id LIMIT 1 FOR UPDATE")
        running, left = in_thread(lambda: shop.replaying.run(job.id))
        wait_until(lambda: rows.waiting() == 1)
        cancelling, cancelled = in_thread(lambda: shop.cancel_replay(job.id))
        wait_until(lambda: cancelled or rows.waiting() == 2)
        other.connection.rollback()
        for thread in (running, cancelling):
            thread.join(10)

    [ended] = left
    assert cancelled == [True]
    assert (ended.state, ended.seen % 10) == (ReplayState.CANCELLED, 0)
    assert_each_touched_once(rows, ended.seen)


def test_each_batch_shows_that_the_replay_lives(shop: EventBus, rows: Rows) -> None:
    """However long all of it takes: it is taken for interrupted only when no batch ends for a while."""
    ages = []

    def wait_long(moved: Job) -> None:
        ages.append(moved.quiet)
        rows.all("UPDATE eventbus.replay SET updated_at = updated_at - interval '1 minute'")

    shop.replaying.run(create(shop).id, watch=wait_long)

    assert len(ages) == 5
    assert max(ages) < QUIET


def assert_true(value: object) -> None:
    assert value is True


def test_resumed_elsewhere_the_first_process_stops(shop: EventBus, rows: Rows) -> None:
    """One runner at a time: the newest."""
    job = create(shop, rate=0.1)
    thread, ended = in_thread(lambda: shop.resume_replay(job.id))
    wait_until(lambda: shop.find_replay(job.id).seen == 1)
    stop = threading.Event()
    second, left = in_thread(lambda: shop.replaying.run(job.id, stop=stop))

    thread.join(10)
    stop.set()
    second.join(10)

    [error] = ended
    assert isinstance(error, ReplayStopped)
    assert "goes on in another process" in str(error)
    assert left[0].state is ReplayState.INTERRUPTED
    assert [result for _, _, result in changes(shop)] == ["interrupted", "interrupted"]
    rows.all("UPDATE eventbus.replay SET rate = NULL")
    shop.resume_replay(job.id)
    assert_each_touched_once(rows)


@pytest.mark.parametrize("ending", ["fails", "is stopped"])
def test_whoever_lost_a_job_to_another_process_does_not_interrupt_it(shop: EventBus, rows: Rows, ending: str) -> None:
    """Neither when it fails nor when it is stopped; and what was taken up again is shown to run before its next batch."""
    job = create(shop)
    stop = threading.Event()
    taken: list[Job | None] = []

    def lose(moved: Job) -> None:
        rows.all("UPDATE eventbus.replay SET updated_at = updated_at - interval '1 minute'")
        with shop.database.transaction() as connection:
            taken.append(replays.take(connection, moved.id))
        stop.set()
        if ending == "fails":
            raise Interruption

    with suppress(Interruption):
        assert shop.replaying.run(job.id, watch=lose, stop=stop).state is ReplayState.RUNNING

    [other] = taken
    assert other is not None
    now = shop.find_replay(job.id)
    assert (now.state, now.shown_state, now.runner) == (ReplayState.RUNNING, ReplayState.RUNNING, other.runner)


def test_cancelled_while_it_is_being_stopped_it_stays_cancelled(shop: EventBus) -> None:
    """An end is an end."""
    job = create(shop)
    stop = threading.Event()

    def both(moved: Job) -> None:
        shop.cancel_replay(moved.id)
        stop.set()

    assert shop.replaying.run(job.id, watch=both, stop=stop).state is ReplayState.CANCELLED


def test_a_rate_holds_across_batches(shop: EventBus) -> None:
    """Batches are as small as the rate; what was open or skipped anyway costs nothing of it."""
    job = create(shop, rate=20)
    seen: list[int] = []
    began = time.monotonic()

    shop.replaying.run(job.id, watch=lambda moved: seen.append(moved.seen))

    # Batches of ten, each worth half a second; a second replay finds all of it open.
    assert 1.9 < time.monotonic() - began < 8
    assert seen == [10, 20, 30, 40, 40]
    began = time.monotonic()
    assert shop.replay("#", group="shop", rate=1).outcomes[Outcome.LEFT_OPEN] == 40
    assert time.monotonic() - began < 10


def test_a_batch_is_no_larger_than_a_seconds_worth_and_lasts_as_long(shop: EventBus) -> None:
    """Workers are not flooded for a second and then left alone for ten."""
    job = create(shop, rate=4.9)
    stop, seen = threading.Event(), []

    def watch(moved: Job) -> None:
        seen.append((moved.seen, time.monotonic()))
        if len(seen) == 3:
            stop.set()

    shop.replaying.run(job.id, watch=watch, stop=stop)

    moments = [moment for _, moment in seen]
    assert [number for number, _ in seen] == [4, 8, 12]
    assert all(4 / 4.9 - 0.1 < later - earlier < 4 for earlier, later in pairwise(moments))


@pytest.mark.parametrize("many", [30, 50_000])
def test_events_of_many_types_are_read_in_the_order_of_the_log(
    shop: EventBus, rows: Rows, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """In one pass where they are many, else merged: no batch leaves anything behind the cursor."""
    for number in range(20):
        fill_log(rows, 3, type=f"order.kind{number}", ago=f"{number + 1} minutes")
    monkeypatch.setattr("eventbus.storage.replay_selection._MERGED_EVENTS", many)

    assert shop.replay("#", group="shop").count == 100
    assert_each_touched_once(rows, 100)


def test_ids_are_taken_in_batches_whatever_they_name(shop: EventBus, rows: Rows) -> None:
    """Unknown ids between known ones end no batch early, and make none larger."""
    known = [id for (id,) in rows.all("SELECT id FROM eventbus.event_log ORDER BY id")]
    unknown = [f"{id[:-12]}000000000000" for id in known[:7]]
    job = shop.replaying.create(shop.replaying.plan(Asked(group="shop", event_ids=[*known, *unknown, *known])))
    seen: list[int] = []

    shop.replaying.run(job.id, watch=lambda moved: seen.append(moved.seen))

    assert seen == [10, 20, 30, 40, 40]
    assert_each_touched_once(rows)


def test_an_unsubscription_in_between_leaves_the_rest_out(shop: EventBus, rows: Rows) -> None:
    """The subscriptions that count are those of the moment."""
    job = create(shop)
    removed: list[int] = []

    def remove(moved: Job) -> None:
        if not removed:
            removed.append(shop.remove_group("shop"))

    left = shop.replaying.run(job.id, watch=remove)

    assert removed == [10]
    assert left.counts[Outcome.UNMATCHED] == 30
    assert rows.value("SELECT count(*) FROM eventbus.delivery WHERE replay_id = %s", str(job.id)) == 10


class Hammering:
    """Threads that act until they are told to stop; the first error of each is kept."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.turns: dict[str, int] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def add(self, name: str, act: Callable[[], Any]) -> None:
        """Let a thread do *act* over and over."""

        def run() -> None:
            while not self._stop.is_set():
                try:
                    act()
                except Exception as error:
                    self.errors.append(error)
                    return
                self.turns[name] = self.turns.get(name, 0) + 1

        self._threads.append(threading.Thread(target=run, name=name, daemon=True))

    def run(self, *, seconds: float) -> None:
        """Start all, and stop them after a while."""
        for thread in self._threads:
            thread.start()
        self._stop.wait(seconds)
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), thread.name


def work(execution: SingleRuns) -> None:
    """Handle what is due, as a worker would, failures included."""
    claimed = execution.take("shop", None, task_id=None)
    if claimed is None:
        return
    result = execution.run(claimed)
    if isinstance(result, BaseException):
        execution.fail(claimed, result)


def test_replays_retries_discards_cancellations_and_workers_never_deadlock(
    make_bus: MakeBus, worker: MakeWorker, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All locks are taken in one order, so nobody ever waits in a circle, and each dead row has its open letter."""
    monkeypatch.setattr(replay_batches, "BATCH", 50)
    bus = make_bus()
    chance = random.Random(7)

    def fail_sometimes(event: Event) -> None:
        if chance.random() < 0.5:
            raise ValueError("as asked")

    bus.subscribe("order.#", group="shop", handler=fail_sometimes, max_retries=0)
    execution = worker(bus)
    fill_log(rows, 150)
    fill_log(rows, 150, type="order.paid")
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = rows.value(deadlocks)
    hammering = Hammering()
    hammering.add("replay all", lambda: bus.replay("#", group="shop", include_dead=True))
    hammering.add("replay some", lambda: bus.replay("order.paid", group="shop", include_dead=True))
    hammering.add("replay late ones", lambda: bus.replay(group="shop", since="40m"))
    hammering.add("retry", lambda: bus.retry_dead_letters(group="shop"))
    hammering.add("discard", lambda: bus.discard_dead_letters(group="shop", reason="test", error_type="ValueError"))
    hammering.add("lose", lambda: rows.all(LOSE))
    hammering.add("unsubscribe", lambda: (bus.remove_group("shop"), bus.sync()))
    for number in range(3):
        hammering.add(f"work {number}", lambda: work(execution))

    hammering.run(seconds=6)

    assert hammering.errors == []
    assert len(hammering.turns) == 10, hammering.turns
    assert rows.value(deadlocks) == before
    unequal = rows.all(
        "SELECT event_id FROM eventbus.delivery WHERE state = 'dead' "
        "EXCEPT SELECT event_id FROM eventbus.dead_letter WHERE status = 'open'"
    )
    assert unequal == []
    assert (
        rows.all(
            "SELECT event_id FROM eventbus.dead_letter WHERE status = 'open' "
            "EXCEPT SELECT event_id FROM eventbus.delivery WHERE state = 'dead'"
        )
        == []
    )


def test_a_row_that_is_held_is_waited_for_and_read_afterwards(shop: EventBus, rows: Rows) -> None:
    """An operator who discards at that moment is obeyed: what is judged is read under the lock."""
    [event_id] = rows.one("SELECT event_id FROM eventbus.delivery ORDER BY event_id LIMIT 1")
    with rows.transaction() as other:
        other.execute(
            "UPDATE eventbus.delivery SET state = 'cancelled', finished_at = now() WHERE event_id = %s", (event_id,)
        )
        other.execute(
            "INSERT INTO eventbus.dead_letter (event_id, group_name, type, attempts, deaths, error_type, error_message, "
            "traceback, fingerprint, status, resolved_at, note) VALUES "
            "(%s, 'shop', 'order.created', 1, 0, 'E', 'm', 't', 'f', 'discarded', now(), 'no')",
            (event_id,),
        )
        thread, ended = in_thread(lambda: shop.replay("#", group="shop"))
        wait_until(lambda: rows.waiting() > 0)
        other.connection.commit()
        thread.join(10)

    assert ended[0].outcomes[Outcome.LEFT_DEAD] == 1
    assert rows.delivery(event_id, "shop")["state"] == "cancelled"


def test_a_batch_in_which_little_was_meant_is_not_the_last(shop: EventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the events of a story some are of other types: the batches after it are read as well."""
    monkeypatch.setattr(replay_batches, "BATCH", 3)
    for number in range(9):
        type = "order.created" if number % 2 else "order.paid"
        shop.publish(type, number, source="orders", correlation_id="story")

    replay = shop.replay("order.created", correlation_id="story", group="shop")

    assert replay.count == 4


def test_two_replays_that_insert_the_same_rows_insert_them_once(shop: EventBus, rows: Rows) -> None:
    """The second waits for the first, then finds them open."""
    rows.all("DELETE FROM eventbus.delivery")
    threads = [in_thread(lambda: shop.replay("#", group="shop")) for _ in range(4)]
    for thread, _ in threads:
        thread.join(20)

    replays = [ended[0] for _, ended in threads]
    assert [replay.count for replay in replays] == [40] * 4
    assert sum(replay.outcomes[Outcome.INSERTED] for replay in replays) == 40
    assert states(rows, "shop") == {"pending": 40}
