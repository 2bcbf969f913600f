"""Memory: a worker's does not grow with what it has delivered."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from eventbus import Draft, EventBus
from tests.conftest import StartWorker
from tests.support import WorkerProcess, wait_until
from tests.support.rows import Rows

GROUPS = ("inventory", "notification", "analytics")
DELIVERIES = 100_000
#: All that a process keeps is kept by then.
EARLY = 20_000
GROWTH = 1.05
CODE = """
    from celery import Celery

    from eventbus import Event, EventBus

    app = Celery("app")
    bus = EventBus(app)


    def handle(event: Event) -> None:
        pass


    for name in ("inventory", "notification", "analytics"):
        bus.subscribe("order.created", group=name, handler=handle)
"""


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    """The test's database, behind the back of the bus."""
    with closing(Rows(database_url)) as found:
        yield found


def test_memory_stays_flat_over_100_000_deliveries(start_worker: StartWorker, rows: Rows) -> None:
    """Of the main process and of each child."""
    worker = start_worker(code=CODE, concurrency=2, loglevel="WARNING", wait=False)
    wait_until(lambda: rows.count("subscription") == len(GROUPS), timeout=60, message=lambda: worker.log[-2000:])
    publish(-(-DELIVERIES // len(GROUPS)))

    early = when_done(EARLY, worker, rows)
    late = when_done(DELIVERIES, worker, rows)

    assert len(early) == len(late) == 3
    assert max(after / before for before, after in zip(early, late, strict=True)) < GROWTH, (early, late)


def publish(events: int) -> None:
    """Publish so many."""
    bus = EventBus.from_env()
    note = "x" * 200
    bus.publish_many(
        Draft(type="order.created", data={"number": n, "note": note}, source="shop") for n in range(events)
    )
    bus.database.dispose()


def when_done(deliveries: int, worker: WorkerProcess, rows: Rows) -> Sequence[int]:
    """The resident bytes of the worker's main process and its children, as soon as so many deliveries are done."""
    done = "SELECT count(*) >= %s FROM eventbus.delivery WHERE state = 'done'"
    wait_until(lambda: rows.value(done, deliveries), timeout=240, message=lambda: worker.log[-2000:])
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    return [resident_bytes(pid) for pid in [worker.pid, *map(int, children)]]


def resident_bytes(pid: int) -> int:
    """The memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
