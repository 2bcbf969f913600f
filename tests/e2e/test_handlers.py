"""Handlers of every kind: async, with a session, publishing themselves."""

import pytest

from tests.e2e.stage import Stage
from tests.support.workers import WorkerProcess


@pytest.fixture(scope="module")
def worker(stage: Stage) -> WorkerProcess:
    """A worker for all groups."""
    return stage.start()


def test_an_async_handler_is_awaited(stage: Stage, worker: WorkerProcess) -> None:
    """`async def` handlers run to their end, in one event loop per process: clients that they keep stay usable."""
    events = [stage.publish("async.asked") for _ in range(6)]

    for event in events:
        stage.wait_for_state(event, "async", "done")
    loops = [stage.effects(event, "async")[0] for event in events]
    assert len({(item.pid, item.facts["loop"]) for item in loops}) == len({item.pid for item in loops})


def test_nobody_looks_for_garbage_in_what_a_worker_has_loaded(stage: Stage, worker: WorkerProcess) -> None:
    """It is set aside before the pool is forked: a third of the processor time of a worker's start and end."""
    event = stage.publish("async.asked")

    (effect,) = stage.wait_for_effects(event, "async")

    assert effect.facts["frozen"] > 50_000


def test_a_hung_async_handler_is_ended_by_its_timeout(stage: Stage, worker: WorkerProcess) -> None:
    """It is cancelled, counts as a failed attempt, and does not come back inside the next delivery."""
    event = stage.publish("async.asked", {"hang": True})

    letter = stage.dead_letter(event, "async").letter

    assert letter.error_type == "eventbus.errors.HandlerTimeout"
    stage.wait_for_state(stage.publish("async.asked"), "async", "done")
    assert stage.effects(event, "async") == []


def test_a_session_commits_effect_and_completion_together(stage: Stage, worker: WorkerProcess) -> None:
    """The effect and what the handler published are written by one transaction, which is over when "done" is seen."""
    event = stage.publish("session.asked")

    stage.wait_for_state(event, "session", "done")

    (effect,) = stage.rows("SELECT xmin::text AS transaction FROM effect WHERE event_id = :id", id=event.id)
    (followed,) = stage.rows(
        "SELECT xmin::text AS transaction FROM eventbus.event_log WHERE metadata ->> 'causation_id' = :id",
        id=str(event.id),
    )
    assert effect.transaction == followed.transaction


@pytest.mark.parametrize(
    ("then", "error"),
    [
        ("fail", "ValueError"),
        ("commit", "eventbus.errors.HandlerError"),
        ("commit-below", "eventbus.errors.HandlerError"),
        ("commit-as-statement", "eventbus.errors.HandlerError"),
        ("commit-and-go-on", "sqlalchemy.exc."),
    ],
)
def test_a_failed_run_leaves_nothing_of_its_session(stage: Stage, worker: WorkerProcess, then: str, error: str) -> None:
    """Effect and publish of a run that fails, also by committing on its own, do not exist."""
    event = stage.publish("session.asked", {"then": then})

    letter = stage.dead_letter(event, "session").letter

    # What uses the worker's connections next must not commit what is left on them.
    for _ in range(6):
        stage.wait_for_state(stage.publish("session.asked"), "session", "done")
    assert letter.error_type.startswith(error)
    assert stage.effects(event, "session") == []
    assert not stage.rows("SELECT 1 FROM eventbus.event_log WHERE metadata ->> 'causation_id' = :id", id=str(event.id))


def test_publishing_in_a_handler_continues_the_story(stage: Stage, worker: WorkerProcess) -> None:
    """The correlation id is inherited, and the event that caused the publish is recorded."""
    event = stage.publish("chain.started", correlation_id="story-4")

    (effect,) = stage.wait_for_effects(event, "chain")
    (end,) = stage.wait_for_effects(effect.facts["following"], "chain-end")

    assert end.facts == {"correlation_id": "story-4", "causation_id": str(event.id)}


def test_a_story_without_a_name_gets_one(stage: Stage, worker: WorkerProcess) -> None:
    """A generated correlation id is inherited like a given one."""
    event = stage.publish("chain.started")

    (effect,) = stage.wait_for_effects(event, "chain")
    (end,) = stage.wait_for_effects(effect.facts["following"], "chain-end")

    assert end.facts["correlation_id"] == event.correlation_id
