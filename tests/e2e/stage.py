"""A stage for workers: a database, a prefix on the shared broker, a publisher's bus, and eyes on what really happened.

stage.publish ─▶ workers (processes) ─▶ effects   rows that handlers leave
                                     ─▶ history   every state that a delivery passed through, kept by a trigger
                                     ─▶ TaskEvents  what Celery tells the world
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import redis
import sqlalchemy
from celery import Celery

from eventbus import Event, EventBus
from eventbus.embedded.processes import log_tail
from eventbus.lifecycle.dead_lettering import Details
from tests.e2e.shop.effects import TABLES
from tests.support import WorkerProcess, wait_until
from tests.support.workers import ROOT

SHOP = "tests.e2e.shop.app"
#: Generous: the machine may be busy with other things.
TIMEOUT = 40.0
Row = sqlalchemy.Row[Any]


class EventbusWorker(WorkerProcess):
    """A worker that is started by `eventbus worker GROUP...`."""

    def __init__(self, folder: Path, *, groups: Sequence[str], module: str, environment: Mapping[str, str]) -> None:
        super().__init__(folder, module=module, environment=environment)
        own = ["--hostname", f"{folder.name}@%h", "-c", "2", "-l", "INFO", "--without-mingle", "--without-gossip"]
        self._argv = [*command_line("-A", module, "worker", *groups), *own]


class Stage:
    """Where a module's workers play."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = dict(environment)
        self.prefix = environment["EVENTBUS_PREFIX"]
        self.broker = redis.Redis.from_url(environment["EVENTBUS_BROKER_URL"])
        self.app = Celery("publisher", broker=environment["EVENTBUS_BROKER_URL"], set_as_current=False)
        self.bus = EventBus(
            self.app,
            database_url=environment["EVENTBUS_DATABASE_URL"],
            broker_url=environment["EVENTBUS_BROKER_URL"],
            prefix=self.prefix,
        )
        url = environment["EVENTBUS_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://")
        self.engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
        self.workers: list[WorkerProcess] = []
        with self.engine.connect() as connection:
            connection.exec_driver_sql(TABLES)

    def start(
        self,
        *,
        module: str = SHOP,
        groups: Sequence[str] = (),
        pool: str = "prefork",
        concurrency: int = 2,
        arguments: Sequence[str] = (),
        mingle: bool = False,
        environment: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> WorkerProcess:
        """Start `celery -A MODULE worker`, with -Q and the queues of *groups* if there are any; it consumes on return.

        Args:
            wait: Otherwise return at once.
        """
        queues = ["-Q", ",".join(self.queue(group) for group in groups)] if groups else []
        worker = WorkerProcess(
            self._next_folder(),
            module=module,
            arguments=[*queues, *arguments],
            mingle=mingle,
            concurrency=concurrency,
            pool=pool,
            environment={**self.environment, **(environment or {})},
        )
        self.workers.append(worker)
        return worker.start(wait=wait, timeout=TIMEOUT)

    def start_by_eventbus(self, *groups: str, module: str = SHOP) -> WorkerProcess:
        """Start `eventbus worker GROUP...`; it consumes on return."""
        worker = EventbusWorker(self._next_folder(), groups=groups, module=module, environment=self.environment)
        self.workers.append(worker)
        return worker.start(timeout=TIMEOUT)

    def end_workers(self) -> None:
        """End all workers that were started so far, at once: a warm shutdown takes Celery two seconds."""
        with ThreadPoolExecutor() as threads:
            list(threads.map(WorkerProcess.reap, self.workers))
        self.workers.clear()

    def close(self) -> None:
        """Leave nothing behind."""
        self.end_workers()
        self.bus.database.dispose()
        self.engine.dispose()
        self.app.close()
        for key in self.broker.scan_iter(f"{self.prefix}.*"):
            self.broker.delete(key)
        self.broker.close()

    def queue(self, group: str) -> str:
        """The Redis key, and Celery queue, of *group*."""
        return f"{self.prefix}.{group}"

    def sync(self, *, module: str = SHOP) -> None:
        """Subscribe the groups of *module* without starting a worker."""
        run = self.run("-A", module, "sync")
        assert run.returncode == 0, run.stderr

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `eventbus ARGUMENTS` to its end."""
        environment = {**os.environ, **self.environment, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command_line(*arguments),
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def publish(self, type: str, data: Any = None, **options: Any) -> Event:
        """Publish from this process."""
        return self.bus.publish(type, {} if data is None else data, source="tests", **options)

    def rows(self, statement: str, **parameters: Any) -> Sequence[Row]:
        """What a query finds in the test's database."""
        with self.engine.connect() as connection:
            return connection.execute(sqlalchemy.text(statement), parameters).all()

    def change(self, statement: str, **parameters: Any) -> None:
        """Change the test's database."""
        with self.engine.connect() as connection:
            connection.execute(sqlalchemy.text(statement), parameters)

    def effects(self, event: Event | UUID | str, group: str) -> Sequence[Row]:
        """The rows that the handler of *group* has left for *event*, in order."""
        return self.rows(
            "SELECT * FROM public.effect WHERE event_id = :id AND group_name = :group ORDER BY id",
            id=_id(event),
            group=group,
        )

    def history(self, event: Event, group: str) -> Sequence[Row]:
        """The states that the delivery of *event* to *group* has passed through, in order."""
        return self.rows(
            "SELECT * FROM public.history WHERE event_id = :id AND group_name = :group ORDER BY id",
            id=event.id,
            group=group,
        )

    def states(self, event: Event, group: str) -> list[str]:
        """Their names."""
        return [item.state for item in self.history(event, group)]

    def delivery(self, event: Event | UUID | str, group: str) -> Row | None:
        """The row of the delivery of *event* to *group*."""
        found = self.rows(
            "SELECT * FROM eventbus.delivery WHERE event_id = :id AND group_name = :group", id=_id(event), group=group
        )
        return found[0] if found else None

    def wait_for_state(self, event: Event | UUID | str, group: str, state: str) -> Row:
        """The row of the delivery, as soon as it is in *state*."""

        def arrived() -> Row | None:
            found = self.delivery(event, group)
            return found if found is not None and found.state == state else None

        row = wait_until(
            arrived, timeout=TIMEOUT, message=lambda: f"{state}; is {self.delivery(event, group)}\n{self.logs()}"
        )
        assert row is not None
        return row

    def wait_for_effects(self, event: Event | UUID | str, group: str, count: int = 1) -> Sequence[Row]:
        """The rows that the handler has left, as soon as there are *count*."""

        def arrived() -> Sequence[Row] | None:
            found = self.effects(event, group)
            return found if len(found) >= count else None

        rows = wait_until(
            arrived, timeout=TIMEOUT, message=lambda: f"{count} effects; {self.delivery(event, group)}\n{self.logs()}"
        )
        assert rows is not None
        return rows

    def dead_letter(self, event: Event, group: str) -> Details:
        """The open dead letter of the delivery of *event* to *group*, as soon as it is dead."""
        self.wait_for_state(event, group, "dead")
        letters = [item for item in self.bus.dead_letters(group=group).items if item.event_id == event.id]
        assert len(letters) == 1
        return self.bus.dead_letter(letters[0].id)

    @contextmanager
    def closed_gate(self, number: int) -> Iterator[None]:
        """Hold back handlers that wait for gate *number* until the block ends."""
        with self.engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:number)"), {"number": number})
            try:
                yield
            finally:
                connection.execute(sqlalchemy.text("SELECT pg_advisory_unlock(:number)"), {"number": number})

    def logs(self) -> str:
        """The ends of the workers' logs, for the message of a failed test."""
        return "\n".join(f"--- {worker.folder.name}\n{log_tail(worker.log_path, lines=40)}" for worker in self.workers)

    def _next_folder(self) -> Path:
        return self.folder / f"{self.prefix}-{sum(1 for _ in self.folder.iterdir()) + 1}"


