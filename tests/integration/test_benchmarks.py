"""The benchmark's harness: the smallest run of it, and that eventbus is measured as its README starts it."""

import dataclasses
import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

from benchmarks import report
from benchmarks.bounds import judge
from benchmarks.catalogue import SYSTEMS
from benchmarks.running import Plan, run
from benchmarks.sizes import TINY
from benchmarks.stage import Stage
from eventbus.embedded import Servers

ROOT = Path(__file__).resolve().parents[2]


def test_the_smallest_run_measures_and_reports(servers: Servers, tmp_path: Path) -> None:
    """From empty servers to a page: publishers, workers, samples, ratios and charts."""
    sizes = dataclasses.replace(TINY, latencies_omitted=frozenset({"celery"}))
    plan = Plan(sizes=sizes, systems=["eventbus", "celery"], measures=["publish", "publish_many", "drain", "latency"])
    machine = report.Machine(
        processors=2, model="", system="", python="", postgres="", valkey="", load=(0, 0), seconds=0
    )

    samples, *_versions = run(plan, servers, print)
    verdicts = judge(samples, plan.bounds())
    text = report.as_json(samples, verdicts, plan.sizes, machine, plan.systems)
    page = report.as_markdown(samples, verdicts, plan.sizes, machine, plan.systems)
    report.write(tmp_path, tmp_path / "page.md", text, page, samples)

    ratios = json.loads((tmp_path / "results.json").read_text())["ratios"]
    assert set(ratios) == {
        "publish.celery",
        "publish_many.celery",
        "drain.celery",
        "drain_cpu.celery",
    }
    assert len(samples.raw["latency"]["eventbus"][0]) == 30
    assert all(found["ratio"] > 0 for found in ratios.values())
    assert "| eventbus |" in (tmp_path / "page.md").read_text()
    assert "<rect" in (tmp_path / "benchmarks/drain.svg").read_text()


def test_eventbus_is_measured_as_the_readme_starts_it() -> None:
    """No option of a worker, no setting and no argument of EventBus that a reader of the README would not have."""
    readme = (ROOT / "README.md").read_text()
    shown = re.search(r"^celery -A shop worker -Q \S+", readme, re.MULTILINE)
    assert shown
    stage = Stage(database_url="postgresql://", broker_url="redis://")

    for key in ("eventbus", "eventbus_session"):
        start = SYSTEMS[key].workers
        assert start
        [command] = start()
        source = (ROOT / f"benchmarks/systems/{key}.py").read_text()
        assert without_values(command[command.index("celery") :]) == without_values(shlex.split(shown[0]))
        assert [line in source.splitlines() for line in ("bus = EventBus(app)", 'app = Celery("benchmark")')] == [
            True,
            True,
        ]
        assert "bus = EventBus(app)" in readme
        assert "conf." not in source
    assert {name for name in stage.environment() if name.startswith("EVENTBUS_")} == {
        "EVENTBUS_DATABASE_URL",
        "EVENTBUS_BROKER_URL",
    }


def without_values(command: list[str]) -> list[str]:
    """The words and options of a command line, whatever their values are."""
    return [part for before, part in pairwise(["", *command]) if not before.startswith("-")]
