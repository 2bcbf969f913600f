"""Handling: one call of a handler, of whatever kind it is, ended by its time limit at the latest.

    Claimed ─▶ handle ─▶ None | the exception that ended the run

With ``session`` in its signature the handler writes through a SQLAlchemy session of ours; *settle* is called as the last
statement before its only COMMIT, so that effect and completion exist together or not at all.
"""

import asyncio
import contextlib
import contextvars
import functools
import inspect
import os
import re
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from types import FrameType
from typing import Any

import sqlalchemy
from celery.exceptions import TaskPredicate, WorkerShutdown, WorkerTerminate
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.orm import Session

from eventbus import tracing
from eventbus.delivery import Delivery, Run, running
from eventbus.errors import HandlerError, HandlerTimeout
from eventbus.storage.claiming import Claimed
from eventbus.storage.database import Connection, Database
from eventbus.subscription import Subscription

#: billiard ends a child with this code at a hard time limit: the worker's business, not the handler's.
_POOL_EXIT = -241
_ENDS_TRANSACTION = re.compile(r"\s*(commit|end|rollback(?!\s+to)|abort|prepare\s+transaction)\b", re.IGNORECASE)
#: In what SQLAlchemy keeps beside a connection: whether its transaction may be committed now.
_MAY_COMMIT = "eventbus_may_commit"
_local = threading.local()


class ClaimLost(Exception):
    """The lease ended while the handler ran, and another worker may have the delivery: nothing of this run counts."""


Settle = Callable[[Connection], bool]


def handle(subscription: Subscription, claimed: Claimed, *, database: Database, settle: Settle) -> BaseException | None:
    """Run the handler of *subscription* for *claimed*.

    Args:
        settle: Marks the delivery done on the given connection; False if the claim is lost. Called here only for a
            handler that takes ``session``, inside its transaction.

    Returns:
        None when the handler returned (and its session committed), ClaimLost when that no longer counts, else the
        exception that ended it.
    """
    delivery = Delivery(group=claimed.group, attempt=claimed.attempts + claimed.deaths + 1, replay=claimed.replay_id)
    with tracing.handling(claimed.event, delivery) as span:
        error = _run(subscription, claimed, delivery, database=database, settle=settle)
        if error is not None:
            span.failed(error)
        return error


def _run(
    subscription: Subscription, claimed: Claimed, delivery: Delivery, *, database: Database, settle: Settle
) -> BaseException | None:
    try:
        if "session" in subscription.takes:
            with _session(database) as session:
                run = Run(event=claimed.event, delivery=delivery, session=session)
                _call(subscription, run)
                _commit(session, database, settle)
        else:
            _call(subscription, Run(event=claimed.event, delivery=delivery))
    except SystemExit as error:
        if error.code == _POOL_EXIT or isinstance(error, WorkerShutdown | WorkerTerminate):
            raise
        return _described(error, "called sys.exit")
    except MemoryError as error:
        # Carried on as another type: Celery's worker would take a MemoryError for its own.
        return _described(error, "ran out of memory")
    except (TaskPredicate, asyncio.CancelledError, GeneratorExit, KeyboardInterrupt) as error:
        # To Celery or to a process these mean more than "the handler failed", which is all that a handler can say.
        return _described(error, f"raised {type(error).__name__}")
    except Exception as error:  # noqa: BLE001 - a handler may raise anything: whatever it is, it is this run's result
        return error
    return None


def _call(subscription: Subscription, run: Run) -> None:
    handler = subscription.handler
    offered = {"delivery": run.delivery, "session": run.session}
    extra = {name: offered[name] for name in subscription.takes}
    with running(run):
        with _alarm(subscription.timeout):
            result = handler(run.event, **extra)
        if inspect.isawaitable(result):
            # Of its own accord a runner runs everything in the context in which it ran first: as part of that delivery.
            _runner().run(_within(result, subscription.timeout), context=contextvars.copy_context())


async def _within(work: Awaitable[Any], timeout: timedelta) -> None:
    try:
        async with asyncio.timeout(timeout.total_seconds()) as limit:
            await work
    except TimeoutError:
        # The handler's own TimeoutError passes as it is.
        if limit.expired():
            raise _timed_out(timeout) from None
        raise


@contextlib.contextmanager
def _alarm(timeout: timedelta) -> Iterator[None]:
    """Raise HandlerTimeout in the block after *timeout*: where signals reach it, in the main thread of a pool's child."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise _timed_out(timeout)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, timeout.total_seconds())
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _runner() -> asyncio.Runner:
    """The event loop of this thread in this process, kept: clients that handlers hold stay bound to one loop."""
    if getattr(_local, "pid", None) != os.getpid():
        _local.runner, _local.pid = asyncio.Runner(), os.getpid()
    runner: asyncio.Runner = _local.runner
    return runner


@contextlib.contextmanager
def _session(database: Database) -> Iterator[Session]:
    """A session whose transaction only `_commit` may end."""
    with _guarded(database.engine).connect() as connection:
        connection.info[_MAY_COMMIT] = False
        session = Session(bind=connection, expire_on_commit=False)
        try:
            yield session
        finally:
            session.close()


@functools.lru_cache(maxsize=16)
def _guarded(engine: sqlalchemy.Engine) -> sqlalchemy.Engine:
    """*engine*, with connections that refuse to end a transaction.

    Kept: listeners on each connection would cost as much time as the handler's own statement.
    """
    guarded = engine.execution_options()
    sqlalchemy_event.listen(guarded, "commit", _refuse_commit)
    sqlalchemy_event.listen(guarded, "before_cursor_execute", _refuse_statement)
    return guarded


def _commit(session: Session, database: Database, settle: Settle) -> None:
    session.flush()
    with database.join(session) as connection:
        if not settle(connection):
            raise ClaimLost
        connection.raw.info[_MAY_COMMIT] = True
    session.commit()


def _refuse_commit(connection: sqlalchemy.Connection) -> None:
    """On the connection, which the session, its connection() and a begin() block all commit through."""
    if not connection.info[_MAY_COMMIT]:
        # SQLAlchemy takes the transaction for ended, and would hand it, still open, to the connection's next user.
        connection.invalidate()
        raise HandlerError(
            "the handler committed the session that it was given: eventbus commits it together with the delivery, when the "
            "handler returns."
        )


def _refuse_statement(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
    if _ENDS_TRANSACTION.match(statement):
        raise HandlerError(
            f"the handler executed {statement.strip()[:40]!r}, but the session's transaction is eventbus's to end."
        )


def _timed_out(timeout: timedelta) -> HandlerTimeout:
    return HandlerTimeout(f"the handler ran longer than its timeout of {timeout.total_seconds():g} s.")


def _described(error: BaseException, what: str) -> HandlerError:
    described = HandlerError(f"the handler {what}: {type(error).__name__}({error}).")
    described.__cause__ = error
    return described.with_traceback(error.__traceback__)
