"""Processes of the systems: publishers that are asked by lines, workers that are started, watched and ended.

Each is started in a process group of its own, which is ended as a whole.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.stage import Stage

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
_STOP_SECONDS = 5
_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(RuntimeError):
    """A process of a system ended, or did not do its work in time; the message holds the end of its log."""


class Running:
    """A process of one system, with its log."""

    def __init__(self, argv: Sequence[str], stage: Stage, log: Path, **pipes: Any) -> None:
        self.log = log
        environment = os.environ | stage.environment()
        # Helpers of a system are looked for where this Python is; modules of this package in the checkout.
        environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
        environment["PYTHONPATH"] = str(ROOT)
        with log.open("ab") as errors:
            # The stream that is not piped: a publisher answers on its standard output.
            pipes.setdefault("stdout", errors)
            self.process = subprocess.Popen(
                argv, env=environment, cwd=log.parent, stderr=errors, start_new_session=True, **pipes
            )

    def fail(self, what: str) -> Failed:
        """An error that says *what* happened, with the end of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return Failed("\n  ".join([f"{self.log.stem}: {what}", *lines]))

    def stop(self) -> None:
        """End the process and what it started."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_SECONDS)
        # Children that it left behind; the group's number is not given out again while one of them lives.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        # Waits, and closes the pipes.
        with contextlib.suppress(BrokenPipeError), self.process:
            pass


class Asked(Running):
    """A publisher: answers one line with one line."""

    def __init__(self, argv: Sequence[str], stage: Stage, log: Path) -> None:
        super().__init__(argv, stage, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, action: str, **options: Any) -> list[float]:
        """Let it do *action*; the seconds that it measured."""
        self.begin(action, **options)
        return self.finish()

    def begin(self, action: str, **options: Any) -> None:
        """Let it do *action*, and do not wait."""
        assert self.process.stdin
        try:
            print(json.dumps({"do": action, **options}), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise self.fail("the publisher has ended") from None

    def finish(self) -> list[float]:
        """Wait until it has done what `begin` asked; the seconds that it measured."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise self.fail("the publisher has ended")
        seconds: list[float] = json.loads(line)["seconds"]
        return seconds


@contextlib.contextmanager
def workers(commands: Sequence[Sequence[str]], stage: Stage, log: Path) -> Iterator[list[Running]]:
    """Workers of one system, which are ended with the block."""
    started: list[Running] = []
    try:
        # One by one: those that have started are ended if the next does not.
        started.extend(Running(argv, stage, log, stdin=subprocess.DEVNULL) for argv in commands)
        yield started
    finally:
        for running in started:
            running.stop()


def cpu_seconds(started: Sequence[Running]) -> float:
    """CPU time that these processes, their children, and children that have ended, have used."""
    table = _processes()
    return sum(table[process].ticks for process in _descendants(table, started)) / _TICKS


def family(started: Sequence[Running]) -> list[int]:
    """These processes and their children."""
    return _descendants(_processes(), started)


def resident_bytes(process: int) -> int:
    """The memory that a process has; 0 if it has ended."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


class _Process(NamedTuple):
    parent: int
    #: Of CPU, with that of children that have ended.
    ticks: int


def _processes() -> dict[int, _Process]:
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The command's name, in brackets, may hold anything: fields are counted from its end.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found[int(folder.name)] = _Process(int(fields[1]), sum(int(field) for field in fields[11:15]))
    return found


def _descendants(table: dict[int, _Process], started: Sequence[Running]) -> list[int]:
    children: dict[int, list[int]] = {}
    for number, process in table.items():
        children.setdefault(process.parent, []).append(number)
    found, todo = [], [running.process.pid for running in started]
    while todo:
        number = todo.pop()
        if number in table:
            found.append(number)
        todo += children.get(number, [])
    return found
