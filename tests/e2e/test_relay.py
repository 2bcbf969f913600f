"""Messages that are lost, or taken in vain: the relay of a worker that can run what is due makes up for it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from eventbus import Draft, EventBus
from eventbus.embedded import EmbeddedValkey, Servers
from tests.e2e.conftest import make_stage
from tests.e2e.stage import TIMEOUT, Stage
from tests.support import wait_until
from tests.support.clocks import clock_that_is_off
from tests.support.old_events import AGE
from tests.support.rows import Rows

#: A due delivery that a living worker can run starts within two seconds; a busy test machine gets some more.
BAR = timedelta(seconds=4)


@pytest.fixture(scope="module", autouse=True)
def subscribed(stage: Stage) -> None:
    """All groups are, whatever workers have been started."""
    stage.sync()


@pytest.fixture(autouse=True)
def workers(stage: Stage) -> Iterator[None]:
    """The test's workers end with it."""
    yield
    stage.end_workers()


def started(stage: Stage, event: Any, group: str = "courier") -> Any:
    """When the handler of *event* was started, once it has."""
    return stage.wait_for_effects(event, group)[0].at


def now(stage: Stage) -> Any:
    """The database's time."""
    return stage.rows("SELECT clock_timestamp() AS at")[0].at


def test_lost_messages_cost_two_seconds(stage: Stage) -> None:
    """The queue is emptied before anybody has read it, as by FLUSHALL, a purge or a volume that is gone."""
    events = [stage.publish("parcel.sent", {}) for _ in range(5)]
    assert stage.broker.delete(stage.queue("courier")) == 1

    stage.start(groups=["courier"])
    ready = now(stage)

    assert max(started(stage, event) for event in events) - ready < BAR


def test_a_message_that_is_lost_under_way_costs_two_seconds(stage: Stage) -> None:
    """The publisher could not reach the broker, or somebody died between taking the message and claiming."""
    stage.start(groups=["courier"])
    settings = {"database_url": stage.environment["EVENTBUS_DATABASE_URL"], "prefix": stage.prefix}
    mute = EventBus(Celery("mute", set_as_current=False), broker_url="redis://127.0.0.1:1/0", **settings)

    events = [mute.publish("parcel.sent", {}, source="tests") for _ in range(3)]
    published = now(stage)

    assert max(started(stage, event) for event in events) - published < BAR
    mute.database.dispose()


def test_a_backlog_of_weeks_is_drained(stage: Stage) -> None:
    """Its consumer was down for so long, and the messages of that time are gone."""
    events = stage.bus.publish_many(Draft(type="parcel.sent", data={}, source="tests") for _ in range(90))
    ids = [str(event.id) for event in events]
    rows = Rows(stage.environment["EVENTBUS_DATABASE_URL"].replace("+psycopg2", ""))
    aged = [id for age, some in (("20 days", ids[:30]), ("9 days", ids[30:60])) for (id,) in rows.all(AGE, age, some)]
    rows.close()

    stage.start(groups=["courier"])
    ready = now(stage)
    ended = [stage.wait_for_state(id, "courier", "done").finished_at for id in [*aged, *ids[60:]]]

    assert max(ended) - ready < 2 * BAR


def test_a_retry_whose_message_died_with_its_worker_comes_back(stage: Stage) -> None:
    """The ETA message sits in the memory of one worker; the time of the retry stands in PostgreSQL."""
    doomed = stage.start(groups=["flaky"])
    stage.start(groups=["flaky"])
    events = [stage.publish("flaky.asked", {"error": "ValueError", "failures": 1}) for _ in range(4)]
    for event in events:
        # Its effect is seen before it has failed: killed then, the worker would take a lease along.
        wait_until(lambda event=event: "retrying" in stage.states(event, "flaky"), timeout=TIMEOUT, message=stage.logs)
    doomed.kill()

    for event in events:
        stage.wait_for_state(event, "flaky", "done")


@pytest.mark.parametrize("order", ["new last", "new first"])
def test_old_code_beside_new_code_delays_nothing(stage: Stage, order: str) -> None:
    """Yesterday's worker takes wake-ups for what it does not know; today's is told again, and in its own queue if need be."""
    deploys = ["yesterday", "today"]
    for deploy in deploys if order == "new last" else deploys[::-1]:
        stage.start(groups=["courier"], concurrency=2, environment={"SHOP_DEPLOY": deploy})
    began = now(stage)

    events = [stage.publish("parcel.returned", {}) for _ in range(12)]

    assert max(started(stage, event) for event in events) - began < BAR
    assert {item.facts["step"] for event in events for item in stage.effects(event, "courier")} == {"taken back"}


def test_a_queue_that_is_never_empty_is_gone_round(stage: Stage) -> None:
    """It holds messages, and the worker does not read it: what is due reaches the worker through a queue of its own."""
    stage.start(groups=["courier"])
    stage.app.control.cancel_consumer(stage.queue("courier"), reply=True, timeout=TIMEOUT, limit=1)
    began = now(stage)

    event = stage.publish("parcel.sent", {})

    assert started(stage, event) - began < BAR
    assert stage.broker.llen(stage.queue("courier")) > 0


