"""What Flower is told of a delivery that failed in a task that names another event, or none."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, Task
from celery.events.dispatcher import EventDispatcher

from eventbus.event import Event
from eventbus.lifecycle.settlement import Dead, Fenced, Retrying
from eventbus.storage.claiming import Claimed
from eventbus.worker.task_events import TaskEvents

EVENT = Event(
    id=uuid4(), type="order.created", version=1, source="orders", data=1, metadata={}, created_at=datetime.now(UTC)
)
CLAIMED = Claimed(
    event=EVENT, group="g", subscription_id=1, claim=1, attempts=2, deaths=0, suspect=False, replay_id=None
)


class Stock(Task):
    """A task of a group."""

    name = "eventbus.stock"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The events that are sent, as Celery's dispatcher makes them."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(EventDispatcher, "_publish", lambda self, event, *_args, **_options: found.append(event))
    return found


@pytest.mark.parametrize(("outcome", "end"), [(Retrying, "task-retried"), (Dead, "task-failed")])
def test_a_failure_is_shown_as_a_task_of_its_own(told: list[dict[str, Any]], outcome: Any, end: str) -> None:
    """Received, started and ended, by this worker, under the id that a retry goes on with."""
    with Celery("t", broker="memory://", set_as_current=False) as app:
        task = app.register_task(Stock())
        events = TaskEvents(app, hostname="w@h", are_sent=True)

        id = events.show_failure(task, CLAIMED, ValueError("no"), object.__new__(outcome))

    assert [event["type"] for event in told] == ["task-received", "task-started", end]
    assert {(event["uuid"], event["hostname"]) for event in told} == {(id, "w@h")}
    assert told[0]["args"] == f"order.created {EVENT.id}"
    assert (told[0]["retries"], "ValueError" in told[2]["exception"], "ValueError" in told[2]["traceback"]) == (
        2,
        True,
        True,
    )


def test_what_somebody_else_took_over_is_not_shown(told: list[dict[str, Any]]) -> None:
    """What becomes of it is shown by whoever has it."""
    with Celery("t", broker="memory://", set_as_current=False) as app:
        TaskEvents(app, hostname="w@h", are_sent=True).show_failure(
            app.register_task(Stock()), CLAIMED, ValueError(), Fenced()
        )

    assert told == []


def test_a_worker_without_events_tells_nobody(told: list[dict[str, Any]]) -> None:
    """It was not started with -E."""
    with Celery("t", broker="memory://", set_as_current=False) as app:
        events = TaskEvents(app, hostname="w@h", are_sent=False)

        assert events.show_failure(None, CLAIMED, ValueError("no"), object.__new__(Dead))

    assert told == []
