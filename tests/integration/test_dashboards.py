"""The dashboard and the alert rules that come with eventbus: each names what a real scrape has; each rule fires, and is silent."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from eventbus import EventBus
from eventbus.durations import BUCKETS, Histogram
from eventbus.lifecycle import settlement
from eventbus.metrics import BusCollector
from eventbus.retry import RetryPolicy
from eventbus.storage import repairs, runs
from tests.integration.conftest import MakeWorker
from tests.support.workers import ROOT

RULES = ROOT / "docs" / "monitoring" / "alerts.yml"
DASHBOARD = ROOT / "docs" / "monitoring" / "grafana-dashboard.json"
CASES = ROOT / "tests" / "fixtures" / "alerts.test.yml"
_SELECTOR = re.compile(r"\b(eventbus_[a-z_]+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
_CLAUSE = re.compile(r"\b(?:by|on) \(([^)]*)\)")


def rules() -> dict[str, Any]:
    """The rule file."""
    found: dict[str, Any] = yaml.safe_load(RULES.read_text())
    return found


def alerts() -> list[dict[str, Any]]:
    """Every rule."""
    return [rule for group in rules()["groups"] for rule in group["rules"]]


def board() -> dict[str, Any]:
    """The dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def targets() -> Iterator[str]:
    """Every expression of the dashboard, with values in the place of its variables."""
    for panel in board()["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m").replace("$group", ".*").replace("$type", ".*")


@pytest.fixture
def scraped(bus: EventBus, worker: MakeWorker) -> dict[str, set[str]]:
    """The labels of each metric, as a Prometheus reads them from a bus where everything has happened."""
    bus.subscribe("#", group="stock", handler=lambda event: None)
    here = worker()
    for _ in range(2):
        bus.publish("order.created", {}, source="tests")
    lost, done = here.take("stock"), here.take("stock")
    assert lost is not None
    assert done is not None
    settlement.settle_failed(bus.database, lost, ValueError("no"), policy=RetryPolicy(max_retries=0), worker="w")
    here.done(done)
    with bus.database.autocommit() as connection:
        repairs.note(connection, {"stock": 1})
        runs.add_durations(connection, {("stock", "order.created"): Histogram(counts=(1,) * BUCKETS, seconds=1)})
    registry = CollectorRegistry()
    registry.register(BusCollector(bus))
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_metric_and_label_that_is_named_exists_in_a_scrape(scraped: dict[str, set[str]]) -> None:
    """In the dashboard's panels and variables, and in the rules; and no metric is left unwatched."""
    variables = [item["definition"] for item in board()["templating"]["list"] if "definition" in item]
    expressions = [*targets(), *variables, *(rule["expr"] for rule in alerts())]
    named: set[str] = set()
    for expression in expressions:
        for metric, selector in _SELECTOR.findall(expression):
            assert metric in scraped, expression
            assert set(_MATCHER.findall(selector)) <= scraped[metric], expression
            named.add(metric)
        labels = {label.strip() for clause in _CLAUSE.findall(expression) for label in clause.split(",")}
        assert labels <= set().union(*(scraped[metric] for metric, _ in _SELECTOR.findall(expression))), expression

    families = {name for name in scraped if not name.endswith(("_created", "_count"))}
    assert families <= named


def test_the_dashboard_is_one_that_grafana_can_import() -> None:
    """Ids are unique, panels fit into 24 columns and overlap nowhere, legends name labels that the expression leaves."""
    found = board()
    cells = [
        (x, y)
        for panel in found["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    variables = {item["name"] for item in found["templating"]["list"]}

    assert found["uid"]
    assert found["title"]
    assert found["schemaVersion"] >= 36
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    for panel in found["panels"]:
        assert panel["type"] in ("timeseries", "stat")
        assert panel["title"]
        assert [target["refId"] for target in panel["targets"]] == list("ABCD"[: len(panel["targets"])])
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            left = {label.strip() for clause in _CLAUSE.findall(target["expr"]) for label in clause.split(",")}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= left
            assert set(re.findall(r"\$([a-z]\w*)", target["expr"])) <= variables


def promtool(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `promtool` in *folder*."""
    return subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def tried(folder: Path, change: Callable[[list[dict[str, Any]]], None] = lambda rules: None) -> str:
    """What `promtool test rules` says of the rules after *change*; their texts are left out, for they are not what is tried."""
    found = deepcopy(rules())
    for group in found["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]
        change(group["rules"])
    (folder / "alerts.yml").write_text(yaml.safe_dump(found))
    (folder / "alerts.test.yml").write_text(CASES.read_text())
    done = promtool(folder, "test", "rules", "alerts.test.yml")
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.promtool
def test_prometheus_accepts_the_rules_and_the_dashboards_expressions(tmp_path: Path) -> None:
    """With their texts, in which labels are filled in."""
    recorded = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(targets())]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    (tmp_path / "alerts.yml").write_text(RULES.read_text())

    for file in ("alerts.yml", "panels.yml"):
        done = promtool(tmp_path, "check", "rules", file)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.promtool
def test_each_rule_fires_when_it_should_and_is_silent_when_all_is_well(tmp_path: Path) -> None:
    """On seeded series, by Prometheus itself."""
    cases = yaml.safe_load(CASES.read_text())["tests"]
    fires = {case["alertname"] for test in cases for case in test["alert_rule_test"] if case.get("exp_alerts")}
    silent = {case["alertname"] for case in cases[0]["alert_rule_test"]}

    assert fires == silent == {rule["alert"] for rule in alerts()}
    assert tried(tmp_path) == ""


@pytest.mark.promtool
@pytest.mark.parametrize("expression", ["vector(1) > 1", "vector(1)"])
def test_rules_that_never_or_always_fire_are_noticed(expression: str, tmp_path: Path) -> None:
    """Each of them: so the series are no idle talk."""

    def change(found: list[dict[str, Any]]) -> None:
        for rule in found:
            rule.update(expr=expression)

    said = tried(tmp_path, change)

    assert {rule["alert"] for rule in alerts() if f"alertname: {rule['alert']}," in said} == {
        rule["alert"] for rule in alerts()
    }
