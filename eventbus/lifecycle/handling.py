"""Handling: one call of a handler, of whatever kind it is, ended by its time limit at the latest.

    Claimed ─▶ handle ─▶ None | the exception that ended the run

With ``session`` in its signature the handler writes through a SQLAlchemy session of ours; its delivery is marked by the last
statement before its only COMMIT, so that effect and completion exist together or not at all.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import inspect
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from types import FrameType
from typing import Any

from celery.exceptions import TaskPredicate

from eventbus import tracing
from eventbus.delivery import Delivery, Run, running
from eventbus.errors import HandlerError, HandlerTimeout
from eventbus.failure import ends_process, read_message, read_traceback, read_type
from eventbus.lifecycle.handler_sessions import Sessions
from eventbus.lifecycle.settlement import Marking
from eventbus.storage.claiming import Claimed
from eventbus.subscription import Subscription

#: What `signal.signal` calls, between making enums of numbers and back; a seventh of its time, twice for each run.
_on_signal: Callable[[int, Any], Any] = getattr(signal, "_signal", signal).signal


def handle(
    subscription: Subscription, claimed: Claimed, *, sessions: Sessions, marking: Marking, hidden: Sequence[str] = ()
) -> BaseException | None:
    """Run the handler of *subscription* for *claimed*.

    Args:
        sessions: Where a handler that takes ``session`` gets it from.
        marking: How its delivery is marked, inside its transaction; not used for a handler without.
        hidden: Paths of events that no trace shows.

    Returns:
        None when the handler returned (and its session committed), ClaimLost when that no longer counts, else the
        exception that ended it.
    """
    delivery = Delivery(group=claimed.group, attempt=claimed.attempts + claimed.deaths + 1, replay=claimed.replay_id)
    with tracing.handling(claimed.event, delivery, hidden=hidden) as span:
        error = _run(subscription, claimed, delivery, sessions=sessions, marking=marking)
        if error is not None:
            span.failed(error)
        return error


def _run(
    subscription: Subscription, claimed: Claimed, delivery: Delivery, *, sessions: Sessions, marking: Marking
) -> BaseException | None:
    try:
        if "session" in subscription.takes:
            with sessions.open(within=subscription.timeout, claim=claimed.claim) as session:
                _call(subscription, Run(event=claimed.event, delivery=delivery, session=session))
                sessions.commit(session, marking)
        else:
            _call(subscription, Run(event=claimed.event, delivery=delivery))
    except BaseException as error:
        # A handler may raise anything: whatever it is, it is this run's result.
        if ends_process(error):
            raise
        if "session" in subscription.takes and sessions.was_cut and type(error) is not HandlerTimeout:
            timed_out = _timed_out(subscription.timeout)
            timed_out.__cause__ = error
            return timed_out.with_traceback(read_traceback(error))
        return as_failure(error)
    return None


def as_failure(error: BaseException) -> BaseException:
    """What *error*, which ended code of the user's, counts as: itself, or a HandlerError where it would mean more than that."""
    kind = type(error)
    if issubclass(kind, SystemExit):
        return _described(error, "called sys.exit")
    if issubclass(kind, MemoryError):
        # Carried on as another type: Celery's worker would take a MemoryError for its own.
        return _described(error, "ran out of memory")
    if issubclass(kind, TaskPredicate) or not issubclass(kind, Exception):
        # To Celery or to a process these mean more than "the handler failed", which is all that a handler can say.
        return _described(error, f"raised {_name(error)}")
    return error


def _call(subscription: Subscription, run: Run) -> None:
    handler = subscription.handler
    offered = {"delivery": run.delivery, "session": run.session}
    extra = {name: offered[name] for name in subscription.takes}
    with running(run):
        with limited(subscription.timeout):
            result = handler(run.event, **extra)
        if result is None:  # as most do: to ask what else it may be takes as long as calling one
            return
        if inspect.isawaitable(result):
            result = _await(result, subscription.timeout)
    _check_has_run(result)


def _check_has_run(result: object) -> None:
    """Make sure that what a handler has returned is no code of its own that waits to be run, or still runs."""
    if asyncio.isfuture(result) or isinstance(result, concurrent.futures.Future):
        if result.done():
            result.result()
            return
        result.cancel()
        raise HandlerError(
            f"the handler returned a {type(result).__name__} that has not ended: it must await, or wait for, what it starts."
        )
    if inspect.iscoroutine(result):
        has_run = inspect.getcoroutinestate(result) != inspect.CORO_CREATED
        result.close()
    elif inspect.isgenerator(result):
        has_run = inspect.getgeneratorstate(result) != inspect.GEN_CREATED
    else:
        has_run = not inspect.isasyncgen(result)
    if has_run:
        return
    raise HandlerError(
        f"the handler returned the {type(result).__name__} {getattr(result, '__qualname__', '')}, whose code has not run: "
        "it must await, or iterate, what it calls."
    )


class _Loop:
    """The event loop of one of the system's threads, kept: clients that handlers hold stay bound to one loop."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        #: Held by whoever runs it. Greenlets share a thread, and asyncio knows one running loop for each: they take turns.
        self.turn = threading.Lock()


#: By process and thread.
_loops: dict[tuple[int, int], _Loop] = {}


def _await(work: Awaitable[Any], timeout: timedelta) -> Any:
    key = os.getpid(), threading.get_native_id()
    loop = _loops.get(key) or _loops.setdefault(key, _Loop())
    with loop.turn:
        # Of its own accord a runner runs everything in the context in which it ran first: as part of that delivery.
        return loop.runner.run(_within(work, timeout), context=contextvars.copy_context())


async def _within(work: Awaitable[Any], timeout: timedelta) -> Any:
    loop = asyncio.get_running_loop()
    ends_seconds = loop.time() + timeout.total_seconds()
    try:
        async with asyncio.timeout_at(ends_seconds) as limit:
            result = await work
    except TimeoutError:
        # The handler's own TimeoutError passes as it is.
        if limit.expired():
            raise _timed_out(timeout) from None
        raise
    # It swallowed its cancellation; or it never gave way, so that nothing could tell it.
    if limit.expired() or loop.time() > ends_seconds:
        raise _timed_out(timeout)
    return result


class limited(contextlib.AbstractContextManager[None]):  # noqa: N801 - used as a function
    """Raise HandlerTimeout in the block after *timeout*, and at its end if it swallowed that.

    Where signals reach it: in the main thread of a pool's child.
    """

    __slots__ = ("_before", "_is_armed", "_struck", "_timeout")

    def __init__(self, timeout: timedelta) -> None:
        self._timeout = timeout
        self._struck: HandlerTimeout | None = None

    def __enter__(self) -> None:
        self._is_armed = threading.current_thread() is threading.main_thread()
        if self._is_armed:
            self._before = _on_signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self._timeout.total_seconds())

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if self._is_armed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            _on_signal(signal.SIGALRM, self._before)
        if error is None and self._struck is not None:
            # The same one, which says where it struck.
            raise self._struck

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        self._struck = _timed_out(self._timeout)
        raise self._struck


def _timed_out(timeout: timedelta) -> HandlerTimeout:
    return HandlerTimeout(f"the handler ran longer than its timeout of {timeout.total_seconds():g} s.")


def _described(error: BaseException, what: str) -> HandlerError:
    described = HandlerError(f"the handler {what}: {_name(error)}({read_message(error)}).")
    described.__cause__ = error
    return described.with_traceback(read_traceback(error))


def _name(error: BaseException) -> str:
    return read_type(error).rpartition(".")[2]
