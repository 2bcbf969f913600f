"""Passing on: a task goes to a child that is free as soon as it is there, not after everything else that Celery's loop has to do.

    message read ─▶ task made ─▶ written to a free child at once, as a whole
                                 └─ none is free: Celery's loop writes it when one is

Celery writes in the next turn of its loop, after it has read the next message and asked the kernel which children can be written
to; and in two parts, the first of which wakes the child in vain. Nothing but time hangs on it.
"""

import select
from collections.abc import Callable
from typing import Any

from celery.concurrency.asynpool import SCHED_STRATEGY_FAIR, AsynPool

#: Of a pool, none of which Celery promises to keep.
_USED = ("_quick_put", "outbound_buffer", "sched_strategy", "_all_inqueues", "_busy_workers", "_active_writes")


def pass_on_at_once() -> None:
    """Let pools that are started from now on pass tasks on in this way."""
    AsynPool._create_write_handlers = _create_write_handlers


def _create_write_handlers(pool: Any, hub: Any, **options: Any) -> None:
    _create(pool, hub, **options)
    if not (all(hasattr(pool, name) for name in _USED) and hasattr(hub, "consolidate_callback")):
        return  # another version of Celery's, which does it in its own way
    put = pool._quick_put

    def put_and_write(task: Any) -> None:
        put(task)
        _join(pool.outbound_buffer[-1])
        # Celery's other strategy gives a child more than it can run now, and has to know first which of them take it.
        if pool.sched_strategy == SCHED_STRATEGY_FAIR:
            free = pool._all_inqueues - pool._busy_workers - pool._active_writes
            if free:
                hub.consolidate_callback(list(free))

    pool._quick_put = put_and_write


def _join(job: Any) -> None:
    """Let *job* be one write: a pipe takes so little as a whole, or nothing of it."""
    header, body, size = job._payload
    if len(header) + size <= select.PIPE_BUF:
        job._payload = memoryview(bytes(header) + bytes(body)), body[:0], 0


_create: Callable[..., None] = AsynPool._create_write_handlers
