"""Handling: a handler of any kind runs, and whatever it raises is this run's result."""

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from celery.exceptions import Ignore, Reject, WorkerShutdown
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from eventbus import Delivery, Event, EventBus
from eventbus.errors import HandlerError, HandlerTimeout
from eventbus.lifecycle.settlement import Done, Fenced
from eventbus.storage.database import Database
from tests.integration.conftest import MakeWorker
from tests.support.rows import Rows

Handle = Callable[..., Any]


@pytest.fixture
def handle(bus: EventBus, worker: MakeWorker, rows: Rows) -> Handle:
    """A function that lets a handler run for one event; returns what became of it."""
    rows.all("CREATE TABLE effect (what text)")

    def run(handler: Handle, *, timeout: timedelta = timedelta(minutes=1), meanwhile: str | None = None) -> Any:
        bus.subscribe("order.created", group="a", handler=handler, timeout=timeout)
        execution = worker()
        bus.publish("order.created", {"n": 1}, source="orders", correlation_id="story")
        claimed = execution.take("a", None, task_id=None)
        assert claimed is not None
        if meanwhile:
            rows.all(meanwhile)
        return execution.run(claimed)

    return run


def effects(rows: Rows) -> int:
    return int(rows.value("SELECT count(*) FROM effect"))


def write(session: Session) -> None:
    session.execute(text("INSERT INTO effect VALUES ('x')"))


def test_a_handler_gets_what_it_names(handle: Handle) -> None:
    """The delivery says group, attempt and replay."""
    seen: list[Any] = []

    def handler(event: Event, delivery: Delivery) -> None:
        seen.extend([event.data, delivery])

    assert handle(handler) == Done()
    assert seen == [{"n": 1}, Delivery(group="a", attempt=1, replay=None)]


def test_a_coroutine_is_a_handler(handle: Handle) -> None:
    """Also one that is wrapped."""
    seen: list[str] = []

    async def handler(mark: str, event: Event) -> None:
        await asyncio.to_thread(lambda: None)
        seen.append(mark + event.type)

    assert handle(functools.partial(handler, "> ")) == Done()
    assert seen == ["> order.created"]


def test_a_handler_ends_at_its_time_limit(handle: Handle) -> None:
    """The run counts as failed, and the alarm is off afterwards."""

    def handler(event: Event) -> None:
        threading.Event().wait(30)

    began = time.monotonic()
    error = handle(handler, timeout=timedelta(milliseconds=100))

    assert isinstance(error, HandlerTimeout)
    assert time.monotonic() - began < 10


def test_a_coroutine_ends_at_its_time_limit(handle: Handle) -> None:
    """Where it waits."""

    async def handler(event: Event) -> None:
        await asyncio.Event().wait()

    assert isinstance(handle(handler, timeout=timedelta(milliseconds=100)), HandlerTimeout)


def test_a_coroutines_own_timeout_error_is_its_own(handle: Handle) -> None:
    """It is not taken for the limit's."""

    async def handler(event: Event) -> None:
        raise TimeoutError("the warehouse")

    error = handle(handler)

    assert (type(error), str(error)) == (TimeoutError, "the warehouse")


def test_a_handler_outside_the_main_thread_runs_without_an_alarm(handle: Handle) -> None:
    """Signals reach the main thread only; the run is not disturbed."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(handle(lambda event: None)))

    thread.start()
    thread.join(30)

    assert found == [Done()]


@pytest.mark.parametrize(
    "raised",
    [
        SystemExit(3),
        MemoryError("heap"),
        Ignore(),
        Reject("no"),
        asyncio.CancelledError(),
        GeneratorExit(),
        BaseExceptionGroup("both", [GeneratorExit()]),
    ],
)
@pytest.mark.parametrize("with_session", [False, True])
def test_whatever_a_handler_raises_is_a_failed_run(handle: Handle, raised: BaseException, with_session: bool) -> None:
    """Not the worker's death, and nothing that Celery takes for an order."""

    def plain(event: Event) -> None:
        raise raised

    def writing(event: Event, session: Session) -> None:
        write(session)
        raise raised

    handler = writing if with_session else plain

    error = handle(handler)

    assert isinstance(error, HandlerError)
    assert error.__cause__ is raised


@pytest.mark.parametrize("raised", [SystemExit(-241), WorkerShutdown(0)])
def test_what_ends_the_worker_is_not_the_handlers(handle: Handle, raised: SystemExit) -> None:
    """The pool's own exit passes."""

    def handler(event: Event) -> None:
        raise raised

    with pytest.raises(type(raised)):
        handle(handler)


def test_effect_and_completion_are_one_commit(handle: Handle, rows: Rows) -> None:
    """A handler that takes a session writes with the delivery's state."""

    def handler(event: Event, session: Session) -> None:
        with session.begin_nested():
            write(session)

    assert handle(handler) == Done()
    assert (effects(rows), rows.value("SELECT state FROM eventbus.delivery")) == (1, "done")


def test_a_fenced_run_commits_nothing(handle: Handle, rows: Rows) -> None:
    """A worker whose lease ran out leaves no effect."""

    def handler(event: Event, session: Session) -> None:
        write(session)

    found = handle(handler, meanwhile="UPDATE eventbus.delivery SET claim = claim - 1")

    assert (found, effects(rows)) == (Fenced(), 0)


def commit(session: Session) -> None:
    write(session)
    session.commit()


def commit_connection(session: Session) -> None:
    write(session)
    session.connection().commit()


def commit_statement(session: Session) -> None:
    write(session)
    session.execute(text("COMMIT"))


