"""Handling: whatever a handler does, its run ends in time and in one of few ways."""

import asyncio
import functools
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from celery.exceptions import Ignore, Reject, Retry, WorkerShutdown, WorkerTerminate

from eventbus.delivery import Delivery, current_run
from eventbus.errors import HandlerError, HandlerTimeout
from eventbus.event import Event
from eventbus.lifecycle.handling import handle
from eventbus.retry import RetryPolicy
from eventbus.storage.claiming import Claimed
from eventbus.subscription import declare

EVENT = Event(
    id=uuid4(), type="order.created", version=1, source="orders", data=1, metadata={}, created_at=datetime.now(UTC)
)
SHORT = timedelta(seconds=0.05)


def run(
    handler: Callable[..., Any], *, timeout: timedelta = timedelta(seconds=30), event: Event = EVENT, **options: Any
) -> Any:
    """What `handle` says of one run."""
    subscription = declare(
        "#", group="g", handler=handler, timeout=timeout, replay="run", retry=RetryPolicy(max_retries=3)
    )
    values = {"attempts": 0, "deaths": 0, "suspect": False, "replay_id": None, **options}
    claimed = Claimed(event=event, group="g", subscription_id=1, claim=1, **values)
    return handle(subscription, claimed, sessions=None, marking=None)  # type: ignore[arg-type]


def wait_for_ever() -> None:
    """Block in a way that a signal interrupts."""
    threading.Event().wait(30)


def raising(error: BaseException) -> Callable[[Event], None]:
    """A handler that raises."""

    def handler(event: Event) -> None:
        raise error

    return handler


def test_a_handler_is_given_the_event_and_what_it_names() -> None:
    """`delivery` tells group, attempt and replay; deaths count as runs."""
    replay = uuid4()
    seen: list[Any] = []

    def handler(event: Event, delivery: Delivery) -> None:
        seen.extend([event, delivery, current_run()])

    result = run(handler, attempts=2, deaths=1, replay_id=replay)

    assert result is None
    assert seen[:2] == [EVENT, Delivery(group="g", attempt=4, replay=replay)]
    assert seen[2].event is EVENT
    assert current_run() is None


class Asynchronous:
    """An object whose call is a coroutine."""

    async def __call__(self, event: Event, delivery: Delivery) -> None:
        await asyncio.wait([asyncio.ensure_future(asyncio.wait_for(asyncio.Event().wait(), 0.001))])
        done.append(current_run())


done: list[Any] = []


async def plain(event: Event) -> None:
    done.append(current_run())


def test_each_async_run_is_part_of_its_own_delivery() -> None:
    """What an async handler publishes is caused by the event that it handles, not by the first one of its process."""
    done.clear()

    for attempts in range(3):
        run(plain, attempts=attempts)

    assert [item.delivery.attempt for item in done] == [1, 2, 3]


@pytest.mark.parametrize(
    "handler",
    [plain, functools.partial(plain), Asynchronous(), lambda event: plain(event)],
    ids=["function", "partial", "object", "lambda"],
)
def test_async_handlers_are_awaited(handler: Callable[..., Any]) -> None:
    """Whatever hides the coroutine: a partial, an object, a plain function that returns it."""
    done.clear()

    result = run(handler)

    assert result is None
    assert [item.event for item in done] == [EVENT]


def test_async_handlers_share_one_event_loop() -> None:
    """A client that one run has opened is usable in the next."""
    loops: list[Any] = []

    async def handler(event: Event) -> None:
        loops.append(asyncio.get_running_loop())

    run(handler)
    run(handler)

    assert loops[0] is loops[1]


@pytest.mark.parametrize("error", [ValueError("bad"), TimeoutError("mine"), RecursionError(), StopIteration()])
def test_an_exception_is_the_result_of_the_run(error: Exception) -> None:
    """It is returned, not raised: the caller settles it."""
    assert run(raising(error)) is error


@pytest.mark.parametrize("error", [ValueError("bad"), TimeoutError("mine")])
def test_an_exception_of_an_async_handler_is_the_result_too(error: Exception) -> None:
    """Its own TimeoutError is not mistaken for the limit."""

    async def handler(event: Event) -> None:
        raise error

    assert run(handler) is error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "ran out of memory"),
        (SystemExit(3), "called sys.exit"),
        (SystemExit(), "called sys.exit"),
        (Ignore(), "raised Ignore"),
        (Reject("no"), "raised Reject"),
        (Retry("later"), "raised Retry"),
        (asyncio.CancelledError(), "raised CancelledError"),
        (GeneratorExit(), "raised GeneratorExit"),
        (KeyboardInterrupt(), "raised KeyboardInterrupt"),
    ],
)
def test_what_means_more_to_a_worker_is_a_failure_of_the_handler_and_no_more(error: BaseException, says: str) -> None:
    """No handler can end its worker, or make Celery drop a delivery; the cause is kept."""
    result = run(raising(error))

    assert isinstance(result, HandlerError)
    assert f"the handler {says}" in str(result)
    assert result.__cause__ is error
    assert result.__traceback__ is not None


@pytest.mark.parametrize("error", [SystemExit(-241), WorkerShutdown(0), WorkerTerminate(1)])
def test_the_pools_own_exit_passes(error: BaseException) -> None:
    """A hard time limit or a shutdown is the worker's business."""
    with pytest.raises(type(error)) as caught:
        run(raising(error))

    assert caught.value is error


def test_a_handler_is_stopped_at_its_time_limit() -> None:
    """The run counts as a failed attempt, and says how long it may take."""
    result = run(lambda event: wait_for_ever(), timeout=SHORT)

    assert isinstance(result, HandlerTimeout)
    assert "longer than its timeout of 0.05 s" in str(result)


def test_an_async_handler_is_stopped_at_its_time_limit() -> None:
    """The coroutine is cancelled, so that it does not go on inside the next run."""
    cancelled: list[bool] = []

    async def handler(event: Event) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    result = run(handler, timeout=SHORT)

    assert isinstance(result, HandlerTimeout)
    assert cancelled == [True]


def test_a_time_limit_does_not_outlive_its_run() -> None:
    """The next code in the process is not hit by it, whether the run ended well or not."""
    results = [run(lambda event: None, timeout=SHORT), run(raising(ValueError("bad")), timeout=SHORT)]

    assert not threading.Event().wait(0.1)
    assert [type(result) for result in results] == [type(None), ValueError]


def test_the_alarm_is_afterwards_whose_it_was() -> None:
    """A time limit borrows the process's signal from whoever waits for it."""

    def own(_number: int, _frame: object) -> None: ...

    before = signal.signal(signal.SIGALRM, own)
    try:
        run(lambda event: None)
        after = signal.getsignal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)

    assert after is own


def test_outside_the_main_thread_a_synchronous_handler_has_no_time_limit() -> None:
    """Signals do not reach it there; it runs all the same."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(run(lambda event: done.append(1), timeout=SHORT)))

    thread.start()
    thread.join()

    assert results == [None]
