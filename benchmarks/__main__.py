"""The command: ``python -m benchmarks [--size full|quick|tiny]``; `make bench` runs it where all systems are installed.

Exit codes: 0 every bound holds · 1 one is missed.
"""

import argparse
import os
import platform
import signal
import sys
import time
from pathlib import Path

from benchmarks import report
from benchmarks.bounds import judge
from benchmarks.catalogue import SYSTEMS
from benchmarks.running import MEASURES, Plan, run
from benchmarks.sizes import SIZES
from eventbus.embedded import start_servers

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Run what *arguments* ask for, write its results, and say which bounds hold."""
    asked = _parser().parse_args(arguments)
    plan = Plan(sizes=SIZES[asked.size], systems=asked.systems, measures=asked.measures)
    began, load = time.monotonic(), report.load()
    # Servers of its own, whatever the environment names: durable, as a team's own would be.
    with start_servers(durable=True, environment={}) as servers:
        samples, postgres, valkey = run(plan, servers, _say, folder=asked.logs)
    machine = report.Machine(
        processors=os.cpu_count() or 1,
        model=report.processor(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        postgres=postgres,
        valkey=valkey,
        load=(load, report.load()),
        seconds=round(time.monotonic() - began),
    )
    verdicts = judge(samples, plan.bounds())
    text = report.as_json(samples, verdicts, plan.sizes, machine, plan.systems)
    markdown = report.as_markdown(samples, verdicts, plan.sizes, machine, plan.systems)
    report.write(asked.results, asked.page, text, markdown, samples)
    print(markdown)
    missed = [verdict.bound.key for verdict in verdicts if not verdict.holds]
    print(f"missed: {', '.join(missed)}" if missed else "every bound holds")
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare eventbus with other systems.")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--measures", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks", help="folder of results.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/why/benchmarks.md", help="page of the tables")
    parser.add_argument(
        "--logs", type=Path, default=None, help="existing folder in which logs of all processes are kept"
    )
    return parser


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    # Told to end, it ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
