"""Latecomers: what a transaction publishes that is older than a group's subscription, and commits after a replay has passed it."""

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import count
from typing import Any

import psycopg2
import pytest
import sqlalchemy
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ
from sqlalchemy.orm import Session

from eventbus import EventBus
from eventbus.errors import ReplayStopped
from eventbus.event import Event
from eventbus.lifecycle import replay_batches
from eventbus.lifecycle.replay_planning import Asked
from eventbus.replay import Outcome, ReplayState
from eventbus.storage import latecomers
from eventbus.storage.latecomers import Latecomer, still_open
from eventbus.storage.replays import Job
from tests.integration.conftest import MakeBus, Run
from tests.support import requirements, wait_until
from tests.support.replays import fill_log
from tests.support.rows import Rows
from tests.support.threads import in_thread

GROUP = "late"
AN_HOUR_AGO = """
UPDATE eventbus.subscription
SET created_at = created_at - interval '1 hour', visible_at = visible_at - interval '1 hour'
"""


@pytest.fixture
def older(bus: EventBus) -> Iterator[Session]:
    """A transaction of another service, open since before the group came."""
    with Session(bus.database.engine) as session:
        yield session


@pytest.fixture
def preparing(rows: Rows, request: pytest.FixtureRequest) -> None:
    """A server that lets transactions be prepared."""
    if rows.value("SHOW max_prepared_transactions") == "0":
        requirements.skip(request.node, "a server with max_prepared_transactions")


def join(bus: EventBus, **options: Any) -> None:
    """Let the group subscribe to orders."""
    bus.subscribe("order.*", group=GROUP, handler=lambda event: None, **options)
    bus.sync()


def publish(bus: EventBus, session: Session | None = None, type: str = "order.created", **options: Any) -> Event:
    """Publish an event, in *session*."""
    return bus.publish(type, {}, source="tests", session=session, **options)


def create(bus: EventBus, **asked: Any) -> Job:
    """A planned replay to the group."""
    return bus.replaying.create(bus.replaying.plan(Asked(group=GROUP, **asked)))


def delivered(rows: Rows) -> dict[str, str]:
    """The group's deliveries: the state of each, by its event's id."""
    return dict(rows.all("SELECT CAST(event_id AS text), state FROM eventbus.delivery WHERE group_name = %s", GROUP))


def all_pending(*events: Event) -> dict[str, str]:
    """That the group is owed just these."""
    return {str(event.id): "pending" for event in events}


def end_while_it_waits(bus: EventBus, job: Job, caplog: pytest.LogCaptureFixture, session: Session) -> Job:
    """Run *job* until it waits, then commit *session*; the job as it was left."""
    caplog.clear()
    thread, ended = in_thread(lambda: bus.replaying.run(job.id))
    wait_until(lambda: "replay_waits" in caplog.messages, message="a replay that waits")
    session.commit()
    thread.join(20)
    [left] = ended
    assert isinstance(left, Job), left
    return left


def end_without_waiting(bus: EventBus, job: Job, caplog: pytest.LogCaptureFixture) -> None:
    """Run *job* to its end, which must not wait for anybody."""
    left = bus.replaying.run(job.id)

    assert left.state is ReplayState.DONE
    assert "replay_waits" not in caplog.messages


