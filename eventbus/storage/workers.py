"""Workers: which ones live, as they say themselves every few seconds. One that ends in good order is gone at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc, as_uuid

#: A worker that was not seen for so long is taken for dead: six heartbeats.
SILENT = timedelta(seconds=30)

BEAT = """
INSERT INTO eventbus.worker AS known (id, name, host, pid, pool, concurrency, version, groups)
VALUES (CAST(:id AS uuid), :name, :host, :pid, :pool, :concurrency, :version, CAST(:groups AS text[]))
ON CONFLICT (id) DO UPDATE SET seen_at = GREATEST(clock_timestamp(), known.started_at), groups = EXCLUDED.groups
"""
# One that was killed before this one started is none: it was not seen since.
NAMESAKES = """
SELECT other.id, other.host, other.pid FROM eventbus.worker AS own
JOIN eventbus.worker AS other ON other.name = own.name AND other.id <> own.id AND other.seen_at > own.started_at
WHERE own.id = CAST(:id AS uuid)
"""
LEAVE = "DELETE FROM eventbus.worker WHERE id = CAST(:id AS uuid)"
LIST_LIVE = """
SELECT id, name, host, pid, pool, concurrency, version, groups, started_at, seen_at FROM eventbus.worker
WHERE seen_at > clock_timestamp() - CAST(:silent AS interval) ORDER BY name, started_at
"""
FORGET = "DELETE FROM eventbus.worker WHERE seen_at < clock_timestamp() - CAST(:kept AS interval)"


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A Celery worker process that serves groups."""

    #: Drawn at its start: a worker that was restarted is another one.
    id: UUID
    #: Celery's name for it, as celery@host.
    name: str
    host: str
    #: Of its main process.
    pid: int
    #: The kind of its pool: prefork, solo, threads.
    pool: str
    concurrency: int
    #: Of eventbus.
    version: str
    groups: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Namesake:
    """Another worker of the same name, which has lived at the same time."""

    id: UUID
    host: str
    pid: int


@dataclass(frozen=True, kw_only=True)
class Seen(Worker):
    """A worker, and when it was seen."""

    started_at: datetime
    seen_at: datetime


def beat(connection: Connection, worker: Worker) -> None:
    """State that *worker* lives."""
    connection.change(
        BEAT,
        id=str(worker.id),
        name=worker.name,
        host=worker.host,
        pid=worker.pid,
        pool=worker.pool,
        concurrency=worker.concurrency,
        version=worker.version,
        groups=list(worker.groups),
    )


def find_namesakes(connection: Connection, worker: Worker) -> list[Namesake]:
    """Others that were called as *worker* is, and were seen since it started; in no order."""
    rows = connection.rows(NAMESAKES, id=str(worker.id))
    return [Namesake(id=as_uuid(row.id), host=row.host, pid=row.pid) for row in rows]


def leave(connection: Connection, worker: Worker) -> None:
    """State that *worker* serves no longer."""
    connection.change(LEAVE, id=str(worker.id))


def list_live(connection: Connection) -> list[Seen]:
    """The workers that were seen lately, by name."""
    rows = connection.rows(LIST_LIVE, silent=SILENT)
    return [
        Seen(
            id=as_uuid(row.id),
            name=row.name,
            host=row.host,
            pid=row.pid,
            pool=row.pool,
            concurrency=row.concurrency,
            version=row.version,
            groups=tuple(row.groups),
            started_at=as_utc(row.started_at),
            seen_at=as_utc(row.seen_at),
        )
        for row in rows
    ]


def forget(connection: Connection, *, kept: timedelta) -> int:
    """Delete workers that were not seen for longer than *kept*, having died without a word; how many."""
    return connection.change(FORGET, kept=kept)
