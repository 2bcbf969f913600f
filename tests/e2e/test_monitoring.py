"""Monitoring of real workers, whatever their pool: they say that they live, count what they do, and say goodbye."""

import json
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from eventbus.embedded import EmbeddedValkey
from eventbus.metrics import BusCollector
from tests.e2e.stage import TIMEOUT, Stage
from tests.support import wait_until
from tests.support.receiver import Receiver

#: The frames of the shop's handler that fails.
PLACE = "failures.py:raise_as < failures.py:fail < failures.py:be_strict"
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


def test_a_worker_without_its_broker_says_that_it_lives(empty_stage: Stage) -> None:
    """To PostgreSQL, which it reaches: its broker hangs, is refused, or was never there since it started."""
    with EmbeddedValkey() as valkey:
        elsewhere = {"EVENTBUS_BROKER_URL": valkey.url, "SHOP": "orders"}
        connected = empty_stage.start(environment=elsewhere)
        valkey.freeze()
        wait_for_heartbeats(empty_stage, 1)
        valkey.kill()
        unconnected = empty_stage.start(environment=elsewhere, wait=False)
        wait_for_heartbeats(empty_stage, 2)

    for worker in (connected, unconnected):  # Celery would wait for its broker
        worker.kill()


def wait_for_heartbeats(stage: Stage, count: int) -> None:
    """Return when *count* workers have said that they live, twice each."""
    heard = "SELECT 1 FROM eventbus.worker WHERE seen_at > :since"
    for _ in range(2):
        [(since,)] = stage.rows("SELECT clock_timestamp()")
        wait_until(
            lambda since=since: len(stage.rows(heard, since=since)) == count,  # type: ignore[misc]
            timeout=TIMEOUT,
            message=stage.logs,
        )


RUNS = """
SELECT d.group_name, count(*) FILTER (WHERE d.state = 'done') AS done, count(*) FILTER (WHERE d.state = 'dead') AS dead,
       COALESCE(sum(a.failed), 0) AS failed, COALESCE(sum(a.died), 0) AS died
FROM eventbus.delivery AS d LEFT JOIN (
    SELECT event_id, group_name, count(*) FILTER (WHERE kind = 'error') AS failed, count(*) FILTER (WHERE kind = 'death') AS died
    FROM eventbus.attempt GROUP BY 1, 2
) AS a USING (event_id, group_name) GROUP BY 1 HAVING count(*) FILTER (WHERE d.state IN ('done', 'dead')) = count(*)
"""


def test_metrics_of_prefork_workers_are_what_sql_counts(empty_stage: Stage) -> None:
    """While two of them run, with children that fail, retry, give up and die: no number depends on a process's memory."""
    stage = empty_stage
    for wait in (False, True):
        stage.start(groups=["inventory", "flaky", "strict", "deadly"], wait=wait)
    for number in range(20):
        stage.publish("order.created", {"number": number})
    for failures in (0, 1, 2):
        stage.publish("flaky.asked", {"error": "ValueError", "failures": failures})
    stage.publish("strict.asked", {"error": "ValueError"})
    stage.publish("death.asked", {"way": "kill"})
    counted = wait_until(
        lambda: len(found := {row.group_name: row for row in stage.rows(RUNS)}) == 4 and found,
        timeout=TIMEOUT,
        message=stage.logs,
    )
    expected = {group: int(row.done + row.failed) for group, row in counted.items() if row.done + row.failed}
    name = "eventbus_handler_duration_seconds_count"

    samples = wait_until(
        lambda: (found := scrape(stage)).get(name) == expected and found,
        timeout=15,
        message=lambda: f"{expected} {scrape(stage).get(name)}",
    )
    stage.workers[0].kill()
    stage.end_workers()
    afterwards = scrape(stage)

    assert (counted["flaky"].failed, counted["strict"].dead, counted["deadly"].died) == (3, 1, 3)
    assert expected == {"inventory": 20, "flaky": 6, "strict": 1}
    for metric, column in (("handled", "done"), ("failed", "failed"), ("dead", "dead"), ("deaths", "died")):
        found = {group: value for group, value in samples[f"eventbus_{metric}_total"].items() if value}
        assert found == {group: int(getattr(row, column)) for group, row in counted.items() if getattr(row, column)}
    retries = {group: value for group, value in samples["eventbus_retries_total"].items() if value}
    assert retries == {"flaky": 3, "deadly": 2}
    assert sum(samples["eventbus_open_deliveries"].values()) == sum(samples["eventbus_lag_events"].values()) == 0
    assert all(
        afterwards[key] == value
        for key, value in samples.items()
        if key.endswith(("_total", "_count")) and "relay" not in key
    )
    assert set(stage.bus.durations()) == set(expected)


def test_a_webhook_that_hangs_keeps_nobody_waiting(empty_stage: Stage) -> None:
    """A worker tells it of a cause, goes on handling and beating while there is no answer, and knows when there was one."""
    stage = empty_stage
    with Receiver() as receiver:
        receiver.answers.clear()
        stage.start(groups=["inventory", "strict"], environment={"EVENTBUS_ALERT_URL": receiver.url})
        stage.publish("strict.asked", {"error": "ValueError"})
        wait_until(lambda: receiver.received, timeout=TIMEOUT, message=stage.logs)
        events = [stage.publish("order.created", {"number": number}) for number in range(20)]
        for event in events:
            stage.wait_for_state(event, "inventory", "done")
        meanwhile = stage.rows("SELECT result FROM eventbus.alert")
        receiver.answers.set()
        sent = wait_until(
            lambda: (found := stage.rows("SELECT result FROM eventbus.alert")) != meanwhile and found, timeout=TIMEOUT
        )

    assert [row.result for row in meanwhile] == [None]
    assert [row.result for row in sent] == ["sent"]
    [alert] = json.loads(receiver.received[0].body)["alerts"]
    assert (alert["error_type"], alert["place"]) == ("ValueError", PLACE)


def scrape(stage: Stage) -> dict[str, dict[str, float]]:
    """Samples of groups as a Prometheus reads them, by name; summed over types."""
    registry = CollectorRegistry()
    registry.register(BusCollector(stage.bus))
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            if group := sample.labels.get("group"):
                groups = found.setdefault(sample.name, {})
                groups[group] = groups.get(group, 0) + sample.value
    return found
