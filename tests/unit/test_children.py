"""Children: how a process of the pool ended is known when its account is settled."""

import inspect
import os
import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import billiard
import billiard.pool
import pytest

from eventbus.worker.children import Children

#: A real-time signal, of which only the first and the last have names.
NAMELESS = signal.SIGRTMIN + 1
StartProcess = Callable[[Callable[[], None]], Any]


@pytest.fixture
def processes() -> list[Any]:
    """Those of a pool."""
    return []


@pytest.fixture
def start(processes: list[Any]) -> Iterator[StartProcess]:
    """A function that starts one, as Celery's pool does."""
    started: list[Any] = []

    def begin(action: Callable[[], None]) -> Any:
        process = billiard.get_context("fork").Process(target=action)
        process.start()
        started.append(process)
        processes.append(process)
        return process

    yield begin
    for process in started:
        process.join()


@pytest.fixture
def children(processes: list[Any]) -> Children:
    """The children of a worker's pool."""
    return Children(SimpleNamespace(_pool=SimpleNamespace(_pool=processes)))


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "its process was killed by SIGKILL while the handler ran"),
        (lambda: os.kill(os.getpid(), NAMELESS), "its process was killed by signal 35 while the handler ran"),
        (lambda: os._exit(3), "its process exited with code 3 while the handler ran"),
    ],
    ids=["killed", "killed by a nameless signal", "exited"],
)
def test_how_a_process_ended_is_said(
    action: Callable[[], None], reason: str, children: Children, start: StartProcess, processes: list[Any]
) -> None:
    """Also when the pool has already put another in its place."""
    process = start(action)
    children.look()
    processes.clear()
    children.look()

    process.join()

    assert children.explain_end(process.pid) == reason


def test_an_end_that_the_pool_has_not_noticed_is_not_guessed_at(children: Children, start: StartProcess) -> None:
    """Whoever asks waits a moment, for the better reason."""
    told, tell = os.pipe()
    process = start(lambda: os.read(told, 1) and None)
    children.look()

    before = children.explain_end(process.pid)
    os.write(tell, b"!")
    process.join()
    os.close(told)
    os.close(tell)

    assert before is None
    assert children.explain_end(process.pid) is not None


def test_a_time_limit_that_ran_out_is_the_reason(children: Children, start: StartProcess) -> None:
    """The signal that ended the process was only the means."""
    process = start(lambda: os.kill(os.getpid(), signal.SIGKILL))
    children.look()
    children.note_limit(process.pid, 1.5)
    process.join()

    reason = children.explain_end(process.pid)

    assert reason == "it did not listen, and its process was ended after 1.5 s"
    assert children.is_out_of_time(process.pid)


def test_what_is_settled_is_forgotten(children: Children, start: StartProcess, processes: list[Any]) -> None:
    """The next process of that number has an end of its own."""
    process = start(lambda: os._exit(3))
    children.look()
    children.note_limit(process.pid, 1.5)
    process.join()

    processes.clear()
    children.look()
    children.keep([])
    children.keep([])
    forgotten = children.explain_end(process.pid)
    processes.append(process)
    children.look()
    known_anew = children.explain_end(process.pid)

    assert forgotten == "its process died while the handler ran"
    assert not children.is_out_of_time(process.pid)
    assert known_anew == "its process exited with code 3 while the handler ran"


@pytest.mark.parametrize(
    ("leaves", "has_account", "is_known"), [(False, False, True), (True, True, True), (True, False, False)]
)
def test_only_those_that_may_be_asked_for_are_kept(
    leaves: bool, has_account: bool, is_known: bool, children: Children, start: StartProcess, processes: list[Any]
) -> None:
    """A pool that replaces its processes after a few tasks has very many of them in time."""
    process = start(lambda: os._exit(3))
    process.join()
    children.look()
    if leaves:
        processes.clear()
        children.look()

    for _ in range(2):
        children.keep([process.pid] if has_account else [])

    assert ("code 3" in str(children.explain_end(process.pid))) is is_known


@pytest.mark.parametrize("pool", [None, SimpleNamespace(), SimpleNamespace(_pool=SimpleNamespace(_pool=object()))])
def test_a_pool_without_processes_has_none_to_look_at(pool: Any) -> None:
    """Threads, and the solo pool."""
    children = Children(pool)

    children.look()

    assert children.explain_end(1) == "its process died while the handler ran"


def test_a_process_that_ends_before_anybody_looks_is_known(start: StartProcess, processes: list[Any]) -> None:
    """The first one, and one that took its place, to which the event that had ended the first came at once."""

    def create(index: int) -> Any:
        return start(lambda: os._exit(7 + index))

    first = create(0)
    pool = SimpleNamespace(_pool=processes, _create_worker_process=create)
    children = Children(SimpleNamespace(_pool=pool))
    processes.clear()
    second = pool._create_worker_process(1)
    processes.clear()
    children.look()
    for process in (first, second):
        process.join()

    assert [children.explain_end(process.pid) for process in (first, second)] == [
        f"its process exited with code {code} while the handler ran" for code in (7, 8)
    ]


def test_the_pool_of_celery_makes_each_process_as_children_expects() -> None:
    """When it does so otherwise, a process that ends at once has no reason again."""
    made = [name for name, member in vars(billiard.pool.Pool).items() if "self.WorkerProcess(" in source_of(member)]
    callers = [
        name for name, member in vars(billiard.pool.Pool).items() if "._create_worker_process(" in source_of(member)
    ]

    assert made == ["_create_worker_process"]
    assert {"__init__", "_repopulate_pool"} <= set(callers)


def source_of(member: object) -> str:
    """The text of a function; nothing of anything else."""
    return inspect.getsource(member) if inspect.isfunction(member) else ""


def test_who_has_ended_since_accounts_were_listed_is_kept(
    children: Children, start: StartProcess, processes: list[Any]
) -> None:
    """It may have taken an account after that; the next time it has one, or will be asked for by nobody."""
    process = start(lambda: os._exit(3))
    process.join()
    children.look()
    processes.clear()
    children.look()

    children.keep([])
    first = children.explain_end(process.pid)
    children.keep([])

    assert first == "its process exited with code 3 while the handler ran"
    assert children.explain_end(process.pid) == "its process died while the handler ran"
