"""Pace: batches are as large as fit into the time, by what handlers were seen to take."""

import pytest

from eventbus.lifecycle.pace import Pace


@pytest.mark.parametrize(
    ("took_seconds", "fitting"),
    [(0.001, 100), (0.005, 100), (0.01, 50), (0.2, 2), (0.3, 1), (60.0, 1)],
)
def test_as_many_as_fit(took_seconds: float, fitting: int) -> None:
    """Never more than asked for, never none."""
    pace = Pace()

    pace.note("a", deliveries=10, seconds=10 * took_seconds)

    assert pace.fitting("a", seconds=0.5, at_most=100) == fitting


def test_an_unknown_group_begins_with_one() -> None:
    """Its handler may take minutes; what another group's takes says nothing of it."""
    pace = Pace()
    pace.note("a", deliveries=100, seconds=0.001)

    assert pace.fitting("b", seconds=0.5, at_most=100) == 1


def test_a_pace_that_changes_is_followed() -> None:
    """Soon, but one slow batch is no new pace."""
    pace = Pace()
    pace.note("a", deliveries=100, seconds=0.1)

    pace.note("a", deliveries=1, seconds=0.1)
    once = pace.fitting("a", seconds=0.5, at_most=100)
    for _ in range(10):
        pace.note("a", deliveries=1, seconds=0.1)
    often = pace.fitting("a", seconds=0.5, at_most=100)

    assert once == 12
    assert often == 5
