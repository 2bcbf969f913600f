"""Handling: whatever a handler does, its run ends in time and in one of few ways."""

import asyncio
import contextlib
import functools
import signal
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
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


class Panic(BaseException):
    """What is no ordinary exception, and means nothing to anybody else."""


class Unreadable:
    """Says nothing, and equals nothing."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equal")

    __hash__ = None  # type: ignore[assignment]


class Interrupted(KeyboardInterrupt):
    """Cannot be read."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Closed(Exception):
    """Nothing of it can be had."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


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


def generating(event: Event) -> Iterator[Event]:
    done.append(current_run())
    yield event


async def generating_asynchronously(event: Event) -> AsyncIterator[Event]:
    done.append(current_run())
    yield event


async def forgetful(event: Event) -> Any:
    return plain(event)


@pytest.mark.parametrize(
    ("handler", "returned"),
    [
        (lambda event: generating(event), "generator generating"),
        (lambda event: generating_asynchronously(event), "async_generator generating_asynchronously"),
        (forgetful, "coroutine plain"),
        (lambda event: (done.append(item) for item in [event]), "generator "),
    ],
    ids=["generator", "async generator", "coroutine", "expression"],
)
def test_code_that_a_handler_returns_has_not_run(handler: Callable[..., Any], returned: str) -> None:
    """The run failed: nobody would ever run it. What the handler has to await or to iterate is named."""
    done.clear()

    result = run(handler)

    assert isinstance(result, HandlerError)
    assert f"the handler returned the {returned}" in str(result)
    assert done == []


async def gathering(event: Event, delivery: Delivery) -> Any:
    return asyncio.gather(Asynchronous()(event, delivery), plain(event))


async def starting(event: Event, delivery: Delivery) -> Any:
    return asyncio.create_task(Asynchronous()(event, delivery))


@pytest.mark.parametrize("handler", [gathering, starting], ids=["gather", "task"])
def test_work_that_a_handler_returns_has_not_ended(handler: Callable[..., Any]) -> None:
    """The run failed: an await is missing. What it started does not go on in the next run."""
    result = run(handler)
    done.clear()
    following = [run(Asynchronous(), attempts=7), run(Asynchronous(), attempts=8)]

    assert isinstance(result, HandlerError)
    assert "that has not ended: it must await" in str(result)
    assert following == [None, None]
    assert [item.delivery.attempt for item in done] == [8, 9]


def test_what_a_handler_has_left_to_another_thread_has_to_end_as_well() -> None:
    """Its failure is the run's."""
    never, failed, fine = Future[int](), Future[int](), Future[int]()
    failed.set_exception(LookupError("no such order"))
    fine.set_result(1)

    results = [run(lambda event, work=work: work) for work in (never, failed, fine)]

    assert [type(item) for item in results] == [HandlerError, LookupError, type(None)]
    assert never.cancelled()


def test_what_has_run_may_be_returned() -> None:
    """A generator that the handler has iterated is a value like any other."""

    def handler(event: Event) -> Any:
        work = (done.append(item) for item in [event])
        list(work)
        return work

    done.clear()

    assert run(handler) is None
    assert done == [EVENT]


@pytest.mark.parametrize("value", [3, [1], iter([1]), {"a": 1}, asyncio, plain])
def test_what_else_a_handler_returns_does_not_matter(value: Any) -> None:
    """It is done."""
    assert run(lambda event: value) is None


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


def test_an_exception_that_answers_nothing_is_the_result_too() -> None:
    """Nothing is asked of it."""
    error = Closed()

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
        (Panic("out of range"), "raised Panic: Panic(out of range)"),
        (BaseExceptionGroup("both", [Panic()]), "raised BaseExceptionGroup"),
        (SystemExit(Unreadable()), "called sys.exit: SystemExit((its message could not be read))"),
        (Interrupted(), "raised Interrupted: Interrupted((its message could not be read))"),
    ],
)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_means_more_to_a_worker_is_a_failure_of_the_handler_and_no_more(
    kind: str, error: BaseException, says: str
) -> None:
    """No handler can end its worker, or make Celery drop a delivery; the cause is kept."""

    async def handler(event: Event) -> None:
        raise error

    result = run(raising(error) if kind == "sync" else handler)

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


def swallowing(event: Event) -> None:
    with contextlib.suppress(Exception):
        wait_for_ever()


async def swallowing_asynchronously(event: Event) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


async def blocking(event: Event) -> None:
    ends_seconds = time.monotonic() + 2 * SHORT.total_seconds()
    while time.monotonic() < ends_seconds:
        pass


@pytest.mark.parametrize("handler", [swallowing, swallowing_asynchronously, blocking])
def test_a_run_that_goes_on_beyond_its_time_limit_has_failed(handler: Callable[..., Any]) -> None:
    """Whatever it does with what should end it, and where nothing can."""
    result = run(handler, timeout=SHORT)

    assert isinstance(result, HandlerTimeout)
    assert "longer than its timeout of 0.05 s" in str(result)


def test_a_time_limit_that_was_swallowed_says_where_it_struck() -> None:
    """What took so long is found."""
    result = run(swallowing, timeout=SHORT)

    assert "wait_for_ever" in [frame.name for frame in traceback.extract_tb(result.__traceback__)]


def test_what_a_handler_raises_at_its_time_limit_is_its_own() -> None:
    """It says more than the limit does, which it is shown with."""

    def handler(event: Event) -> None:
        try:
            wait_for_ever()
        except Exception as error:
            raise ValueError("the warehouse") from error

    result = run(handler, timeout=SHORT)

    assert isinstance(result, ValueError)
    assert isinstance(result.__cause__, HandlerTimeout)


def test_a_time_limit_does_not_outlive_its_run() -> None:
    """The next code in the process is not hit by it, whether the run ended well or not."""
    limit = timedelta(seconds=0.3)  # which a run that does nothing keeps on a busy machine, too
    results = [run(lambda event: None, timeout=limit), run(raising(ValueError("bad")), timeout=limit)]

    assert not threading.Event().wait(0.4)
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
