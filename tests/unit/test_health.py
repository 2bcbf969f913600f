"""Health: of two servers the worse one counts."""

import pytest

from eventbus.lifecycle.health import Answer, Health, Verdict


@pytest.mark.parametrize(
    ("database", "broker", "worse"),
    [
        (Verdict.OK, Verdict.OK, Verdict.OK),
        (Verdict.OK, Verdict.UNFIT, Verdict.UNFIT),
        (Verdict.UNFIT, Verdict.UNREACHABLE, Verdict.UNREACHABLE),
        (Verdict.UNREACHABLE, Verdict.UNFIT, Verdict.UNREACHABLE),
    ],
)
def test_a_bus_is_as_well_as_the_worse_of_its_servers(database: Verdict, broker: Verdict, worse: Verdict) -> None:
    """What cannot be reached is worse than what answers and is unfit."""
    found = Health(database=Answer(verdict=database), broker=Answer(verdict=broker))

    assert found.verdict is worse
