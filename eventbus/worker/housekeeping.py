"""Housekeeping in a worker: a thread of its main process, beside the pool, with a connection of its own.

It needs nothing of the broker, and waits for nothing that handlers use: neither a full pool of connections nor a long run
stops the heartbeat.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from celery import Celery, bootsteps

from eventbus.lifecycle.housekeeping import chores_of, keep_house, say_goodbye
from eventbus.settings import Settings
from eventbus.storage.database import Database
from eventbus.storage.workers import Worker

log = logging.getLogger(__name__)

#: How long a warm shutdown waits for the chore that is being done.
_PATIENCE_SECONDS = 3


class Housekeeping(bootsteps.StartStopStep):
    """Starts after the pool has forked, and ends before it: a worker that drains serves no longer."""

    requires = ("celery.worker.components:Pool",)

    settings: Callable[[], Settings]
    groups: Callable[[], list[str] | None]

    def __init__(self, parent: Any, **options: Any) -> None:
        self._thread: threading.Thread | None = None
        super().__init__(parent, **options)

    def start(self, parent: Any) -> None:
        """Begin to keep house, in a worker that serves groups; one that seems to mean to only says that it lives."""
        groups = self.groups()
        if groups is None:
            return
        settings = self.settings()
        self._worker = _describe(parent, groups)
        self._database = own_database(settings, "eventbus housekeeping")
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=keep_house,
            args=(self._database, chores_of(self._worker)),
            kwargs={"stop": self._stop},
            name="eventbus-housekeeping",
            daemon=True,  # a server that does not answer must not keep the worker from ending
        )
        self._thread.start()

    def stop(self, *_: Any) -> None:
        """Say goodbye, so that nobody waits for this worker."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        self._stop.set()
        thread.join(_PATIENCE_SECONDS)
        if thread.is_alive():
            log.warning("housekeeping_hangs", extra={"worker": self._worker.name})
            return
        say_goodbye(self._database, self._worker)
        self._database.dispose()

    terminate = stop


def own_database(settings: Settings, application: str) -> Database:
    """A pool of one connection, for what must wait for nothing that handlers use."""
    return Database(
        settings.database_url, schema=settings.schema, pool_size=1, application=application, prepare=settings.prepare
    )


def keep_house_in_workers(
    app: Celery, *, settings: Callable[[], Settings], groups: Callable[[], list[str] | None]
) -> None:
    """Let every worker of *app* keep house.

    Args:
        groups: Those that this worker serves, None if it has nothing to do with the bus; asked when it has started.
    """
    name = f"{__name__}.Housekeeping-{uuid4().hex[:8]}"  # an app may have several buses
    members = {"name": name, "settings": staticmethod(settings), "groups": staticmethod(groups)}
    app.steps["worker"].add(type("BusHousekeeping", (Housekeeping,), members))


def _describe(worker: Any, groups: list[str]) -> Worker:
    pool = str(getattr(worker.pool_cls, "__module__", worker.pool_cls)).rpartition(".")[2]
    return Worker(
        id=uuid4(),
        name=worker.hostname,
        host=socket.gethostname(),
        pid=os.getpid(),
        pool={"thread": "threads"}.get(pool, pool),
        concurrency=worker.concurrency,
        version=version("eventbus"),
        groups=groups,
    )
