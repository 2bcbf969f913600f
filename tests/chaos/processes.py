"""The processes of a storm: workers and publishers that are started again when they end, as any supervisor does."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from eventbus.embedded.processes import Command, GuardedProcess
from tests.support.workers import ROOT, WorkerProcess

SHOP = "tests.chaos.shop"


class Worker:
    """A Celery worker for some groups, over all its lives."""

    def __init__(self, folder: Path, name: str, queues: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        #: Whoever makes it end holds this; what ends otherwise has ended by itself.
        self.lock = threading.Lock()
        #: Lives that were asked to end, and may take their time.
        self.asked: list[WorkerProcess] = []
        self._folder, self._queues, self._environment = folder, queues, environment
        self._lives: list[WorkerProcess] = []

    @property
    def process(self) -> WorkerProcess:
        """The present life."""
        return self._lives[-1]

    def start(self, *, wait: bool = False) -> None:
        """Begin the next life."""
        life = WorkerProcess(
            self._folder / f"{self.name}{len(self._lives) + 1}",
            module=SHOP,
            arguments=["-Q", ",".join(self._queues)],
            concurrency=2,
            loglevel="INFO",
            environment=self._environment,
        )
        self._lives.append(life)
        life.start(wait=False)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when it consumes."""
        self.process.wait_for_log(" ready.", timeout=60)

    def revive(self) -> None:
        """Start it again if it has ended."""
        if not self.process.is_running:
            self.start()

    def supervise(self) -> str | None:
        """Start it again if it has ended, unless that is somebody's doing; what it was, if it had worked until then."""
        if not self.lock.acquire(blocking=False):
            return None
        try:
            life = self.process
            if life.is_running:
                return None
            self.start()
            # Celery gives a start up, just after it said that it is ready, if a child has been killed by then.
            had_started = " ready." in life.log and "Could not start worker processes" not in life.log
            by_itself = life not in self.asked and had_started
            return f"{life.folder.name} ended by itself, with exit code {life.exit_code}" if by_itself else None
        finally:
            self.lock.release()

    def children(self) -> list[int]:
        """The pids of the pool's processes."""
        pid = self.process.pid
        try:
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            return []

    def end(self) -> None:
        """Leave nothing of any life."""
        for life in self._lives:
            life.reap()

    def log(self) -> str:
        """Of all lives."""
        return "\n".join(life.log for life in self._lives)


class Script:
    """A Python module that runs in a process of its own, over all its lives."""

    def __init__(self, folder: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.log_path = folder / f"{arguments[0].rpartition('.')[2]}-{'-'.join(arguments[1:2])}.log"
        self._command = Command(
            argv=[sys.executable, "-m", *arguments],
            log_path=self.log_path,
            folder=ROOT,
            environment={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
            stop_signal=signal.SIGTERM,
        )
        self._process: GuardedProcess | None = None

    @property
    def process(self) -> GuardedProcess:
        """The present life."""
        assert self._process is not None, "it was not started"
        return self._process

    def start(self) -> None:
        """Begin the next life."""
        self._process = GuardedProcess(self._command)

    def stop(self) -> None:
        """End it in good order."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.thaw()
            self._process.stop()
