"""Monitoring of real workers, whatever their pool: they say that they live, count what they do, and say goodbye."""

from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from eventbus.metrics import BusCollector
from tests.e2e.stage import TIMEOUT, Stage
from tests.support import wait_until

POOLS = ("prefork", "solo", "threads")


def test_a_worker_whose_queues_are_of_no_group_says_so(empty_stage: Stage) -> None:
    """When it starts, and to whoever asks the doctor: a misspelt queue is never written to. Ordinary workers are left alone."""
    inventory = empty_stage.queue("inventory")
    misspelt, ordinary, half = (
        empty_stage.start(arguments=["-Q", queues], environment={"SHOP": "orders"}, wait=False)
        for queues in (empty_stage.queue("inventry"), "reports", f"{inventory},analytics")
    )
    misspelt.wait_for_log(
        f"this worker serves no consumer group: it consumes {empty_stage.queue('inventry')}, and the", timeout=TIMEOUT
    )
    ordinary.wait_for_log("serves no consumer group: it consumes reports", timeout=TIMEOUT)
    half.wait_for_log("some queues are of no consumer group: it consumes analytics,", timeout=TIMEOUT)
    rows = wait_until(
        lambda: (
            len(found := empty_stage.rows("SELECT name, groups FROM eventbus.worker ORDER BY groups")) == 2 and found
        ),
        timeout=TIMEOUT,
    )
    checked = empty_stage.run("doctor", "--quiet").stdout

    assert [(row.name.partition("@")[0], row.groups) for row in rows] == [
        (misspelt.folder.name, []),
        (half.folder.name, ["inventory"]),
    ]
    [line] = [line for line in checked.splitlines() if rows[0].name in line]
    assert "serves no group. its -Q names no group's queue" in line


def test_workers_of_every_pool_are_seen_and_counted(stage: Stage) -> None:
    """From their start to their warm shutdown; health checks and statistics need nothing but PostgreSQL."""
    workers = [stage.start(pool=pool, concurrency=1, environment={"SHOP": "orders"}, wait=False) for pool in POOLS]
    rows = wait_until(
        lambda: len(found := stage.rows("SELECT * FROM eventbus.worker")) == 3 and found,
        timeout=TIMEOUT,
        message=stage.logs,
    )
    events = [stage.publish("order.created", {"number": number}) for number in range(6)]
    for event in events:
        stage.wait_for_state(event, "inventory", "done")
    stats = stage.bus.stats()
    registry = CollectorRegistry()
    registry.register(BusCollector(stage.bus))
    families = {item.name: item for item in text_string_to_metric_families(generate_latest(registry).decode())}
    [(done,)] = stage.rows("SELECT count(*) FROM eventbus.delivery WHERE group_name = 'inventory' AND state = 'done'")
    health = stage.run("health", "worker", "inventory")
    workers[0].kill()
    with ThreadPoolExecutor() as threads:
        codes = list(threads.map(lambda worker: worker.stop(), workers[1:]))
    left = stage.rows("SELECT pool FROM eventbus.worker")

    assert sorted(row.pool for row in rows) == list(POOLS)
    assert {row.pid for row in rows} == {worker.pid for worker in workers}
    assert all("inventory" in row.groups and row.name.endswith(f"@{row.host}") for row in rows)
    assert (stats.published, stats.by_group["inventory"].consumed) == (6, 6)
    handled = {sample.labels["group"]: sample.value for sample in families["eventbus_handled"].samples}
    alive = {sample.labels["group"]: sample.value for sample in families["eventbus_workers"].samples}
    assert (handled["inventory"], alive["inventory"]) == (done, 3) == (6, 3)
    assert health.returncode == 0, health.stderr
    assert (codes, [row.pool for row in left]) == ([0, 0], ["prefork"])