class TaskEvents:
    """Celery's task events, collected while the block runs, by the id of the event that the task's arguments name."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._seen: list[dict[str, Any]] = []
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="task-events", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(TIMEOUT)
        return self

    def __exit__(self, *_: object) -> None:
        self._receiver.should_stop = True
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()

    def of(self, event: Event) -> list[dict[str, Any]]:
        """All events of the tasks that were received with *event* in their arguments."""
        seen = list(self._seen)
        tasks = {item["uuid"] for item in seen if str(event.id) in str(item.get("args", ""))}
        return [item for item in seen if item.get("uuid") in tasks]

    def names(self, event: Event) -> list[str]:
        """Their names."""
        return [item["type"] for item in self.of(event)]

    def _listen(self) -> None:
        with self._app.connection_for_read() as connection:
            self._receiver = self._app.events.Receiver(connection, handlers={"*": self._receive})
            for _ in self._receiver.consume(limit=None, timeout=None, safety_interval=0.2, wakeup=True):
                pass

    def _receive(self, item: dict[str, Any]) -> None:
        self._seen.append(item)
        # Workers tell of themselves every other second: whoever hears that hears of tasks, too.
        self._listening.set()


def command_line(*arguments: str) -> list[str]:
    """The command `eventbus ARGUMENTS` of this very interpreter, installed or not."""
    return [sys.executable, "-c", "from eventbus.cli import main; main()", *arguments]


def _id(event: Event | UUID | str) -> UUID | str:
    return event.id if isinstance(event, Event) else event
