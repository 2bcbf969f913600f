"""Attendance: when a worker counts as one that reads its queues and has nothing to do."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery import bootsteps
from celery.worker import state as worker_state

from eventbus.worker.attendance import is_idle


def worker(
    *, state: int = bootsteps.RUN, reading: int = bootsteps.RUN, started: int = 3, is_connected: bool = True
) -> Any:
    """A worker of Celery's with two processes, as far as it is asked."""
    consumer = SimpleNamespace(blueprint=SimpleNamespace(state=reading, started=started), steps=[1, 2, 3])
    return SimpleNamespace(
        blueprint=SimpleNamespace(state=state),
        consumer=consumer if is_connected else None,
        pool=SimpleNamespace(num_processes=2),
    )


@pytest.mark.parametrize(("taken", "expected"), [(0, True), (1, True), (2, False), (3, False)])
def test_a_worker_with_a_free_process_is_idle(taken: int, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose processes are all at work has a reason not to take what is in its own queue."""
    monkeypatch.setattr(worker_state, "reserved_requests", set(range(taken)))

    assert is_idle(worker()) is expected


@pytest.mark.parametrize(
    "busy",
    [
        worker(state=bootsteps.CLOSE),
        worker(is_connected=False),
        worker(reading=bootsteps.CLOSE),
        worker(started=2),
    ],
    ids=["ends", "has no consumer yet", "connects anew", "still connects"],
)
def test_a_worker_that_does_not_read_its_queues_now_is_not_idle(busy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To restart it would only keep it from beginning, or from ending."""
    monkeypatch.setattr(worker_state, "reserved_requests", set())

    assert not is_idle(busy)
