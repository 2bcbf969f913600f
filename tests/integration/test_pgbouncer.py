"""Behind a proxy that pools transactions: publishing, claiming and settling work, with EVENTBUS_PREPARE=0 at no extra cost."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from eventbus import Draft, EventBus
from tests.integration.conftest import MakeBus
from tests.support import wait_until
from tests.support.pgbouncer import pgbouncer
from tests.support.rows import Rows
from tests.support.workers import WorkerProcess

pytestmark = pytest.mark.pgbouncer

WORKER = """
from celery import Celery
from eventbus import EventBus

app = Celery("app")
bus = EventBus(app)

@bus.subscribe("order.*", group="plain", max_retries=1)
def plain(event, delivery):
    if delivery.attempt == 1:
        raise ValueError("once")

@bus.subscribe("order.*", group="session")
def in_session(event, session):
    bus.publish("stock.reserved", event.data, source="inventory")
"""


@pytest.fixture
def pooled_url(database_url: str, tmp_path: Path) -> Iterator[str]:
    """The test's database, through the proxy."""
    with pgbouncer(database_url, tmp_path) as url:
        yield url


@pytest.mark.parametrize("prepare", ["0", "1"])
def test_publishers_share_few_connections(make_bus: MakeBus, pooled_url: str, rows: Rows, prepare: str) -> None:
    """Each statement may run on another backend: prepared ones are found or repeated, and every event is recorded once."""
    bus = make_bus(database_url=pooled_url, prepare=prepare)
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()

    def publish(name: int) -> None:
        for n in range(15):
            bus.publish("order.created", n, source="orders", idempotency_key=f"{name}-{n}" if n % 3 else None)
        bus.publish_many(Draft(type="order.created", data=n, source="orders") for n in range(5))
        with Session(bus.database.engine) as session:
            bus.publish("order.created", 1, source="orders", session=session)
            session.commit()

    threads = [threading.Thread(target=publish, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert rows.count("event_log") == rows.count("delivery") == 4 * 21
    prepared = rows.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'EXECUTE%%'"
    )
    assert prepared == 0 or prepare == "1"


def test_a_worker_handles_what_is_published(
    make_bus: MakeBus, pooled_url: str, broker_url: str, prefix: str, tmp_path: Path, rows: Rows
) -> None:
    """Claims, retries and sessions, from end to end."""
    bus: EventBus = make_bus(database_url=pooled_url, prepare="0")
    worker = WorkerProcess(
        tmp_path / "worker",
        code=WORKER,
        environment={
            "EVENTBUS_DATABASE_URL": pooled_url,
            "EVENTBUS_BROKER_URL": broker_url,
            "EVENTBUS_PREFIX": prefix,
            "EVENTBUS_PREPARE": "0",
        },
    )
    try:
        worker.start()
        bus.publish_many(Draft(type="order.created", data=n, source="orders") for n in range(3))

        def states() -> list[tuple[str, int]]:
            return rows.all("SELECT state, count(*) FROM eventbus.delivery GROUP BY 1")

        wait_until(lambda: states() == [("done", 6)], timeout=30, message=lambda: f"{states()}\n{worker.log}")
    finally:
        worker.reap()

    assert rows.all("SELECT type, count(*) FROM eventbus.event_log GROUP BY 1 ORDER BY 1") == [
        ("order.created", 3),
        ("stock.reserved", 3),
    ]
