"""Two storms: one that is always the same, and one that never was before."""

import random
from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.storm import run

SECONDS = 45.0
FIXED_SEED = 7


@pytest.mark.chaos
@pytest.mark.parametrize("which", ["fixed", "random"])
def test_a_storm_loses_nothing_and_repeats_no_effect(which: str, tmp_path: Path) -> None:
    """Every committed event is done or dead in every group that it was owed to, and each session's effect exists once."""
    seed = FIXED_SEED if which == "fixed" else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")

    outcome = run(seed, SECONDS, tmp_path)

    print(report.text([outcome]))
    assert outcome.problems == [], f"make chaos SEED={seed} repeats it"
