"""Handlers that fail: retried after a while, then dead letters; the worker and the group's other events do not suffer."""

from datetime import timedelta

import pytest

from eventbus import Event
from tests.e2e.stage import TIMEOUT, Stage, TaskEvents
from tests.support import wait_until
from tests.support.workers import WorkerProcess

#: Attempts that the group "flaky" grants: one and three retries.
FLAKY_RUNS = 4


@pytest.fixture(scope="module")
def worker(stage: Stage) -> WorkerProcess:
    """A worker for all groups, which tells the world of its tasks."""
    return stage.start(arguments=["-E"])


def heal(stage: Stage, group: str) -> None:
    """Let the handler of *group* succeed from now on, for events that failed in every attempt so far."""
    stage.change(
        "UPDATE eventbus.event_log SET data = data || '{\"failures\": 0}' "
        "WHERE id IN (SELECT event_id FROM eventbus.delivery WHERE group_name = :group)",
        group=group,
    )


def test_a_failing_event_is_retried_after_growing_waits(stage: Stage, worker: WorkerProcess) -> None:
    """Each failed run is an attempt with its error; no run before the time that the last failure set."""
    event = stage.publish("flaky.asked", {"error": "ValueError", "failures": 2})

    row = stage.wait_for_state(event, "flaky", "done")

    history = stage.history(event, "flaky")
    assert [item.state for item in history] == ["pending", *["running", "retrying"] * 2, "running", "done"]
    due = [item.due_at for item in history if item.state == "retrying"]
    assert due == sorted(due)
    for failed, again in zip(history[2::2], history[3::2], strict=False):
        # The trigger that notes it may be held up between one reading of the clock and the next.
        assert failed.at <= failed.due_at + timedelta(milliseconds=50)
        assert failed.due_at - failed.at <= timedelta(milliseconds=400)
        assert again.at >= failed.due_at
    attempts = stage.rows("SELECT * FROM eventbus.attempt WHERE event_id = :id ORDER BY id", id=event.id)
    assert [(item.number, item.kind, item.error_type) for item in attempts] == [
        (1, "error", "ValueError"),
        (2, "error", "ValueError"),
    ]
    assert (row.attempts, row.deaths) == (2, 0)
    assert [item.attempt for item in stage.effects(event, "flaky")] == [1, 2, 3]


def test_nothing_else_waits_for_a_retrying_event(stage: Stage, worker: WorkerProcess) -> None:
    """While one event of a group waits hours for its retry, the group's other events are handled."""
    waiting = stage.publish("slow.asked", {"error": "ValueError"})
    row = stage.wait_for_state(waiting, "patient", "retrying")

    others = [stage.publish("slow.asked", {"failures": 0, "error": "none"}) for _ in range(5)]

    for event in others:
        stage.wait_for_state(event, "patient", "done")
    unchanged = stage.delivery(waiting, "patient")
    assert unchanged is not None
    assert (unchanged.state, unchanged.attempts, unchanged.due_at) == ("retrying", 1, row.due_at)


def test_no_message_makes_a_retry_come_early(stage: Stage, worker: WorkerProcess) -> None:
    """A wake-up that names an event whose retry is hours away, or no event, finds nothing that is due."""
    event = stage.publish("slow.asked", {"error": "ValueError"})
    stage.wait_for_state(event, "patient", "retrying")
    queue = stage.queue("patient")

    for _ in range(5):
        stage.app.send_task(queue, (str(event.id),), queue=queue)
        stage.app.send_task(queue, (), queue=queue)
    wait_until(lambda: stage.broker.llen(queue) == 0, timeout=TIMEOUT)
    for _ in range(4):
        after = stage.publish("slow.asked", {"failures": 0, "error": "none"})
        stage.wait_for_state(after, "patient", "done")

    assert len(stage.effects(event, "patient")) == 1
    assert stage.states(event, "patient") == ["pending", "running", "retrying"]


def test_a_long_wait_ends_in_postgresql(stage: Stage, worker: WorkerProcess) -> None:
    """A retry that is hours away needs no message: once it is due, the relay wakes the group."""
    event = stage.publish("slow.asked", {"error": "ValueError", "failures": 1})
    stage.wait_for_state(event, "patient", "retrying")

    stage.change("UPDATE eventbus.delivery SET due_at = now() WHERE event_id = :id", id=event.id)

    stage.wait_for_state(event, "patient", "done")
    assert [item.attempt for item in stage.effects(event, "patient")] == [1, 2]


def test_used_up_retries_end_in_a_dead_letter(stage: Stage, worker: WorkerProcess) -> None:
    """The dead letter has the event, every attempt with its own error and time, and the handler's traceback."""
    event = stage.publish("flaky.asked", {"error": "ValueError"}, correlation_id="story-3")

    details = stage.dead_letter(event, "flaky")

    letter = details.letter
    assert (letter.event_id, letter.group, letter.type) == (event.id, "flaky", "flaky.asked")
    assert (letter.attempts, letter.deaths, letter.status) == (FLAKY_RUNS, 0, "open")
    assert (letter.error_type, letter.error_message) == ("ValueError", "as asked, in attempt 4")
    assert "in raise_as" in letter.traceback
    assert "celery" not in letter.traceback
    assert [(item.number, item.error_message) for item in details.attempts] == [
        (number, f"as asked, in attempt {number}") for number in range(1, FLAKY_RUNS + 1)
    ]
    times = [item.failed_at for item in details.attempts]
    assert times == sorted(times)
    assert event.created_at < times[0]
    assert details.event == event
    assert len(stage.effects(event, "flaky")) == FLAKY_RUNS


