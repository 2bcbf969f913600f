"""Metrics: what a real Prometheus parser reads is what SQL counts."""

import os
import re
import socket
import sys
import urllib.request
from dataclasses import replace
from uuid import uuid4

import pexpect
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from eventbus import Event, EventBus, metrics
from eventbus.durations import Histogram
from eventbus.embedded.server import free_port
from eventbus.storage import repairs, runs, workers
from eventbus.storage.runs import Tally
from eventbus.storage.workers import Worker
from tests.integration.conftest import MakeBus, MakeWorker, Run
from tests.support.rows import Rows
from tests.support.workers import ROOT

Labels = tuple[tuple[str, str], ...]


def scrape(bus: EventBus) -> dict[tuple[str, Labels], float]:
    """Every sample, by name and sorted labels, as a Prometheus would read it."""
    registry = CollectorRegistry()
    registry.register(metrics.BusCollector(bus))
    return parse(generate_latest(registry).decode())


def parse(text: str) -> dict[tuple[str, Labels], float]:
    """The samples of a page of metrics."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(name: str, samples: dict[tuple[str, Labels], float]) -> dict[Labels, float]:
    """The samples of one name."""
    return {labels: value for (found, labels), value in samples.items() if found == f"eventbus_{name}"}


def refuse(event: Event) -> None:
    if event.data:
        raise ValueError(event.type)


@pytest.fixture
def busy(bus: EventBus, worker: MakeWorker) -> EventBus:
    """Three events for each of two groups: one handled, one dead, the others open; one group is paused."""
    bus.subscribe("order.*", group="stock", handler=refuse, max_retries=0)
    bus.subscribe("order.*", group="mail", handler=refuse)
    here = worker()
    for data in (0, 1, 0):
        bus.publish("order.created", data, source="tests")
    for _ in range(2):
        claimed = here.take("stock")
        assert claimed is not None
        with here.sessions() as sessions:
            ended = here.call(claimed, sessions)
        here.fail(claimed, ended) if isinstance(ended, BaseException) else here.done(claimed)
    bus.pause_group("mail")
    living = Worker(id=uuid4(), name="w", host="h", pid=1, pool="solo", concurrency=1, version="0", groups=["stock"])
    with bus.database.autocommit() as connection:
        workers.beat(connection, living)
        repairs.note(connection, {"stock": 7})
        runs.add_durations(
            connection, {("stock", "order.created"): Histogram(counts=(*(0,) * 9, 3, *(0,) * 6), seconds=6)}
        )
    return bus


def test_metrics_are_what_sql_counts(busy: EventBus, rows: Rows) -> None:
    """Each of them."""
    rows.all(
        "UPDATE eventbus.delivery SET due_at = now() - interval '90 s' WHERE state = 'pending' AND group_name = 'stock'"
    )

    samples = scrape(busy)

    pair = (("group", "stock"), ("type", "order.created"))
    stock, mail = (("group", "stock"),), (("group", "mail"),)
    by_state = dict(rows.all("SELECT state, count(*) FROM eventbus.delivery WHERE group_name = 'stock' GROUP BY 1"))
    assert by_state == {"done": 1, "dead": 1, "pending": 1}
    assert of("up", samples) == {(): 1}
    assert of("published_total", samples) == {(("type", "order.created"),): rows.count("event_log")}
    assert of("handled_total", samples) == {pair: by_state["done"]}
    assert of("dead_letters", samples) == of("dead_total", samples) == {pair: by_state["dead"]}
    assert of("failed_total", samples) == {
        pair: rows.value("SELECT count(*) FROM eventbus.attempt WHERE kind = 'error'")
    }
    assert of("deaths_total", samples) == of("retries_total", samples) == {pair: 0}
    assert of("lag_events", samples) == {mail: 3, stock: 1}
    assert of("parked_deliveries", samples) == {mail: 0, stock: 0}
    states = dict(rows.all("SELECT state, count(*) FROM eventbus.fingerprint GROUP BY 1"))
    assert (
        {labels[0][1]: value for labels, value in of("fingerprints", samples).items() if value} == states == {"new": 1}
    )
    timed = of("handler_duration_seconds_bucket", samples)
    assert of("handler_duration_seconds_count", samples) == {pair: 3}
    assert of("handler_duration_seconds_sum", samples) == {pair: 6}
    assert [value for _, value in sorted(timed.items(), key=lambda item: float(dict(item[0])["le"]))] == [0] * 9 + [
        3
    ] * 7
    assert of("open_deliveries", samples) == {mail: 3, stock: by_state["pending"]}
    assert 90 <= of("lag_seconds", samples)[stock] < 120
    assert of("workers", samples) == {mail: 0, stock: 1}
    assert of("paused", samples) == {mail: 1, stock: 0}
    assert of("broker_messages", samples) == {
        group: busy.broker.depth(busy.settings.queue(dict(group)["group"])) for group in (stock, mail)
    }
    assert of("relay_wake_ups_total", samples) == {stock: 7}


def test_what_was_given_up_is_told_beside_what_is_open(busy: EventBus) -> None:
    """A discarded letter is open no more, and was given up all the same."""
    busy.discard_dead_letters(group="stock", reason="no")

    samples = scrape(busy)

    pair = (("group", "stock"), ("type", "order.created"))
    assert of("dead_total", samples) == {pair: 1}
    assert of("dead_letters", samples).get(pair, 0) == 0


def test_deaths_are_no_retries(bus: EventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number of runs under its own name."""
    counted = replace(bus.measure(), runs={("order.created", "stock"): Tally(failed=1, deaths=2, retries=3, dead=4)})
    monkeypatch.setattr(bus, "measure", lambda: counted)

    samples = scrape(bus)

    names = ("failed_total", "deaths_total", "retries_total", "dead_total")
    assert [*(value for name in names for value in of(name, samples).values())] == [1, 2, 3, 4]


