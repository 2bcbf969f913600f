"""A process that owns one other process and never lets it outlive the one that asked for it.

    parent ──commands──▶ guardian ──owns──▶ server
       └── dies, however ──▶ the guardian stops the server and removes its directory

Run as a script by processes.py, with the standard library alone and no site-packages, so that it starts in
milliseconds. A guardian is used instead of `PR_SET_PDEATHSIG` on the server itself because that signal follows the
*thread* that forked, and because nobody would be left to remove the directory. The server gets the signal too, tied to
the guardian, should the guardian be killed.

The invariant: every signal to the server is sent here, by its parent, which alone knows that the pid still means that
process.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1

#: How often the parent's pid is compared where no signal tells of its death (macOS).
POLL_SECONDS = 0.5


def main() -> int:
    """Run the process described by the first line of standard input, and return its exit status as a shell would."""
    order: dict[str, Any] = json.loads(_read_line())
    wakeups = _collect_signals()
    die_with_parent(signal.SIGUSR1)
    server = _start(order)
    _say(f"pid {server.pid}")
    try:
        reason = _watch(server, order, wakeups)
        if reason != "ended":
            _stop(server, order)
    finally:
        _kill(server)
    if reason == "abandoned" and order["remove"]:
        shutil.rmtree(order["remove"], ignore_errors=True)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel for *signal_number* when the parent dies; without such a kernel the guardian polls instead."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)


def _read_line() -> bytes:
    """Read one line and not a byte more: select() sees nothing that waits in a buffer."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit(1)
        line += byte
    return line


def _collect_signals() -> int:
    """Turn signals into bytes on a pipe, which one select() can wait for together with commands."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return reader


def _start(order: dict[str, Any]) -> "subprocess.Popen[bytes]":
    guardian = os.getpid()

    def tie() -> None:
        # Runs after setuid, which would clear the parent-death signal. This process has one thread, so forking is safe.
        die_with_parent(order["death_signal"])
        if os.getppid() != guardian:
            os._exit(1)

    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    account: dict[str, Any] = {}
    if order["user"] is not None:
        account = {"user": order["user"], "group": order["group"], "extra_groups": []}
    server = subprocess.Popen(
        order["argv"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=order["cwd"],
        env=order["env"],
        process_group=0,
        preexec_fn=tie,
        **account,
    )
    os.close(log)
    return server


def _watch(server: "subprocess.Popen[bytes]", order: dict[str, Any], wakeups: int) -> str:
    """Obey commands until the server "ended", is to stop ("stopped") or is needed by nobody ("abandoned")."""
    while True:
        if server.poll() is not None:
            return "ended"
        if os.getppid() != order["parent"]:
            return "abandoned"
        readable, _, _ = select.select([0, wakeups], [], [], POLL_SECONDS)
        if wakeups in readable:
            signals = os.read(wakeups, 4096)
            if {signal.SIGTERM, signal.SIGINT, signal.SIGHUP} & set(signals):
                return "stopped"
        if 0 in readable:
            commands = os.read(0, 4096).decode().split()
            if not commands:
                return "abandoned"
            for command in commands:
                if command == "stop":
                    return "stopped"
                _signal_family(server, getattr(signal, command))
                _say("ok")


def _stop(server: "subprocess.Popen[bytes]", order: dict[str, Any]) -> None:
    """End the server in the order's gentle way; what is still there after its time is up gets killed by the caller."""
    with contextlib.suppress(ProcessLookupError):
        server.send_signal(order["stop_signal"])
    # A frozen process would keep the signal for later.
    _signal_family(server, signal.SIGCONT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(order["stop_seconds"])


def _kill(server: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of the server, and wait until it is gone."""
    if server.poll() is None:
        _signal_family(server, signal.SIGKILL)
    server.wait()


def _signal_family(server: "subprocess.Popen[bytes]", number: int) -> None:
    """Signal the server, its process group, and its children elsewhere: PostgreSQL's have a process group each."""
    if server.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if number == signal.SIGKILL:
            # What stands still can neither start a new child nor lose its children to init before they are listed.
            os.killpg(server.pid, signal.SIGSTOP)
        family = list(_descendants(server.pid))
        os.killpg(server.pid, number)
    for pid in family:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    if number == signal.SIGKILL:
        server.wait()
        _wait_until_gone(family)


def _wait_until_gone(pids: list[int], timeout_seconds: float = 5.0) -> None:
    """Wait for processes whose parent is dead: a PostgreSQL started too early finds their shared memory in use."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline and any(state != "Z" for pid, _, state in _processes() if pid in pids):
        time.sleep(0.01)


def _descendants(root: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for pid, parent, _ in _processes():
        children.setdefault(parent, []).append(pid)
    unseen = list(children.get(root, ()))
    while unseen:
        pid = unseen.pop()
        yield pid
        unseen.extend(children.get(pid, ()))


def _processes() -> Iterator[tuple[int, int, str]]:
    """Yield pid, parent's pid and state of every process; from /proc where it exists, as slim images have no `ps`."""
    if not Path("/proc/self/stat").exists():
        listing = subprocess.run(
            ["/bin/ps", "-axo", "pid=,ppid=,state="], capture_output=True, text=True, check=False
        ).stdout
        for line in listing.splitlines():
            pid, parent, state = line.split()[:3]
            yield int(pid), int(parent), state[0]
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The command's name may hold spaces and parentheses: the fields start after the last one.
                state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                yield int(entry.name), int(parent), state


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