def test_celery_hears_of_retries_and_their_end(stage: Stage, worker: WorkerProcess) -> None:
    """Flower shows RETRY and then SUCCESS for what recovers, FAILURE for what is dead."""
    with TaskEvents(stage.app) as tasks:
        recovering = stage.publish("flaky.asked", {"error": "ValueError", "failures": 1})
        dying = stage.publish("flaky.asked", {"error": "ValueError"})
        stage.wait_for_state(recovering, "flaky", "done")
        stage.wait_for_state(dying, "flaky", "dead")
        for event, end in ((recovering, "task-succeeded"), (dying, "task-failed")):
            wait_until(
                lambda event=event, end=end: end in tasks.names(event),  # type: ignore[misc]
                timeout=TIMEOUT,
                message=lambda: f"{tasks.names(recovering)} {tasks.names(dying)}",
            )

    for event, retries, end in ((recovering, 1, "task-succeeded"), (dying, FLAKY_RUNS - 1, "task-failed")):
        names = tasks.names(event)
        assert names.count("task-retried") == retries
        # Where a retry's message is late, the relay sends another one: one of the two finds nothing to do, and succeeds.
        assert names.count("task-failed") == (end == "task-failed")
        assert end in names
    received = next(item for item in tasks.of(dying) if item["type"] == "task-received")
    assert (received["name"], received["args"]) == (stage.queue("flaky"), f"flaky.asked {dying.id}")


def test_an_exception_not_worth_a_retry_ends_at_once(stage: Stage, worker: WorkerProcess) -> None:
    """give_up_on: one run, then the dead letter."""
    event = stage.publish("flaky.asked", {"error": "Refused"})

    letter = stage.dead_letter(event, "flaky").letter

    assert (letter.attempts, letter.error_type) == (1, "tests.e2e.shop.failures.Refused")
    assert stage.states(event, "flaky") == ["pending", "running", "dead"]


def test_a_dead_letter_that_is_retried_runs_as_if_new(stage: Stage, worker: WorkerProcess) -> None:
    """Attempts count from one again; the old letter is resolved, and a second failure makes a second one."""
    event = stage.publish("flaky.asked", {"error": "Refused"})
    first = stage.dead_letter(event, "flaky").letter

    assert stage.bus.retry_dead_letters("flaky.asked", group="flaky", ids=[first.id]) == 1
    wait_until(
        lambda: [item for item in stage.bus.dead_letters(group="flaky").items if item.id > first.id],
        timeout=TIMEOUT,
        message=stage.logs,
    )
    second = stage.dead_letter(event, "flaky").letter
    heal(stage, "flaky")
    assert stage.bus.retry_dead_letters("flaky.asked", group="flaky", ids=[second.id, first.id]) == 1
    stage.wait_for_state(event, "flaky", "done")

    assert (second.attempts, stage.bus.dead_letter(first.id).letter.status) == (1, "retried")
    assert [item.attempt for item in stage.effects(event, "flaky")] == [1, 1, 1]
    assert stage.bus.dead_letter(second.id).letter.status == "retried"


@pytest.mark.parametrize(
    ("error", "recorded", "message"),
    [
        ("MemoryError", "eventbus.errors.HandlerError", "the handler ran out of memory: MemoryError(as asked"),
        ("SystemExit", "eventbus.errors.HandlerError", "the handler called sys.exit: SystemExit(3)."),
        ("KeyboardInterrupt", "eventbus.errors.HandlerError", "KeyboardInterrupt"),
        ("Ignore", "eventbus.errors.HandlerError", "the handler raised Ignore: Ignore(as asked"),
        ("Reject", "eventbus.errors.HandlerError", "the handler raised Reject: Reject("),
        ("Panic", "eventbus.errors.HandlerError", "the handler raised Panic: Panic(as asked"),
        ("Unpicklable", "tests.e2e.shop.failures.Unpicklable", "unpicklable: as asked, in attempt 1"),
        ("Unprintable", "tests.e2e.shop.failures.Unprintable", "(its message could not be read)"),
        ("Unformattable", "SyntaxError", "as asked, in attempt 1 (file)"),
        ("Closed", "tests.e2e.shop.failures.Closed", "as asked, in attempt 1"),
        ("group", "ExceptionGroup", "as asked, in attempt 1 (1 sub-exception)"),
        ("nul", "ValueError", r"with \0 and \ud800"),
    ],
)
def test_whatever_a_handler_raises_is_a_failed_attempt(
    stage: Stage, worker: WorkerProcess, error: str, recorded: str, message: str
) -> None:
    """Also what Celery or Python take for more than that: the delivery is dead, and the worker goes on in good health."""
    event = stage.publish("strict.asked", {"error": error})

    details = stage.dead_letter(event, "strict")

    assert (details.letter.error_type, details.letter.attempts, details.letter.deaths) == (recorded, 1, 0)
    assert message in details.letter.error_message
    assert "in raise_as" in details.letter.traceback or error == "Unprintable"
    assert len(details.attempts) == len(stage.effects(event, "strict")) == 1
    after = stage.publish("strict.asked", {"error": "none", "failures": 0})
    stage.wait_for_state(after, "strict", "done")
    assert worker.is_running