def test_types_are_bounded(busy: EventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many are summed, and not one is lost."""
    busy.publish("user.seen", {}, source="tests")
    monkeypatch.setattr(metrics, "MOST_TYPES", 1)

    samples = scrape(busy)

    assert of("published_total", samples) == {(("type", "*"),): 4}
    assert of("handled_total", samples) == {(("group", "stock"), ("type", "*")): 1}
    assert of("failed_total", samples) == of("dead_total", samples) == {(("group", "stock"), ("type", "*")): 1}
    assert of("handler_duration_seconds_count", samples) == {(("group", "stock"), ("type", "*")): 3}


def test_all_types_are_summed_in_every_metric(
    busy: EventBus, worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open dead letters and the runs of all handlers of a group are one number each."""
    busy.publish("order.paid", 1, source="tests")
    here = worker()
    while claimed := here.take("stock"):
        result = here.run(claimed)
        if isinstance(result, BaseException):
            here.fail(claimed, result)
    with busy.database.autocommit() as connection:
        runs.add_durations(
            connection, {("stock", "order.paid"): Histogram(counts=(*(0,) * 9, 1, *(0,) * 6), seconds=2)}
        )
    monkeypatch.setattr(metrics, "MOST_TYPES", 1)

    samples = scrape(busy)

    labels = (("group", "stock"), ("type", "*"))
    assert of("dead_letters", samples) == {labels: 2}
    assert of("handler_duration_seconds_count", samples) == {labels: 4}
    assert of("handler_duration_seconds_sum", samples) == {labels: 8}


def test_as_many_types_as_are_allowed_are_told_apart(busy: EventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one more makes them a sum."""
    monkeypatch.setattr(metrics, "MOST_TYPES", 1)

    samples = scrape(busy)

    assert of("published_total", samples) == {(("type", "order.created"),): 3}


def test_what_cannot_be_taken_yet_is_no_lag(busy: EventBus, rows: Rows) -> None:
    """A delivery that waits for its next attempt is open, and not late."""
    rows.all(
        "UPDATE eventbus.delivery SET due_at = now() + interval '1 h' WHERE state = 'pending' AND group_name = 'stock'"
    )

    samples = scrape(busy)

    stock = (("group", "stock"),)
    assert of("open_deliveries", samples)[stock] == 1
    assert of("lag_events", samples).get(stock, 0) == of("lag_seconds", samples).get(stock, 0) == 0


def test_what_waits_for_other_code_is_parked(busy: EventBus, rows: Rows) -> None:
    """It is open, and no lag grows: nobody would hear of it."""
    rows.all(
        "UPDATE eventbus.delivery SET state = 'parked', due_at = 'infinity' WHERE state = 'pending' AND group_name = 'mail'"
    )

    samples = scrape(busy)

    mail, stock = (("group", "mail"),), (("group", "stock"),)
    assert of("parked_deliveries", samples) == of("open_deliveries", samples) | {stock: 0} == {mail: 3, stock: 0}
    assert of("lag_events", samples)[mail] == 0


def test_registering_asks_nothing(make_bus: MakeBus) -> None:
    """A service starts at once, and while PostgreSQL hangs: also with the default registry, which looks for duplicates."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        bus = make_bus(database_url=f"postgresql://127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=2")

        CollectorRegistry(auto_describe=True).register(metrics.BusCollector(bus))

        with pytest.raises(BlockingIOError):
            silent.accept()


def test_a_server_that_is_away_is_said_and_no_error(busy: EventBus, make_bus: MakeBus) -> None:
    """Without the broker, all but its depth; without PostgreSQL, that it is away."""
    without_broker = scrape(make_bus(broker_url=f"redis://127.0.0.1:{free_port()}/0"))
    without_database = scrape(make_bus(database_url=f"postgresql://127.0.0.1:{free_port()}/x"))

    assert of("broker_messages", without_broker) == {}
    assert of("published_total", without_broker)
    assert without_database == {("eventbus_up", ()): 0}


def test_the_command_serves_them_until_it_is_interrupted(environment: dict[str, str], busy: EventBus) -> None:
    """One line says where."""
    variables = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    words = ["-c", "from eventbus.cli import main; main()", "metrics", "--port", "0"]
    child = pexpect.spawn(sys.executable, words, env=variables, encoding="utf-8", timeout=30)  # type: ignore[arg-type]
    child.expect(re.compile(r"serving (http://127.0.0.1:\d+/metrics)"))
    assert child.match is not None
    url = child.match[1]
    with urllib.request.urlopen(url, timeout=10) as answer:
        served = parse(answer.read().decode())
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()

    assert of("published_total", served) == {(("type", "order.created"),): 3}
    assert child.exitstatus == 0


def test_an_address_that_is_taken_is_bad_input(run_here: Run, environment: object) -> None:
    """In a sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_here("metrics", "--port", str(taken.getsockname()[1]))

    assert done.returncode == 2
    assert "cannot be listened on" in done.stderr
