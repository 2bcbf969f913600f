"""A process that cannot outlive the one that started it, and that can be killed and frozen on purpose.

Behind each one stands a guardian (guardian.py): it stops the process when this one ends in whatever way, `kill -9`
included. The process has its own process group, so that a Ctrl-C in the terminal reaches it only through its owner.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GUARDIAN = Path(__file__).with_name("guardian.py")

#: How much longer than the process's own time the guardian may take until it is killed itself.
GUARDIAN_MARGIN_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Account:
    """The user a process runs as."""

    user_id: int
    group_id: int


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run, and how it is to end."""

    argv: Sequence[str]
    #: Standard output and error are appended here.
    log_path: Path
    folder: Path | None = None
    #: None: this process's environment.
    environment: Mapping[str, str] | None = None
    #: None: this process's user.
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    #: How long the process may take to stop before it is killed.
    stop_seconds: float = 10.0
    #: Sent to the process by the kernel if even its guardian is killed (Linux).
    death_signal: signal.Signals = signal.SIGKILL
    #: Removed by the guardian if this process ends without having stopped the other.
    remove: Path | None = None
    #: Descriptors the guardian holds open as long as it lives, such as a lock.
    held_descriptors: Sequence[int] = ()


class GuardedProcess:
    """A running process with its guardian; usable from any thread."""

    def __init__(self, command: Command) -> None:
        """Start *command*.

        Raises:
            OSError: The program could not be started; the reason is in the log.
        """
        self._command = command
        self._lock = threading.Lock()
        with command.log_path.open("ab") as log:
            self._guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARDIAN)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=tuple(command.held_descriptors),
                start_new_session=True,
            )
        # Not as an argument: the environment may hold passwords, and everyone may read a process's arguments.
        self._send(_description(command))
        first = self._read()
        if not first.startswith("pid "):
            self._close()
            raise OSError(f"{command.argv[0]} could not be started:\n{log_tail(command.log_path)}")
        #: The process's id, and its process group's.
        self.pid = int(first.removeprefix("pid "))

    @property
    def exit_code(self) -> int | None:
        """The process's exit code, negative if a signal ended it; None while it runs."""
        code = self._guardian.poll()
        if code is not None:
            self._close_pipes()
        return 128 - code if code is not None and code > 128 else code

    @property
    def is_running(self) -> bool:
        """Whether the process, frozen or not, has not ended."""
        return self.exit_code is None

    def stop(self) -> None:
        """Ask the process to end, and kill it if it does not in its time; returns when it is gone."""
        self._send("stop")
        self._close()

    def kill(self) -> None:
        """Kill the process and all its children at once, as a crash would; returns when they are gone."""
        self._send("SIGKILL")
        self._close()

    def freeze(self) -> None:
        """Stop the clock of the process and its children: connections stay open and nothing answers."""
        self._send("SIGSTOP", answered=True)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._send("SIGCONT", answered=True)

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Wait until the process has ended by itself, and return its exit code.

        Raises:
            TimeoutError: It is still running.
        """
        try:
            self._guardian.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"process {self.pid} is still running") from None
        code = self.exit_code
        assert code is not None
        return code

    def _send(self, line: str, *, answered: bool = False) -> None:
        with self._lock, contextlib.suppress(BrokenPipeError, ValueError):
            assert self._guardian.stdin is not None
            self._guardian.stdin.write(f"{line}\n".encode())
            self._guardian.stdin.flush()
            if answered:
                self._read()

    def _read(self) -> str:
        assert self._guardian.stdout is not None
        return self._guardian.stdout.readline().decode().strip()

    def _close(self) -> None:
        try:
            self._guardian.wait(self._command.stop_seconds + GUARDIAN_MARGIN_SECONDS)
        except subprocess.TimeoutExpired:
            # The kernel then sends the process its death signal.
            self._guardian.kill()
            self._guardian.wait()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._guardian.stdin, self._guardian.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def log_tail(path: Path, lines: int = 20) -> str:
    """The last *lines* lines of a log; empty if there is none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _description(command: Command) -> str:
    return json.dumps(
        {
            "argv": list(command.argv),
            "log": str(command.log_path),
            "cwd": str(command.folder) if command.folder else None,
            "env": dict(command.environment) if command.environment is not None else None,
            "user": command.account.user_id if command.account else None,
            "group": command.account.group_id if command.account else None,
            "stop_signal": int(command.stop_signal),
            "stop_seconds": command.stop_seconds,
            "death_signal": int(command.death_signal),
            "remove": str(command.remove) if command.remove else None,
            "parent": os.getpid(),
        }
    )
