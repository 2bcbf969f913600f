"""Run storms.

make chaos [SECONDS=45] [SEED=7] [SEEDS=50] [CONTINUE=1] [PAGE=docs/why/chaos.md]
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import kept, report
from tests.chaos.storm import Outcome, run

#: From so many seeds on the table is worth keeping.
PAGE_SEEDS = 5


def main() -> int:
    """Run as many storms as asked for; 1 if anything was lost or done twice."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=45.0, help="how long each storm lasts")
    parser.add_argument("--seed", type=int, help="one storm of this seed")
    parser.add_argument("--seeds", type=int, help="so many storms, of seeds 1, 2, ...")
    parser.add_argument("--continue", dest="goes_on", action="store_true", help="skip seeds that have passed before")
    parser.add_argument(
        "--page",
        type=Path,
        help=f"write the table, as Markdown, there; from {PAGE_SEEDS} seeds on to {report.PAGE.name}",
    )
    asked = parser.parse_args()
    seeds = range(1, asked.seeds + 1) if asked.seeds else [asked.seed or random.randrange(1 << 32)]
    page = asked.page or (report.PAGE if len(seeds) >= PAGE_SEEDS else None)
    outcomes: list[Outcome] = []
    for seed in seeds:
        outcome = kept.find(seed, asked.seconds) if asked.goes_on else None
        if outcome is None:
            outcome = _storm(seed, asked.seconds)
            kept.keep(outcome)
        outcomes.append(outcome)
        if page:
            report.write_page(outcomes, page)
    print(report.text(outcomes))
    return int(any(outcome.problems for outcome in outcomes))


def _storm(seed: int, seconds: float) -> Outcome:
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))

    def tell(what: str) -> None:
        print(f"  {time.monotonic() - began:6.1f} s  {what}", flush=True)

    outcome = run(seed, seconds, folder, tell=tell)
    for problem in outcome.problems:
        print(f"  PROBLEM {problem}; logs in {folder}", flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