def test_a_replay_to_a_new_group_misses_nothing_that_commits_later(
    bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends when no transaction is left that has not seen the subscription, and takes what they have published along."""
    first = publish(bus)
    late = [publish(bus, older), publish(bus, older, "order.unheard_of")]
    join(bus)
    publish(bus, older, "parcel.sent")
    seen = publish(bus)
    thread, ended = in_thread(lambda: bus.replay("#", group=GROUP))
    wait_until(lambda: "replay_waits" in caplog.messages, message="a replay that waits")
    before = delivered(rows)
    rows.all("UPDATE eventbus.delivery SET state = 'done', finished_at = now()")

    older.commit()

    thread.join(20)
    [replay] = ended
    assert before == all_pending(first, seen)
    assert delivered(rows) == all_pending(*late) | {str(item.id): "done" for item in (first, seen)}
    assert replay.outcomes == dict.fromkeys(Outcome, 0) | {Outcome.INSERTED: 3, Outcome.LEFT_OPEN: 1}
    done = bus.find_replay(replay.id)
    assert (done.seen, done.total) == (4, 4)
    [record] = [item for item in caplog.records if item.message == "replay_waits"]
    assert "idle in transaction" in vars(record)["holder"]


def test_what_commits_while_the_replay_runs_is_not_missed_either(
    bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """The transaction has ended when the replay looks again; its event lies behind the cursor."""
    late = publish(bus, older)
    first = publish(bus)
    join(bus)

    left = bus.replaying.run(create(bus, pattern="#").id, watch=lambda _moved: older.commit())

    assert left.state is ReplayState.DONE
    assert delivered(rows) == all_pending(first, late)
    assert "replay_waits" not in caplog.messages


def test_a_reader_that_publishes_later_has_not_seen_the_group(
    bus: EventBus, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """It has no number when the group comes, but a snapshot; its event is newer than all that the replay was planned for."""
    with bus.database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        session = Session(connection)
        session.execute(sqlalchemy.text("SELECT 1"))
        join(bus)
        job = create(bus, pattern="#")
        late = publish(bus, session)

        left = end_while_it_waits(bus, job, caplog, session)

    assert left.state is ReplayState.DONE
    assert delivered(rows) == all_pending(late)


def test_a_prepared_transaction_is_waited_for(
    preparing: None, bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """No backend has it any more."""
    late = publish(bus, older)
    older.execute(sqlalchemy.text(f"PREPARE TRANSACTION '{bus.settings.prefix}'"))
    older.commit()
    join(bus)
    thread, _ = in_thread(lambda: bus.replay("#", group=GROUP))
    wait_until(lambda: "replay_waits" in caplog.messages, message="a replay that waits")

    rows.all(f"COMMIT PREPARED '{bus.settings.prefix}'")

    thread.join(20)
    assert delivered(rows) == all_pending(late)


def test_a_transaction_that_is_prepared_meanwhile_is_waited_for(
    preparing: None, bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """It leaves its backend, and has not ended."""
    late = publish(bus, older)
    join(bus)
    thread, _ = in_thread(lambda: bus.replay("#", group=GROUP))
    wait_until(lambda: "replay_waits" in caplog.messages, message="a replay that waits")

    older.execute(sqlalchemy.text(f"PREPARE TRANSACTION '{bus.settings.prefix}'"))
    older.commit()
    wait_until(lambda: caplog.messages.count("replay_waits") == 2, message="a replay that waits for what was prepared")
    rows.all(f"COMMIT PREPARED '{bus.settings.prefix}'")

    thread.join(20)
    assert delivered(rows) == all_pending(late)


def test_what_others_prepare_is_not_waited_for() -> None:
    """Unless a transaction that is waited for has left its backend, and may be it."""
    ours, theirs, third = (
        Latecomer(began=datetime.now(UTC), holder="h", key=key, is_prepared=key.startswith("p"))
        for key in ("1 2/3", "prepared 4", "prepared 5")
    )

    assert still_open([ours], [ours, theirs]) == [ours]
    assert still_open([ours], [theirs]) == [theirs]
    assert still_open([theirs], [third]) == []


@pytest.mark.parametrize(
    "asked", [{"pattern": "order.*"}, {"correlation_id": "o-1"}, {"since": "1h ago"}], ids=["pattern", "story", "time"]
)
def test_only_what_was_asked_for_is_added(
    asked: dict[str, str], bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """A late event is chosen as any other."""
    chosen = publish(bus, older, correlation_id="o-1")
    publish(bus, older, "parcel.sent", correlation_id="o-2")
    join(bus)

    left = end_while_it_waits(bus, create(bus, **asked), caplog, older)

    assert delivered(rows) == all_pending(chosen)
    assert left.counts[Outcome.INSERTED] == 1


def test_what_was_recorded_outside_of_the_asked_time_is_not_added(
    bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """Whenever it commits."""
    publish(bus, older)
    until = rows.value("SELECT clock_timestamp()")
    publish(bus, older)
    join(bus)
    job = create(bus, pattern="#", since=until.isoformat())

    end_while_it_waits(bus, job, caplog, older)
    assert len(delivered(rows)) == 1

    end = publish(bus)
    rows.all("DELETE FROM eventbus.delivery")
    left = bus.replaying.run(create(bus, pattern="#", until=until.isoformat()).id)
    assert (left.state, len(delivered(rows))) == (ReplayState.DONE, 1)
    assert str(end.id) not in delivered(rows)


def test_a_group_that_opts_out_has_them_skipped(
    bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """As all that it lacks."""
    late = publish(bus, older)
    join(bus, replay="skip")

    left = end_while_it_waits(bus, create(bus, pattern="#"), caplog, older)

    assert delivered(rows) == {str(late.id): "skipped"}
    assert left.counts[Outcome.SKIPPED] == 1


@pytest.mark.parametrize("asked", ["an older group", "named events", "an earlier time", "another pattern"])
def test_nobody_else_waits(
    asked: str, bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """The transaction has seen the subscription, or cannot matter."""
    event = publish(bus)
    until = rows.value("SELECT clock_timestamp()")
    if asked == "another pattern":
        join(bus)
        rows.all(AN_HOUR_AGO)
        publish(bus, older, "parcel.sent")
        bus.subscribe("parcel.*", group=GROUP, handler=lambda event: None)
        bus.sync()
    elif asked == "an older group":
        join(bus)
        rows.all(AN_HOUR_AGO)
        publish(bus, older)
    else:
        publish(bus, older)
        join(bus)
    named: dict[str, Any] = {"pattern": "order.*"}
    if asked == "named events":
        named = {"event_ids": [event.id]}
    elif asked == "an earlier time":
        named = {"pattern": "#", "until": until.isoformat()}

    end_without_waiting(bus, create(bus, **named), caplog)

    assert delivered(rows) == all_pending(event)


def test_a_group_that_comes_back_is_new_again(
    bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """What was published meanwhile was owed to nobody."""
    join(bus)
    rows.all(AN_HOUR_AGO)
    bus.remove_group(GROUP)
    late = publish(bus, older)
    bus.sync()
    assert rows.value("SELECT visible_at > created_at FROM eventbus.subscription")

    end_while_it_waits(bus, create(bus, pattern="#"), caplog, older)

    assert delivered(rows) == all_pending(late)


def test_a_group_that_an_older_version_brought_back_is_new_again(
    bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that was started before the upgrade notes nothing."""
    join(bus)
    rows.all(AN_HOUR_AGO)
    bus.remove_group(GROUP)
    late = publish(bus, older)
    rows.all("UPDATE eventbus.subscription SET removed_at = NULL, created_at = clock_timestamp()")

    end_while_it_waits(bus, create(bus, pattern="#"), caplog, older)

    assert delivered(rows) == all_pending(late)


def test_a_handler_that_runs_long_keeps_no_replay_to_its_own_group_waiting(
    bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """Its transaction began after the group had come, however shortly."""
    join(bus)
    late = publish(bus, older)

    end_without_waiting(bus, create(bus, pattern="#"), caplog)

    older.commit()
    assert delivered(rows) == all_pending(late)


def test_a_subscription_of_which_nobody_noted_that_it_was_committed_may_be_new(
    bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever wrote it has died; the next one that starts notes it."""
    late = publish(bus, older)
    bus.subscribe("parcel.*", group=GROUP, handler=lambda event: None)
    join(bus)
    rows.all(AN_HOUR_AGO)
    rows.all("UPDATE eventbus.subscription SET visible_at = NULL WHERE pattern = 'order.*'")

    end_while_it_waits(bus, create(bus, pattern="#"), caplog, older)
    bus.sync()

    assert delivered(rows) == all_pending(late)
    assert rows.value("SELECT max(visible_at) > now() - interval '1 minute' FROM eventbus.subscription")


def test_who_begins_after_the_replay_was_planned_is_not_waited_for(
    bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """A bus is never without a transaction."""
    late = publish(bus, older)
    join(bus)
    job = create(bus, pattern="#")
    with Session(bus.database.engine) as younger:
        publish(bus, younger)
        older.commit()

        end_without_waiting(bus, job, caplog)

    assert delivered(rows) == all_pending(late)


def test_stopped_or_cancelled_while_it_waits_it_can_be_resumed_or_not(
    bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """As between any two batches, and at once; what it had passed is not done again."""
    first, late = publish(bus), publish(bus, older)
    join(bus)
    jobs = [create(bus, pattern="#") for _ in range(2)]
    stop = threading.Event()

    left = bus.replaying.run(jobs[0].id, stop=stop, tell=lambda _oldest: stop.set())
    thread, ended = in_thread(lambda: bus.resume_replay(jobs[1].id))
    wait_until(lambda: "replay_waits" in caplog.messages, message="another one that waits")
    assert bus.cancel_replay(jobs[1].id)
    thread.join(20)

    assert (left.state, left.seen) == (ReplayState.INTERRUPTED, 1)
    assert isinstance(ended[0], ReplayStopped)
    assert end_while_it_waits(bus, left, caplog, older).counts[Outcome.INSERTED] == 2
    assert delivered(rows) == all_pending(first, late)


def test_it_shows_that_it_lives_while_it_waits(
    bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """However long that is."""
    publish(bus, older)
    join(bus)
    job = create(bus, pattern="#")
    thread, ended = in_thread(lambda: bus.replaying.run(job.id))
    wait_until(lambda: "replay_waits" in caplog.messages, message="a replay that waits")
    rows.all("UPDATE eventbus.replay SET updated_at = updated_at - interval '1 minute'")

    wait_until(lambda: bus.find_replay(job.id).shown_state is ReplayState.RUNNING, message="a replay that moves")
    assert caplog.messages.count("replay_waits") == 1

    older.rollback()
    thread.join(20)
    assert (ended[0].state, delivered(rows)) == (ReplayState.DONE, {})


def test_many_late_events_come_in_batches_each_once(
    bus: EventBus, rows: Rows, older: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when a batch fails, and the replay is resumed."""
    monkeypatch.setattr(replay_batches, "BATCH", 2)
    fill_log(rows, 3)
    late = [publish(bus, older) for _ in range(7)]
    join(bus)
    job = create(bus, pattern="#")
    older.commit()
    # As if all had committed behind it. What was recorded before the transaction began is not looked at again.
    rows.all("UPDATE eventbus.replay SET cursor = last_id")
    calls = []

    def fail(moved: Job) -> None:
        calls.append(moved.seen)
        if len(calls) == 3:
            raise LookupError

    with pytest.raises(LookupError):
        bus.replaying.run(job.id, watch=fail)
    stood = bus.find_replay(job.id).cursor
    left = bus.replaying.run(job.id)

    assert stood == job.selection.last_id
    assert calls == [0, 2, 4]
    assert (left.state, left.counts[Outcome.INSERTED]) == (ReplayState.DONE, 7)
    assert delivered(rows) == all_pending(*late)


def test_where_others_transactions_are_hidden_they_are_told_from_those_to_come(
    bus: EventBus, rows: Rows, database_url: str
) -> None:
    """A role without pg_read_all_stats does not see when another's began: only that it is another one by now."""
    role = f"{bus.settings.prefix}_blind".replace("-", "_")
    rows.all(f'CREATE ROLE "{role}" LOGIN')
    rows.all(f'GRANT USAGE ON SCHEMA eventbus TO "{role}"')
    rows.all(f'GRANT SELECT ON eventbus.subscription TO "{role}"')
    join(bus)
    [subscription] = [id for (id,) in rows.all("SELECT id FROM eventbus.subscription")]
    try:
        with closing(psycopg2.connect(database_url)) as reader, bus.database.autocommit() as connection:
            reader.set_isolation_level(ISOLATION_LEVEL_REPEATABLE_READ)
            connection.change(f'SET ROLE "{role}"')
            found = []
            for _ in range(2):
                reader.cursor().execute("SELECT 1")
                found.append([item.key for item in latecomers.list_open(connection, [subscription])])
                found.append([item.key for item in latecomers.list_open(connection, [subscription])])
                reader.rollback()
            connection.change("RESET ROLE")
    finally:
        rows.all(f'DROP OWNED BY "{role}"')
        rows.all(f'DROP ROLE "{role}"')
    assert [len(keys) for keys in found] == [1, 1, 1, 1]
    assert found[0] == found[1] != found[2] == found[3]


def test_who_begins_while_it_waits_is_not_waited_for(bus: EventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it cannot be seen since when each transaction is open."""
    join(bus)
    numbers = count()

    def list_open(*_: object, **__: object) -> list[Latecomer]:
        return [Latecomer(began=datetime.now(UTC), holder="somebody", key=f"1 {next(numbers)}", is_prepared=False)]

    monkeypatch.setattr(latecomers, "list_open", list_open)
    told: list[Latecomer] = []

    left = bus.replaying.run(create(bus, pattern="#").id, tell=told.append)

    assert left.state is ReplayState.DONE
    assert len(told) == 1


def test_what_commits_between_a_count_and_its_replay_is_not_missed(bus: EventBus, rows: Rows, older: Session) -> None:
    """A person looks at the number before they go on; what they agreed to ends with the newest event of that moment."""
    first, late = publish(bus), publish(bus, older)
    join(bus)
    counted = bus.replaying.plan(Asked(group=GROUP, pattern="#"))
    older.commit()

    bus.replaying.run(create(bus, pattern="#", last_id=counted.selection.last_id).id)

    assert counted.selection.last_id == first.id
    assert delivered(rows) == all_pending(first, late)


def test_what_commits_while_the_replay_is_planned_is_not_missed(
    bus: EventBus, rows: Rows, older: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bounds are read after who is open."""
    first, late = publish(bus), publish(bus, older, "order.unheard_of")
    join(bus)
    list_open = latecomers.list_open

    def list_then_commit(*arguments: Any, **options: Any) -> list[Latecomer]:
        found = list_open(*arguments, **options)
        older.commit()
        return found

    monkeypatch.setattr(latecomers, "list_open", list_then_commit)

    bus.replay("#", group=GROUP)

    assert delivered(rows) == all_pending(first, late)


def test_a_job_of_an_older_version_is_finished_with_care(bus: EventBus, rows: Rows, older: Session) -> None:
    """Its planner did not look whether anything was open."""
    late = publish(bus, older)
    join(bus)
    publish(bus)
    job = create(bus, pattern="#")
    rows.all("UPDATE eventbus.replay SET filter = filter - 'unsettled_since', cursor = last_id")
    older.commit()

    bus.replaying.run(job.id)

    assert str(late.id) in delivered(rows)


def test_a_subscription_that_comes_after_the_plan_gets_nothing_of_it(
    bus: EventBus, rows: Rows, older: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether anything is waited for must not decide what is delivered."""
    publish(bus, type="parcel.sent")
    late = publish(bus, older, correlation_id="o-1")
    publish(bus, older, "parcel.sent", correlation_id="o-1")
    join(bus)
    jobs = [create(bus, pattern="#"), create(bus, correlation_id="o-1")]
    bus.subscribe("parcel.*", group=GROUP, handler=lambda event: None)
    bus.sync()

    end_while_it_waits(bus, jobs[0], caplog, older)
    bus.replaying.run(jobs[1].id)

    assert delivered(rows) == all_pending(late)


@pytest.mark.parametrize("asked", [{"pattern": "#"}, {"correlation_id": "o-1"}], ids=["pattern", "story"])
@pytest.mark.parametrize("removes", [True, False], ids=["removed and declared anew", "replaced"])
def test_a_subscription_that_takes_the_place_of_another_is_owed_what_commits_late(
    bus: EventBus,
    make_bus: MakeBus,
    rows: Rows,
    older: Session,
    caplog: pytest.LogCaptureFixture,
    asked: dict[str, str],
    *,
    removes: bool,
) -> None:
    """A deploy while a replay waits changes nothing of what was meant."""
    late = publish(bus, older, correlation_id="o-1")
    publish(bus, older, "order.line.added", correlation_id="o-1")
    join(bus)
    job = create(bus, **asked)
    if removes:
        bus.remove_group(GROUP)
        bus.sync()
    else:
        other = make_bus()
        other.subscribe("order.#", group=GROUP, handler=lambda event: None)
        other.sync(replace=True)

    end_while_it_waits(bus, job, caplog, older)

    assert delivered(rows) == all_pending(late)


def test_a_job_of_older_code_ends_as_it_was_planned(bus: EventBus, rows: Rows, older: Session) -> None:
    """It did not note which patterns there were: those of subscriptions that are older than it."""
    late = publish(bus, older, correlation_id="o-1")
    publish(bus, older, "parcel.sent", correlation_id="o-1")
    join(bus)
    job = create(bus, pattern="#")
    rows.all("UPDATE eventbus.replay SET filter = filter - 'patterns'")
    bus.subscribe("parcel.*", group=GROUP, handler=lambda event: None)
    bus.sync()
    older.commit()

    bus.replaying.run(job.id)

    assert delivered(rows) == all_pending(late)


def test_the_command_says_whom_it_waits_for(
    bus: EventBus,
    rows: Rows,
    older: Session,
    run_here: Run,
    environment: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On standard error, as all that is no result, and once."""
    publish(bus, older)
    join(bus)

    def commit_while_it_waits() -> None:
        moved = "SELECT count(*) FROM eventbus.replay WHERE state = 'running' AND updated_at > created_at + interval '0.4 s'"
        wait_until(lambda: rows.value(moved) == 1, message="a replay that waits")
        older.commit()

    thread, _ = in_thread(commit_while_it_waits)

    result = run_here("replay", "run", "#", "--group", GROUP, "--yes")

    thread.join(20)
    assert result.returncode == 0
    assert result.stdout.endswith("1 deliveries to late.\n")
    assert "whose transaction is older than the group's newest subscription" in result.stderr
    assert "replay_waits" not in caplog.messages
    assert "1 of 1 deliveries" in result.stderr
