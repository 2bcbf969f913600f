"""The report: results.json for machines, a page with tables and charts for readers."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bounds import Verdict
from benchmarks.catalogue import SYSTEMS, VARIANTS
from benchmarks.charts import bars
from benchmarks.measuring.samples import Samples
from benchmarks.sizes import Sizes

#: Between these two lines of the page stands what a run has found.
BEGIN, END = "<!-- results: written by make bench -->", "<!-- end of results -->"

COLUMNS = (
    "system",
    "publish, ms p50",
    "publish_many, events/s",
    "drain, deliveries/s",
    "CPU, µs per delivery",
    "latency, ms p50",
    "p99",
)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the run was measured on."""

    processors: int
    model: str
    system: str
    python: str
    postgres: str
    valkey: str
    #: One-minute load when the run began, and when it had ended.
    load: tuple[float, float]
    seconds: float


def processor() -> str:
    """What the machine calls its processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions(keys: Sequence[str]) -> dict[str, str]:
    """Versions of what was compared."""
    names = sorted({package for key in keys for package in SYSTEMS[key].packages}, key=str.lower)
    found = {name: importlib.metadata.version(name) for name in names}
    if "node" in keys:
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        found["node"] = node.removeprefix("v")
    return found


def as_json(samples: Samples, verdicts: Sequence[Verdict], sizes: Sizes, machine: Machine, keys: Sequence[str]) -> str:
    """All of a run; ratios by their stable keys."""
    document: dict[str, Any] = {
        "run": sizes.name,
        "omits": sizes.omissions,
        "machine": vars(machine) | {"load": list(machine.load)},
        "versions": versions(keys),
        "ratios": {
            verdict.bound.key: {
                "ratio": None if verdict.ratio is None else round(verdict.ratio, 3),
                "wanted": verdict.bound.wanted,
                "holds": verdict.holds,
            }
            for verdict in verdicts
        },
        "latency_p99_seconds": {key: samples.quantile("latency", key, 0.99) for key in samples.raw["latency"]},
        "samples": samples.raw,
    }
    # Each list of samples on one line: a difference of two runs can be read.
    text = json.dumps(document, indent=1)
    return _joined(text) + "\n"


def _joined(text: str) -> str:
    out: list[str] = []
    for line in text.split("\n"):
        bare = line.strip()
        is_number = bare.rstrip(",").replace(".", "").replace("e-", "").isdigit()
        if out and (is_number or (bare.startswith("]") and out[-1].rstrip()[-1:].isdigit())):
            out[-1] = f"{out[-1].rstrip()} {bare}"
        else:
            out.append(line)
    return "\n".join(out)


def as_markdown(
    samples: Samples, verdicts: Sequence[Verdict], sizes: Sizes, machine: Machine, keys: Sequence[str]
) -> str:
    """What a reader wants to see of a run."""
    return "\n".join(
        [
            BEGIN,
            "",
            _described(sizes, machine),
            "",
            "| ratio | measured | bound | |",
            "|---|---:|---|---|",
            *(_verdict_row(verdict) for verdict in verdicts),
            "",
            "| " + " | ".join(COLUMNS) + " |",
            "|---" + "|---:" * (len(COLUMNS) - 1) + "|",
            *(_system_row(samples, key) for key in keys if key not in VARIANTS),
            "",
            "![Deliveries per second of a backlog](benchmarks/drain.svg)",
            "",
            "![Milliseconds of one publish](benchmarks/publish.svg)",
            "",
            "![Milliseconds from publish to handler](benchmarks/latency.svg)",
            "",
            "All samples and versions: [results.json](../../benchmarks/results.json).",
            "",
            END,
        ]
    )


def write(folder: Path, page: Path, json_text: str, markdown: str, samples: Samples) -> None:
    """Write results.json into *folder*, and tables and charts into and beside *page*."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json_text)
    charts = page.parent / "benchmarks"
    charts.mkdir(parents=True, exist_ok=True)
    for name, text in drawn(samples).items():
        (charts / f"{name}.svg").write_text(text)
    before = page.read_text() if page.exists() else f"{BEGIN}\n{END}\n"
    head, _, rest = before.partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(head + markdown + tail)


def drawn(samples: Samples) -> dict[str, str]:
    """A chart for each of the measures that one wants to see at a glance."""
    return {
        "drain": bars(
            "Draining a backlog", "deliveries per second", _medians(samples, "drain", 1), more_is_better=True
        ),
        "publish": bars(
            "One publish to three groups", "ms, p50", _medians(samples, "publish", 1000), more_is_better=False
        ),
        "latency": bars(
            "Publish to handler at 50 events/s", "ms, p50", _medians(samples, "latency", 1000), more_is_better=False
        ),
    }


def _medians(samples: Samples, measure: str, factor: float) -> dict[str, float]:
    found = {SYSTEMS[key].title: samples.median(measure, key) for key in samples.raw[measure] if key not in VARIANTS}
    return {title: value * factor for title, value in found.items() if value is not None}


def _verdict_row(verdict: Verdict) -> str:
    bound = verdict.bound
    ratio = "not measured" if verdict.ratio is None else f"{verdict.ratio:.2f}"
    mark = ("holds" if verdict.holds else "**missed**") if bound.wanted else ""
    return f"| `{bound.key}` {bound.says.partition(': ')[2] or bound.says} | {ratio} | {bound.wanted} | {mark} |"


def _system_row(samples: Samples, key: str) -> str:
    cells = [
        _shown(samples.median("publish", key), 1e3, 2),
        _shown(samples.median("publish_many", key), 1, 0),
        _shown(samples.median("drain", key), 1, 0),
        _shown(samples.median("drain_cpu", key), 1e6, 0),
        _shown(samples.median("latency", key), 1e3, 1),
        _shown(samples.quantile("latency", key, 0.99), 1e3, 1),
    ]
    return f"| {SYSTEMS[key].title} | {' | '.join(cells)} |"


def _shown(value: float | None, factor: float, digits: int) -> str:
    return "" if value is None else f"{value * factor:,.{digits}f}"


def _described(sizes: Sizes, machine: Machine) -> str:
    return " ".join(
        [
            f"A {sizes.name} run of {machine.seconds / 60:.0f} minutes on {machine.processors} processors ({machine.model}),",
            f"{machine.system}, Python {machine.python}, PostgreSQL {machine.postgres}, Valkey {machine.valkey};",
            f"one-minute load {machine.load[0]:.1f} before and {machine.load[1]:.1f} after.",
            sizes.omissions,
        ]
    ).rstrip()


def load() -> float:
    """How many processes want to run, over the last minute."""
    return round(os.getloadavg()[0], 2)