@pytest.mark.parametrize("error", ["MemoryError", "Ignore", "Unpicklable", "Panic", "Unformattable", "Closed"])
def test_whatever_a_handler_raises_is_retried(stage: Stage, worker: WorkerProcess, error: str) -> None:
    """Such failures recover like all others."""
    event = stage.publish("flaky.asked", {"error": error, "failures": 1})

    stage.wait_for_state(event, "flaky", "done")

    assert [item.attempt for item in stage.effects(event, "flaky")] == [1, 2]


def test_a_hung_handler_is_ended_by_its_timeout(stage: Stage, worker: WorkerProcess) -> None:
    """timeout=: the run is a failed attempt like any other, and the same process handles the next event."""
    event = stage.publish("hang.asked")

    letter = stage.dead_letter(event, "hanging").letter

    assert (letter.error_type, letter.attempts) == ("eventbus.errors.HandlerTimeout", 1)
    assert letter.error_message == "the handler ran longer than its timeout of 0.4 s."
    assert "threading.Event().wait()" in letter.traceback


def test_soft_limits_of_the_apps_other_tasks_are_not_the_handlers(empty_stage: Stage) -> None:
    """A handler's own timeout counts."""
    empty_stage.start(environment={"SHOP_SOFT_LIMIT": "0.2"}, groups=["flaky", "slow"])

    slow = empty_stage.publish("slow.run", {"seconds": 0.5})
    again = empty_stage.publish("flaky.asked", {"error": "ValueError", "failures": 1})

    row = empty_stage.wait_for_state(slow, "slow", "done")
    assert (row.attempts, row.deaths) == (0, 0)
    assert empty_stage.wait_for_state(again, "flaky", "done").attempts == 1


def test_what_an_app_wants_of_all_its_tasks_is_not_the_groups(empty_stage: Stage) -> None:
    """Not another serializer, nor annotations: not a rate, nor a number of retries, nor a hook."""
    worker = empty_stage.start(module="tests.e2e.shop.contrary", environment={"C_FORCE_ROOT": "1"})
    events = [empty_stage.publish("strict.asked", {"error": "none", "failures": 0}) for _ in range(6)]
    again = empty_stage.publish("flaky.asked", {"error": "ValueError", "failures": 1})
    dead = empty_stage.publish("strict.asked", {"error": "ValueError"})

    for event in events:
        empty_stage.wait_for_state(event, "strict", "done")
    assert empty_stage.wait_for_state(again, "flaky", "done").attempts == 1
    assert empty_stage.dead_letter(dead, "strict").letter.error_type == "ValueError"
    for said in ("the app's own on_failure", "Received invalid task message", "consumer_restarted"):
        assert said not in worker.log


def test_on_failure_alone_writes_the_dead_letter(empty_stage: Stage) -> None:
    """With the in-task path removed from the app, Celery's failure hook writes the same dead letter."""
    empty_stage.start(module="tests.e2e.shop.no_give_up")

    retried = empty_stage.publish("flaky.asked", {"error": "ValueError"})
    refused = empty_stage.publish("flaky.asked", {"error": "Refused"})
    odd = [empty_stage.publish("strict.asked", {"error": error}) for error in ("MemoryError", "Unpicklable")]

    details = empty_stage.dead_letter(retried, "flaky")
    assert (details.letter.attempts, details.letter.error_type) == (FLAKY_RUNS, "ValueError")
    assert [item.number for item in details.attempts] == list(range(1, FLAKY_RUNS + 1))
    assert "in raise_as" in details.letter.traceback
    assert empty_stage.dead_letter(refused, "flaky").letter.attempts == 1
    for event in odd:
        assert_dead_once(empty_stage, event)


def test_an_error_while_settling_costs_no_retry(empty_stage: Stage) -> None:
    """A connection that is lost while a failed run is settled does not end in a dead letter: the run counts, no more."""
    empty_stage.start(module="tests.e2e.shop.shaky", concurrency=1)

    event = empty_stage.publish("flaky.asked", {"error": "ValueError", "failures": 1})

    empty_stage.wait_for_state(event, "flaky", "done")
    (attempt,) = empty_stage.rows("SELECT * FROM eventbus.attempt WHERE event_id = :id", id=event.id)
    assert (attempt.number, attempt.error_type) == (1, "ValueError")


def assert_dead_once(stage: Stage, event: Event) -> None:
    """The delivery of *event* to "strict" is dead after one run, with one letter."""
    details = stage.dead_letter(event, "strict")
    assert (details.letter.attempts, len(details.attempts)) == (1, 1)
    assert len(stage.effects(event, "strict")) == 1
