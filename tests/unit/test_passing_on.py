"""Passing on: a free child has its task before Celery's loop turns again, and as a whole."""

import os
import select
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from celery.concurrency.asynpool import AsynPool
from kombu.asynchronous import Hub, set_event_loop

from eventbus.worker.passing_on import pass_on_at_once
from tests.support.waiting import wait_until


class Pool:
    """A pool of one child, and the loop that it hangs on, which turns only when it is told to."""

    def __init__(self) -> None:
        self.hub = Hub()
        set_event_loop(self.hub)
        self.pool = AsynPool(processes=1, threads=False, sched_strategy="fair")
        self.pool.register_with_event_loop(self.hub)
        [self.child] = self.pool._pool
        self.turn_until(lambda: self.pool._all_inqueues)

    def turn_until(self, condition: Any) -> None:
        """Let the loop turn until *condition* holds."""

        def look() -> Any:
            self.hub.call_soon(lambda: None)
            self.hub.run_once()
            return condition()

        wait_until(look)

    def answers(self, *, within_seconds: float) -> bool:
        """Whether the child has said something, which it does when it takes a task."""
        return bool(select.select([self.child.outqR_fd], [], [], within_seconds)[0])

    def close(self) -> None:
        """End the child."""
        os.kill(self.child.pid, signal.SIGKILL)
        self.child.join()
        set_event_loop(None)
        self.hub.close()


@pytest.fixture
def at_once() -> Iterator[None]:
    """With passing on, for one test."""
    before = AsynPool._create_write_handlers
    pass_on_at_once()
    yield
    AsynPool._create_write_handlers = before


@pytest.fixture
def pool(at_once: None) -> Iterator[Pool]:
    """A pool that passes on at once."""
    made = Pool()
    yield made
    made.close()


def test_a_free_child_has_its_task_before_the_loop_turns(pool: Pool) -> None:
    """What Celery's loop has to do first does not hold it up."""
    result = pool.pool.apply_async(os.getpid)

    assert pool.answers(within_seconds=10)
    pool.turn_until(result.ready)
    assert result.get() == pool.child.pid


def test_a_task_is_one_write(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first four bytes alone would wake the child in vain."""
    written, send = [], pool.child.send_job_offset

    def note(data: Any, offset: int) -> int:
        written.append(bytes(data))
        return int(send(data, offset))

    monkeypatch.setattr(pool.child, "send_job_offset", note)

    result = pool.pool.apply_async(os.getpid)
    pool.turn_until(result.ready)

    assert len(written) == 1


def test_a_task_that_no_pipe_takes_as_a_whole_arrives_whole(pool: Pool) -> None:
    """In as many parts as it needs, while the loop turns."""
    result = pool.pool.apply_async(len, (b"x" * 500_000,))
    pool.turn_until(result.ready)

    assert result.get() == 500_000


def test_a_child_that_is_busy_gets_no_second_task(pool: Pool) -> None:
    """Another child may be free before; this one has it when it is."""
    first = pool.pool.apply_async(os.getpid)
    second = pool.pool.apply_async(os.getpid)

    waiting = len(pool.pool.outbound_buffer)
    pool.turn_until(lambda: first.ready() and second.ready())

    assert waiting == 1
    assert first.get() == second.get() == pool.child.pid


def test_celery_alone_still_waits_for_its_loop() -> None:
    """When it does not any more, passing on can go."""
    alone = Pool()

    result = alone.pool.apply_async(os.getpid)

    waiting = len(alone.pool.outbound_buffer)
    alone.turn_until(result.ready)
    alone.close()
    assert waiting == 1
