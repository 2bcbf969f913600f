"""The stage of a storm: servers and proxies of its own, workers, publishers, and eyes past the proxies.

publishers ─▶ proxy ─▶ PostgreSQL ◀─ proxy ◀─ workers (accounts, ledger, courier, all three)
     └───────────────▶ Valkey ◀───────────────┘
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from celery import Celery

from eventbus import EventBus
from eventbus.embedded import EmbeddedPostgres, EmbeddedValkey
from eventbus.storage import migrations
from tests.chaos.processes import Script, Worker
from tests.chaos.tables import TABLES
from tests.support.fault_proxy import FaultProxy
from tests.support.rows import Rows

GROUPS = ("accounts", "ledger", "courier")
PREFIX = "chaos"
LEASE_SECONDS = 2
PUBLISHERS = ("north", "south")


@dataclass(kw_only=True)
class Stage:
    """What a fault may lay its hands on."""

    folder: Path
    seed: int
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    #: Before PostgreSQL, for workers and for publishers.
    worker_proxy: FaultProxy
    publisher_proxy: FaultProxy
    workers: list[Worker] = field(default_factory=list)
    publishers: list[Script] = field(default_factory=list)
    #: From when to when the guest was surely subscribed, as times of PostgreSQL.
    visits: list[tuple[str, str]] = field(default_factory=list)
    #: What a fault could not do, and why; not a failure of the bus.
    notes: list[str] = field(default_factory=list)
    #: Workers that ended though nobody ended them.
    ended: list[str] = field(default_factory=list)
    calm: threading.Event = field(default_factory=threading.Event)

    def supervise(self) -> None:
        """Start workers that have ended again, as systemd or Docker would, until the stage is cleared."""
        while not self.calm.wait(0.5):
            self.ended += [text for worker in self.workers if (text := worker.supervise())]

    @property
    def environment(self) -> dict[str, str]:
        """Of all processes; the database's URL is each one's own."""
        return {
            "EVENTBUS_BROKER_URL": self.valkey.url,
            "EVENTBUS_PREFIX": PREFIX,
            "EVENTBUS_LEASE_SECONDS": str(LEASE_SECONDS),
            "CHAOS_DATABASE_URL": self.postgres.url,
        }

    def worker(self, name: str, groups: tuple[str, ...], **environment: str) -> Worker:
        """A worker that is not started yet."""
        own = {**self.environment, "EVENTBUS_DATABASE_URL": self.worker_proxy.url, **environment}
        return Worker(self.folder, name, [queue(group) for group in groups], own)

    def journal(self, name: str) -> Path:
        """What the publisher of that name writes down."""
        return self.folder / f"{name}.journal"

    def broker(self) -> "redis.Redis[bytes]":
        """A connection of its own, which gives up soon."""
        return redis.Redis.from_url(self.valkey.url, socket_timeout=2, socket_connect_timeout=2)

    @contextmanager
    def rows(self) -> Iterator[Rows]:
        """A connection past the proxies."""
        rows = Rows(self.postgres.url)
        try:
            yield rows
        finally:
            with contextlib.suppress(Exception):
                rows.close()

    @contextmanager
    def operator(self) -> Iterator[EventBus]:
        """A bus past the proxies, for what people do."""
        app = Celery("operator", set_as_current=False)
        settings: Mapping[str, Any] = {
            "database_url": self.postgres.url,
            "broker_url": self.valkey.url,
            "prefix": PREFIX,
        }
        bus = EventBus(app, **settings)
        try:
            yield bus
        finally:
            bus.database.dispose()
            app.close()


def queue(group: str) -> str:
    """The Celery queue of *group*."""
    return f"{PREFIX}.{group}"


@contextmanager
def open_stage(folder: Path, seed: int) -> Iterator[Stage]:
    """A stage with everything up; all of it is gone afterwards."""
    with EmbeddedPostgres(durable=False) as postgres, EmbeddedValkey() as valkey:
        migrations.upgrade(postgres.url.replace("postgresql://", "postgresql+psycopg2://"))
        with FaultProxy(postgres.url) as worker_proxy, FaultProxy(postgres.url) as publisher_proxy:
            stage = Stage(
                folder=folder,
                seed=seed,
                postgres=postgres,
                valkey=valkey,
                worker_proxy=worker_proxy,
                publisher_proxy=publisher_proxy,
            )
            try:
                _raise_curtain(stage)
                yield stage
            finally:
                _clear(stage)


def _raise_curtain(stage: Stage) -> None:
    with stage.rows() as rows:
        rows.all(TABLES)
    stage.workers = [stage.worker(group, (group,)) for group in GROUPS] + [stage.worker("all", GROUPS)]
    for worker in stage.workers:
        worker.start()
    for worker in stage.workers:
        worker.wait_until_ready()
    own = {**stage.environment, "EVENTBUS_DATABASE_URL": stage.publisher_proxy.url}
    for name in PUBLISHERS:
        arguments = ["tests.chaos.publisher", name, str(stage.seed), str(stage.journal(name))]
        stage.publishers.append(Script(stage.folder, arguments, own))
    for script in stage.publishers:
        script.start()
    threading.Thread(target=stage.supervise, daemon=True).start()


def _clear(stage: Stage) -> None:
    stage.calm.set()
    with ThreadPoolExecutor() as threads:
        ends = [worker.end for worker in stage.workers] + [script.stop for script in stage.publishers]
        list(threads.map(lambda end: end(), ends))
