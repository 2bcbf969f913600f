"""Children: the processes of a worker's pool, as its main process knows them; above all how each of them ended."""

import signal
import threading
from collections.abc import Iterable
from typing import Any


class Children:
    """Remembers the pool's processes beyond their end. Pools without processes have none."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._processes: dict[int, Any] = {}
        self._in_pool: set[int] = set()
        #: Those that were in the pool at any time since `keep` was called.
        self._lately: set[int] = set()
        self._limits: dict[int, float] = {}
        self._lock = threading.Lock()
        self._follow()
        self.look()

    def _follow(self) -> None:
        """Get to know each process that the pool starts from now on: one may end before anybody looks."""
        pool = getattr(self._pool, "_pool", None)
        create = getattr(pool, "_create_worker_process", None)
        if pool is None or create is None:
            return

        def create_known(index: int) -> Any:
            process = create(index)
            self.look()
            return process

        pool._create_worker_process = create_known

    def look(self) -> None:
        """Get to know the processes that the pool has now."""
        found = getattr(getattr(self._pool, "_pool", None), "_pool", None)
        if isinstance(found, list):
            with self._lock:
                processes = {process.pid: process for process in list(found)}
                self._processes.update(processes)
                self._in_pool = set(processes)
                self._lately |= self._in_pool

    def note_limit(self, pid: int, seconds: float) -> None:
        """Remember that a process is being ended because its task ran longer than *seconds*."""
        with self._lock:
            self._limits[pid] = seconds

    def is_out_of_time(self, pid: int) -> bool:
        """Whether a process was ended because its task ran too long."""
        with self._lock:
            return pid in self._limits

    def explain_end(self, pid: int) -> str | None:
        """What ended a process, as half a sentence; None if its pool has not noticed yet."""
        with self._lock:
            process, limit = self._processes.get(pid), self._limits.get(pid)
        if process is None:
            return "its process died while the handler ran"
        if limit is not None:
            return f"it did not listen, and its process was ended after {limit:g} s"
        code = process.exitcode
        if code is None:
            return None
        if code >= 0:
            return f"its process exited with code {code} while the handler ran"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"its process was killed by {name} while the handler ran"

    def keep(self, pids: Iterable[int]) -> None:
        """Forget those that had left the pool when this was last called, but for *pids*, which have accounts still.

        Not those that have left since: one may have taken an account after accounts were listed.
        """
        with self._lock:
            wanted = self._lately.union(pids)
            self._lately = set(self._in_pool)
            self._processes = {pid: process for pid, process in self._processes.items() if pid in wanted}
            self._limits = {pid: seconds for pid, seconds in self._limits.items() if pid in wanted}