@pytest.mark.parametrize("early", [commit, commit_connection, commit_statement])
def test_a_handler_cannot_commit_early(handle: Handle, rows: Rows, early: Callable[[Session], None]) -> None:
    """However it tries, its effect waits for the completion."""

    def handler(event: Event, session: Session) -> None:
        early(session)

    error = handle(handler)

    assert isinstance(error, Exception)
    assert effects(rows) == 0


class Base(DeclarativeBase):
    """The tables of a test."""


class Gone(Base):
    """A table that does not exist."""

    __tablename__ = "gone"
    id: Mapped[int] = mapped_column(primary_key=True)


def swallow_an_error(session: Session) -> None:
    with contextlib.suppress(ProgrammingError):
        session.execute(text("SELECT FROM gone"))


def swallow_an_error_of_a_flush(session: Session) -> None:
    session.add(Gone(id=1))
    with contextlib.suppress(ProgrammingError):
        session.flush()


def close(session: Session) -> None:
    session.close()


def use_as_block(session: Session) -> None:
    with session:
        write(session)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (swallow_an_error, "went on after an error of the database's"),
        (swallow_an_error_of_a_flush, "went on after an error of the database's"),
        (close, "closed the session that it was given"),
        (use_as_block, "closed the session that it was given"),
    ],
)
def test_a_session_that_cannot_be_committed_is_told_as_the_handlers_mistake(
    act: Callable[[Session], None], said: str, handle: Handle, rows: Rows
) -> None:
    """In a sentence that says what it did, not in what the driver makes of our own statement."""

    def handler(event: Event, session: Session) -> None:
        write(session)
        act(session)

    error = handle(handler)

    assert isinstance(error, HandlerError)
    assert said in str(error)
    assert effects(rows) == 0


def test_an_error_of_what_the_commit_writes_is_the_runs(handle: Handle, rows: Rows) -> None:
    """As it is: the handler left that to the end."""

    def handler(event: Event, session: Session) -> None:
        write(session)
        session.add(Gone(id=1))

    assert isinstance(handle(handler), ProgrammingError)
    assert effects(rows) == 0


def test_what_may_fail_in_a_savepoint_spoils_nothing(handle: Handle, rows: Rows) -> None:
    """Its error is the handler's to deal with."""

    def handler(event: Event, session: Session) -> None:
        write(session)
        with contextlib.suppress(ProgrammingError), session.begin_nested():
            session.execute(text("SELECT FROM gone"))

    assert handle(handler) == Done()
    assert effects(rows) == 1


def test_a_run_that_swallows_its_time_limit_commits_nothing(handle: Handle, rows: Rows) -> None:
    """It took too long, so it failed, whatever it returns."""

    def handler(event: Event, session: Session) -> None:
        with contextlib.suppress(Exception):
            threading.Event().wait(30)
        write(session)

    error = handle(handler, timeout=timedelta(milliseconds=100))

    assert isinstance(error, HandlerTimeout)
    assert effects(rows) == 0


def wait_in_postgresql(event: Event, session: Session) -> None:
    write(session)
    session.execute(text("SELECT pg_sleep(30)"))


async def wait_in_postgresql_without_giving_way(event: Event, session: Session) -> None:
    wait_in_postgresql(event, session)


def wait_in_commit(event: Event, session: Session) -> None:
    write(session)
    session.execute(text("INSERT INTO account VALUES (1)"))


@pytest.mark.parametrize(
    ("handler", "where"),
    [
        (wait_in_postgresql, "main thread"),
        (wait_in_postgresql, "another"),
        (wait_in_postgresql_without_giving_way, "main thread"),
        (wait_in_commit, "main thread"),
        (wait_in_commit, "another"),
    ],
)
def test_a_run_that_waits_for_postgresql_ends_at_its_time_limit(
    handler: Handle, where: str, handle: Handle, rows: Rows, database: Database
) -> None:
    """No alarm is heard there, neither in a statement nor in the commit. Nobody gets its connection."""
    rows.all("CREATE TABLE account (number integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    found: list[Any] = []
    began = time.monotonic()

    def run() -> None:
        found.append(handle(handler, timeout=timedelta(milliseconds=100)))

    with rows.transaction() as other:
        other.execute("INSERT INTO account VALUES (1)")
        if where == "another":
            thread = threading.Thread(target=run)
            thread.start()
            thread.join(60)
        else:
            run()

    # What the server still waited for is over now: nothing came of it.
    assert [type(item) for item in found] == [HandlerTimeout]
    assert time.monotonic() - began < 15
    assert effects(rows) == 0
    assert rows.value("SELECT state FROM eventbus.delivery") == "running"
    assert not database.deadlines.due
    with database.engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def test_a_publish_inside_a_session_handler_joins_it(handle: Handle, bus: EventBus, rows: Rows) -> None:
    """It inherits the story, names its cause, and exists only if the run counts."""

    def handler(event: Event, session: Session) -> None:
        bus.publish("order.reserved", {}, source="inventory")
        raise KeyError("sku")

    error = handle(handler)

    assert isinstance(error, KeyError)
    assert rows.count("event_log") == 1


def test_a_publish_inside_a_handler_names_its_cause(handle: Handle, bus: EventBus, rows: Rows) -> None:
    """Correlation is inherited, causation recorded."""

    def handler(event: Event, session: Session) -> None:
        bus.publish("order.reserved", {}, source="inventory")

    handle(handler)

    [cause, effect] = rows.all("SELECT id::text, metadata FROM eventbus.event_log ORDER BY id")
    assert (effect[1]["correlation_id"], effect[1]["causation_id"]) == ("story", cause[0])