def test_a_backlog_at_the_start_is_no_reason_to_connect_anew(stage: Stage) -> None:
    """Before it reads Celery waits for other workers, unless it is told not to, and for Redis; relays are less patient."""
    events = [stage.publish("parcel.sent", {}) for _ in range(3)]
    wait_until(
        lambda: stage.delivery(events[-1], "courier").due_at < now(stage) - timedelta(seconds=2), timeout=TIMEOUT
    )

    worker = stage.start(module="tests.e2e.shop.late", groups=["courier"], mingle=True, wait=False)
    worker.wait_for_log("relayed_directly", timeout=TIMEOUT)
    (worker.folder / "read").touch()

    for event in events:
        stage.wait_for_state(event, "courier", "done")
    assert "consumer_restarted" not in worker.log
    assert "Connection to broker lost" not in worker.log


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_consumer_that_silently_stopped_is_restarted(stage: Stage, pool: str) -> None:
    """Nothing is read any more, and no error says so: the worker's relay notices, and connects anew. Celery reads in two ways."""
    worker = stage.start(module="tests.e2e.shop.deaf", groups=["courier"], pool=pool)
    stage.wait_for_state(stage.publish("parcel.sent", {}), "courier", "done")
    (worker.folder / "deaf").touch()
    wait_until((worker.folder / "deaf now").exists, timeout=TIMEOUT)

    # The question that is under way already may still be answered, once, and a slice that runs takes what comes meanwhile.
    def is_unheard() -> bool:
        event = stage.publish("parcel.sent", {})
        unheard.append(event)
        wait_until(
            lambda: stage.broker.llen(queue) > 0 or stage.delivery(event, "courier").state == "done", timeout=TIMEOUT
        )
        return bool(stage.broker.llen(queue) > 0)

    queue, unheard = stage.queue("courier"), []
    wait_until(is_unheard, timeout=TIMEOUT)

    worker.wait_for_log("consumer_restarted", timeout=TIMEOUT)

    for event in unheard:
        stage.wait_for_state(event, "courier", "done")


def test_a_paused_group_and_an_unknown_handler_make_nobody_spin(stage: Stage) -> None:
    """What nobody may run causes no messages, however long it waits."""
    stage.start(groups=["courier"], environment={"SHOP_DEPLOY": "yesterday"})
    stage.change("UPDATE eventbus.consumer_group SET paused = true WHERE name = 'ledger'")
    unknown = stage.publish("parcel.returned", {})
    seen = stage.start(groups=["ledger"])
    paused = stage.publish("order.created", {"number": 1})
    wait_until(lambda: stage.broker.llen(stage.queue("ledger")) == 0, timeout=TIMEOUT)
    wait_until(lambda: stage.broker.llen(stage.queue("courier")) == 0, timeout=TIMEOUT)
    before = sum(worker.log.count("relayed") for worker in stage.workers)

    began = now(stage)
    wait_until(lambda: now(stage) - began > timedelta(seconds=5), timeout=TIMEOUT)

    assert sum(worker.log.count("relayed") for worker in stage.workers) == before
    assert stage.broker.llen(stage.queue("ledger")) == stage.broker.llen(stage.queue("courier")) == 0
    assert stage.delivery(unknown, "courier").state == stage.delivery(paused, "ledger").state == "pending"
    stage.change("UPDATE eventbus.consumer_group SET paused = false WHERE name = 'ledger'")
    stage.wait_for_state(paused, "ledger", "done")
    assert seen.is_running


@pytest.mark.faketime
@pytest.mark.parametrize("offset", ["+600s", "-600s"])
def test_a_worker_whose_clock_is_off_changes_nothing(stage: Stage, offset: str) -> None:
    """Ten minutes ahead or behind: leases, backoffs and retries go by the database's clock, whatever its messages say."""
    stage.start(groups=["flaky"], environment=clock_that_is_off(offset))
    stage.start(groups=["flaky"])

    events = [stage.publish("flaky.asked", {"error": "ValueError", "failures": 1}) for _ in range(6)]

    for event in events:
        stage.wait_for_state(event, "flaky", "done")
        assert [item.attempt for item in stage.effects(event, "flaky")] == [1, 2]
    assert max(stage.effects(event, "flaky")[1].at - event.created_at for event in events) < timedelta(seconds=15)


def test_a_full_redis_ends_no_worker(
    valkey: EmbeddedValkey, servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It takes no message and no copy of one: workers wait for room, and nothing is missing when there is some."""
    full = Servers(database_url=servers.database_url, broker_url=valkey.url, postgres=None, valkey=valkey)
    for stage in make_stage(full, template_database, tmp_path_factory):
        worker = stage.start(groups=["courier"])
        stage.wait_for_state(stage.publish("parcel.sent", {}), "courier", "done")
        waiting = [stage.publish("parcel.sent", {}) for _ in range(3)]
        stage.broker.config_set("maxmemory", "1")
        # A worker that connects while it is full cannot even say which queues it reads.
        late = stage.start(groups=["courier"], wait=False)
        waiting += [stage.publish("parcel.sent", {}) for _ in range(3)]
        late.wait_for_log("queue_not_bound", timeout=TIMEOUT)
        stage.broker.config_set("maxmemory", "0")

        for event in waiting:
            stage.wait_for_state(event, "courier", "done")
        late.wait_for_log(" ready.", timeout=TIMEOUT)
        assert worker.is_running
