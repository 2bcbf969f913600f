"""Search every scenario, or see what each rule is needed for.

python -m tests.model                 every scenario, with all rules
python -m tests.model ablate          each rule off in turn, until a scenario breaks (minutes)
"""

import sys
import time
from dataclasses import fields, replace
from multiprocessing import Pool

from tests.model.rules import Rules
from tests.model.scenarios import SCENARIOS
from tests.model.search import search


def check() -> bool:
    """Search every scenario and print a line for each; True if nothing is broken."""
    broken = 0
    for scenario in SCENARIOS:
        began = time.perf_counter()
        found = search(scenario, Rules())
        print(f"{scenario.name:30} {time.perf_counter() - began:5.1f} s  {found}", flush=True)
        broken += found.broken is not None
    return not broken


def weaken(rule: str) -> str:
    """What breaks without *rule*, in the first scenario that shows it, beginning with the small ones."""
    rules = replace(Rules(), **{rule: False})
    for scenario in sorted(SCENARIOS, key=lambda scenario: scenario.states):
        if (result := search(scenario, rules)).broken:
            found = f"{result.states:6} states, {len(result.trace):2} steps  {scenario.name:30} {result.broken}"
            return f"{rule:34} {found}"
    return f"{rule:34} not needed by any scenario"


def ablate() -> bool:
    """Print what each rule is needed for."""
    with Pool() as pool:
        for line in pool.imap(weaken, [field.name for field in fields(Rules)], chunksize=1):
            print(line, flush=True)
    return True


if __name__ == "__main__":
    sys.exit(0 if (ablate() if sys.argv[1:] == ["ablate"] else check()) else 1)
