"""Workers that are killed, frozen beyond their lease, orphaned or shut down, as a whole or in part."""

import contextlib
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.chaos.faults.fault import Fault, pause
from tests.chaos.processes import Worker
from tests.chaos.stage import LEASE_SECONDS, Stage


@contextmanager
def _victim(stage: Stage, chance: random.Random) -> Iterator[Worker]:
    """A worker that is nobody else's victim, and is up again afterwards."""
    worker = chance.choice(stage.workers)
    with worker.lock:
        worker.revive()
        try:
            yield worker
        finally:
            worker.revive()


def kill_worker(stage: Stage, chance: random.Random) -> None:
    """Main process and children at once, as by a power cut."""
    with _victim(stage, chance) as worker:
        worker.process.kill()
        pause(chance.uniform(0, 1))


def kill_main(stage: Stage, chance: random.Random) -> None:
    """Children are left behind, in the middle of their handlers."""
    with _victim(stage, chance) as worker:
        _signal(worker.process.pid, signal.SIGKILL)
        # On a busy machine it may live a moment longer: taken for alive it would seem to end by itself later.
        worker.process.wait()
        pause(chance.uniform(0.2, 1))


def kill_child(stage: Stage, chance: random.Random) -> None:
    """As the kernel does when memory is short."""
    with _victim(stage, chance) as worker:
        for pid in worker.children()[: chance.randint(1, 2)]:
            _signal(pid, signal.SIGKILL)


def freeze_worker(stage: Stage, chance: random.Random) -> None:
    """Beyond its lease, then it goes on as if nothing had happened."""
    with _victim(stage, chance) as worker:
        worker.process.freeze()
        try:
            pause(LEASE_SECONDS + chance.uniform(0.5, 1.5))
        finally:
            worker.process.thaw()


def freeze_main(stage: Stage, chance: random.Random) -> None:
    """The children go on without it."""
    _freeze(stage, chance, lambda worker: [worker.process.pid])


def freeze_child(stage: Stage, chance: random.Random) -> None:
    """A child stands still while its main process lives."""
    _freeze(stage, chance, lambda worker: worker.children()[:1])


def shut_down(stage: Stage, chance: random.Random) -> None:
    """A deploy: a warm shutdown, or a cold one, and the next life."""
    with _victim(stage, chance) as worker:
        worker.asked.append(worker.process)
        _signal(worker.process.pid, chance.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGQUIT]))
        with contextlib.suppress(TimeoutError):
            worker.process.wait(timeout=10)


def _freeze(stage: Stage, chance: random.Random, pids_of: Callable[[Worker], list[int]]) -> None:
    with _victim(stage, chance) as worker:
        pids = pids_of(worker)
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        try:
            pause(LEASE_SECONDS + chance.uniform(0.5, 1.5))
        finally:
            for pid in pids:
                _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


FAULTS = tuple(
    Fault(name=name, strike=strike, place="workers")
    for name, strike in {
        "worker killed": kill_worker,
        "main process killed": kill_main,
        "child killed": kill_child,
        "worker frozen beyond its lease": freeze_worker,
        "main process frozen": freeze_main,
        "child frozen": freeze_child,
        "worker shut down": shut_down,
    }.items()
)
