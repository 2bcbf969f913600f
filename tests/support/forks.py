"""Processes forked from the test's own, which report how far they are and go on, or are killed, when the test says so."""

import os
import select
import signal
import traceback
import warnings
from collections.abc import Callable
from typing import Self

#: How long a test waits for such a process, which does next to nothing.
_SECONDS = 30.0


class Fork:
    """A child process that runs `action(fork)`. It ends with that, with the test's `with` block, or with the test's process."""

    def __init__(self, action: Callable[["Fork"], None]) -> None:
        self._action = action
        self._heard = b""

    def __enter__(self) -> Self:
        self._reports, reports = os.pipe()
        orders, self._orders = os.pipe()
        with warnings.catch_warnings():
            # Newer versions of Python warn of threads that a fork leaves behind; what is forked here knows none of them.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reports)
            os.close(self._orders)
            self._reports, self._orders = reports, orders
            self._run()
        os.close(reports)
        os.close(orders)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        os.waitpid(self.pid, 0)
        os.close(self._reports)
        os.close(self._orders)

    def report(self, text: str) -> None:
        """In the child: tell the test *text*."""
        os.write(self._reports, f"{text}\n".encode())

    def wait(self) -> None:
        """In the child: wait until the test lets it go on."""
        if not os.read(self._orders, 1):
            os._exit(0)

    def hear(self) -> str:
        """In the test: the next text that the child reported."""
        poller = select.poll()  # which takes numbers that select() refuses
        poller.register(self._reports, select.POLLIN)
        while b"\n" not in self._heard:
            assert poller.poll(_SECONDS * 1000), "the child reports nothing"
            text = os.read(self._reports, 4096)
            assert text, "the child has ended"
            self._heard += text
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def go_on(self) -> None:
        """In the test: let a waiting child go on."""
        os.write(self._orders, b"!")

    def kill(self) -> None:
        """In the test: kill the child at once, and return when it has ended; it is not reaped yet."""
        os.kill(self.pid, signal.SIGKILL)
        self.join()

    def join(self) -> None:
        """In the test: return when the child has ended; it is not reaped yet."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def _run(self) -> None:
        try:
            self._action(self)
        except BaseException:
            self.report(f"failed: {traceback.format_exc()!r}")
        finally:
            os._exit(0)
