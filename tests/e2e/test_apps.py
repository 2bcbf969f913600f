"""Celery apps that share a bus, and a worker that serves queues of the bus beside ordinary ones."""

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from eventbus.embedded import EmbeddedValkey, Servers
from tests.conftest import StartWorker
from tests.e2e.conftest import make_stage
from tests.e2e.stage import TIMEOUT, Stage
from tests.support import wait_until
from tests.support.rows import Rows

MIXED = "tests.e2e.shop.mixed"
TWO_APPS = """
from celery import Celery
from eventbus import EventBus

app, other = Celery("shop"), Celery("office")
for made, group in ((app, "orders"), (other, "payroll")):
    EventBus(made).subscribe("order.created", group=group, handler=print)
"""

#: A start that ends in an error that nobody has foreseen.
FAULTY = """
from celery import Celery
from eventbus import EventBus
from eventbus.worker import serving

app = Celery("shop")
EventBus(app).subscribe("order.created", group="orders", handler=print)

def register(*_, **__):
    raise LookupError("unforeseen")

serving.register = register
"""


@pytest.fixture
def stage_alone(
    servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory, valkey: EmbeddedValkey
) -> Iterator[Stage]:
    """A stage with a broker of its own: what is handed out again after a second there is nobody else's."""
    yield from make_stage(servers, template_database, tmp_path_factory, EVENTBUS_BROKER_URL=valkey.url)


def words(stage: Stage) -> list[str]:
    """What ordinary tasks have noted, in order."""
    return [
        row.word
        for row in stage.rows("SELECT facts ->> 'word' AS word FROM effect WHERE group_name = 'ordinary' ORDER BY id")
    ]


def test_two_apps_with_groups_of_their_own_share_one_bus(empty_stage: Stage) -> None:
    """Each group handles an event once, in a worker of the app that declares it; ordinary tasks stay in their queues."""
    shop = empty_stage.start(environment={"SHOP": "orders"})
    mixed = empty_stage.start(module=MIXED)

    empty_stage.app.send_task("mixed.report", ("routed",), queue=f"{empty_stage.prefix}.reports")
    event = empty_stage.publish("order.created", {"number": 1})

    for group, worker in {"inventory": shop, "analytics": shop, "ledger": shop, "mixed": mixed}.items():
        row = empty_stage.wait_for_state(event, group, "done")
        assert row.worker.startswith(f"{worker.folder.name}@")
        assert len(empty_stage.effects(event, group)) == 1
    wait_until(
        lambda: set(words(empty_stage)) == {"routed", f"from {event.id}"}, timeout=TIMEOUT, message=empty_stage.logs
    )


def test_ordinary_tasks_of_a_killed_mixed_worker_are_handed_out_again(stage_alone: Stage) -> None:
    """The one that ran, for it acknowledges late, and the one that waited: the bus took no guarantee of Celery's away."""
    worker = stage_alone.start(module=MIXED, concurrency=1)
    with stage_alone.closed_gate(1):
        stage_alone.app.send_task("mixed.careful", (1,), queue=f"{stage_alone.prefix}.default")
        wait_until(lambda: words(stage_alone) == ["started"], timeout=TIMEOUT, message=stage_alone.logs)
        stage_alone.app.send_task("mixed.plain", ("waited",), queue=f"{stage_alone.prefix}.default")
        event = stage_alone.publish("order.created", {})
        wait_until(lambda: stage_alone.broker.zcard("unacked_index") == 3, timeout=TIMEOUT, message=stage_alone.logs)
        worker.kill()
    wait_until(lambda: stage_alone.broker.zcount("unacked_index", 0, time.time() - 1) == 3)

    stage_alone.start(module=MIXED, concurrency=1)

    expected = ["ended", f"from {event.id}", "started", "started", "waited"]
    wait_until(
        lambda: sorted(words(stage_alone)) == expected,
        timeout=TIMEOUT,
        message=lambda: f"{words(stage_alone)}\n{stage_alone.logs()}",
    )
    stage_alone.wait_for_state(event, "mixed", "done")
    assert len(stage_alone.effects(event, "mixed")) == 1


def test_a_mixed_worker_outlives_a_full_redis(stage_alone: Stage) -> None:
    """It is given messages whose copies find no room; when there is room, it goes on."""
    worker = stage_alone.start(module=MIXED, concurrency=1)
    with stage_alone.closed_gate(1):
        stage_alone.app.send_task("mixed.careful", (1,), queue=f"{stage_alone.prefix}.default")
        wait_until(lambda: words(stage_alone) == ["started"], timeout=TIMEOUT, message=stage_alone.logs)
        for _ in range(8):  # more than it takes in advance
            stage_alone.app.send_task("mixed.plain", ("waited",), queue=f"{stage_alone.prefix}.default")
        stage_alone.broker.config_set("maxmemory", "1")
    worker.wait_for_log("message_not_kept", timeout=TIMEOUT)
    stage_alone.broker.config_set("maxmemory", "0")

    event = stage_alone.publish("order.created", {})

    stage_alone.wait_for_state(event, "mixed", "done")
    assert worker.is_running


def test_a_worker_of_groups_alone_keeps_no_copies_of_messages(stage_alone: Stage) -> None:
    """Whoever comes after a worker that was killed is not sent its messages again: the relay knows what is due."""
    stage_alone.start(groups=["courier"], concurrency=1)
    with stage_alone.closed_gate(1):
        stage_alone.wait_for_effects(stage_alone.publish("parcel.sent", {"gate": 1}), "courier")
        waiting = stage_alone.publish("parcel.sent", {})
        wait_until(
            lambda: stage_alone.broker.llen(stage_alone.queue("courier")) == 0,
            timeout=TIMEOUT,
            message=stage_alone.logs,
        )
        copies = stage_alone.broker.exists("unacked", "unacked_index")
    stage_alone.wait_for_state(waiting, "courier", "done")

    assert copies == 0


def test_a_worker_of_one_app_takes_nothing_over_for_another_in_its_module(
    environment: dict[str, str], database_url: str, start_worker: StartWorker
) -> None:
    """It would owe events to groups that it does not serve."""
    start_worker(code=TWO_APPS)

    with closing(Rows(database_url)) as rows:
        assert rows.all("SELECT group_name FROM eventbus.subscription") == [("orders",)]


@pytest.mark.usefixtures("environment")
def test_a_worker_whose_start_fails_unforeseen_ends(start_worker: StartWorker) -> None:
    """Celery would only log it, and go on: as a worker that cannot work, and looks as if it did."""
    with pytest.raises(AssertionError, match=r"the worker ended \(1\)") as ended:
        start_worker(code=FAULTY)

    assert "worker_cannot_start" in str(ended.value)
    assert "LookupError: unforeseen" in str(ended.value)
