"""The arena: two servers, and on them for each system a database, a Redis database and a publisher that waits to be asked."""

import contextlib
import dataclasses
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import redis

from benchmarks import catalogue
from benchmarks.catalogue import System
from benchmarks.processes import Asked, Running, workers
from benchmarks.stage import Stage
from eventbus.embedded import Servers
from eventbus.embedded.databases import create_database, drop_database


class Contender:
    """One system in the arena."""

    def __init__(self, system: System, stage: Stage, folder: Path) -> None:
        self.system = system
        self.key = system.key
        self.stage = stage
        self._folder = folder
        self._database = psycopg2.connect(stage.database_url)
        self._database.autocommit = True
        host, port, number = stage.broker_host
        self._redis = redis.Redis(host=host, port=port, db=number)
        if system.prepared_by is not None:
            preparing = Asked(catalogue.publishing_command(system.prepared_by), stage, self._log("prepare"))
            preparing.ask("prepare")
            preparing.stop()
        self.publisher = Asked(system.publisher_command(), stage, self._log("publisher"))
        if system.prepared_by is None:
            self.publisher.ask("prepare")

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of *statement*, in autocommit."""
        with self._database.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def count_done(self) -> int:
        """Deliveries that are done."""
        return int(self.query(self.system.count)[0][0])

    def clean(self) -> None:
        """Forget all events and messages."""
        self.purge()
        self.query(f"TRUNCATE {self.system.tables} CASCADE")

    def purge(self) -> None:
        """Forget all messages; what publishers have declared in Redis stays, for they do so once."""
        for kind in ("list", "stream", "zset"):
            for key in self._redis.scan_iter(_type=kind, count=1000):
                self._redis.xtrim(key, maxlen=0, approximate=False) if kind == "stream" else self._redis.delete(key)

    def settle(self) -> None:
        """Give the planner its statistics, and let the next measurement not pay for what was written before."""
        self.query("ANALYZE")
        self.query("CHECKPOINT")

    @contextlib.contextmanager
    def working(self, *, traces: Path | None = None) -> Iterator[list[Running]]:
        """Its workers, for the length of the block."""
        assert self.system.workers
        stage = dataclasses.replace(self.stage, traces=traces)
        commands = [
            [part.replace("$BENCH_BROKER_URL", stage.broker_url) for part in argv] for argv in self.system.workers()
        ]
        with workers(commands, stage, self._log("worker")) as started:
            yield started

    @contextlib.contextmanager
    def tracing(self) -> Iterator[Path]:
        """An empty folder for traces."""
        folder = self._folder / f"{self.key}-traces-{secrets.token_hex(4)}"
        folder.mkdir()
        yield folder
        shutil.rmtree(folder)

    def server_versions(self) -> tuple[str, str]:
        """Those of PostgreSQL, and of Valkey or Redis."""
        info = self._redis.info("server")
        postgres = str(self.query("SHOW server_version")[0][0]).partition(" ")[0]
        return postgres, str(info.get("valkey_version") or info["redis_version"])

    def another_publisher(self, number: int) -> Asked:
        """One more publisher process, to be stopped by the caller."""
        return Asked(self.system.publisher_command(), self.stage, self._log(f"publisher-{number}"))

    def close(self) -> None:
        """End the publisher."""
        self.publisher.stop()
        self._database.close()
        self._redis.close()

    def _log(self, what: str) -> Path:
        return self._folder / f"{self.key}-{what}.log"


@contextlib.contextmanager
def arena(servers: Servers, keys: Sequence[str], folder: Path) -> Iterator[dict[str, Contender]]:
    """Contenders of *keys* on *servers*; their databases are dropped with the end of the block."""
    contenders: dict[str, Contender] = {}
    run = secrets.token_hex(4)
    parts = urlsplit(servers.broker_url)
    with contextlib.ExitStack() as stack:
        # Database 0 of a Redis that is not the run's own may be somebody's.
        for number, key in enumerate(keys, start=1):
            name = f"bench_{run}_{key}"
            stack.callback(drop_database, servers.database_url, name)
            stage = Stage(
                database_url=create_database(servers.database_url, name),
                broker_url=parts._replace(path=f"/{number}").geturl(),
            )
            contender = Contender(catalogue.SYSTEMS[key], stage, folder)
            stack.callback(contender.close)
            contender.clean()
            contenders[key] = contender
        yield contenders
