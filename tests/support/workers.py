"""Real Celery workers as processes, with application code that a test gives as text."""

import contextlib
import os
import signal
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from eventbus.embedded.processes import Command, GuardedProcess, log_tail
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]

#: In the log when Celery consumes.
READY = " ready."


class WorkerProcess:
    """`celery -A <module> worker` with its own folder, log and process group; ends with the tests at the latest."""

    def __init__(
        self,
        folder: Path,
        *,
        code: str | None = None,
        module: str = "app",
        arguments: Sequence[str] = (),
        concurrency: int = 1,
        pool: str = "prefork",
        loglevel: str = "INFO",
        mingle: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Make a worker that is not started yet.

        Args:
            folder: For its code and log; created if missing, and first on its PYTHONPATH.
            code: Source of *module*, written into the folder; None if the module exists elsewhere.
            arguments: More arguments of `celery worker`.
            mingle: Wait a second for other workers before it reads, as workers do unless they are told not to.
            environment: Added to this process's.
        """
        self.folder = folder
        self.log_path = folder / "worker.log"
        folder.mkdir(parents=True, exist_ok=True)
        if code is not None:
            (folder / f"{module}.py").write_text(textwrap.dedent(code))
        self._argv = [
            *(sys.executable, "-m", "celery", "-A", module, "worker", "--hostname", f"{folder.name}@%h"),
            *("--concurrency", str(concurrency), "--pool", pool, "--loglevel", loglevel),
            *(() if mingle else ("--without-mingle", "--without-gossip")),
            *arguments,
        ]
        self._environment = {**os.environ, **(environment or {})}
        self._environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(ROOT)])
        self._process: GuardedProcess | None = None

    def start(self, *, wait: bool = True, timeout: float = 30.0) -> Self:
        """Start the worker, and by default return when it consumes."""
        self.log_path.unlink(missing_ok=True)
        self._process = GuardedProcess(
            Command(
                argv=self._argv,
                log_path=self.log_path,
                folder=self.folder,
                environment=self._environment,
                stop_signal=signal.SIGTERM,
                stop_seconds=30,
            )
        )
        if wait:
            self.wait_for_log(READY, timeout=timeout)
        return self

    @property
    def pid(self) -> int:
        """The main process, which is also the number of the process group."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the main process has not ended."""
        return self._process is not None and self._process.is_running

    @property
    def exit_code(self) -> int | None:
        """The main process's exit code, negative if a signal ended it; None while it runs."""
        return self._running().exit_code

    @property
    def log(self) -> str:
        """All that the worker has printed."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_for_log(self, text: str, *, timeout: float = 10.0, ended: bool = False) -> None:
        """Return when *text* is in the log; fail at once if the worker ends before, unless its main process has *ended*."""

        def found() -> bool:
            if text in self.log:
                return True
            assert ended or self.is_running, f"the worker ended ({self.exit_code}):\n{log_tail(self.log_path)}"
            return False

        wait_until(found, timeout=timeout, message=lambda: f"{text!r} in the log:\n{log_tail(self.log_path)}")

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the main process only."""
        os.kill(self.pid, number)

    def wait(self, *, timeout: float = 30.0) -> int:
        """Wait until the main process has ended, and return its exit code."""
        return self._running().wait(timeout)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout: float = 30.0) -> int:
        """Send the signal (SIGTERM: a warm shutdown) and wait for the end; the exit code."""
        if self.is_running:
            self.send_signal(number)
        return self.wait(timeout=timeout)

    def kill(self) -> None:
        """Kill the main process and its children at once."""
        self._running().kill()

    def freeze(self) -> None:
        """Stop the clock of the main process and its children."""
        self._running().freeze()

    def thaw(self) -> None:
        """Let a frozen worker go on."""
        self._running().thaw()

    def reap(self) -> None:
        """Leave nothing of it: end it in good order if it can (which saves its coverage), by force if not."""
        if self._process is None:
            return
        self._process.stop()
        # Children that outlived a killed main process are still in its group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def _running(self) -> GuardedProcess:
        assert self._process is not None, "the worker was not started"
        return self._process
