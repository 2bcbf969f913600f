"""Counts: a page never waits for one, and nobody counts the same twice."""

import threading
from collections.abc import Iterator

import pytest

from eventbus.console.counts import Counts
from eventbus.errors import DatabaseBusy
from tests.console.test_readings import Clock
from tests.support import wait_until


class Counting:
    """Something that is counted: how often, and only when it may go on."""

    def __init__(self) -> None:
        self.begun = 0
        self.gate = threading.Event()
        self.error: Exception | None = None

    def __call__(self) -> int:
        self.begun += 1
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        return self.begun


@pytest.fixture
def counting() -> Iterator[Counting]:
    made = Counting()
    yield made
    made.gate.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counts(clock: Clock) -> Counts[int]:
    return Counts(clock=clock)


def test_nobody_waits_and_nobody_counts_twice(counts: Counts[int], counting: Counting, clock: Clock) -> None:
    """Whoever asks while it counts is told later; whoever asks again soon is told the same, and later anew."""
    assert [counts.take("all", counting, again=True) for _ in range(2)] == [None, None]
    counting.gate.set()
    wait_until(lambda: counts.take("all", counting, again=False) == 1)

    clock.now += 9
    assert counts.take("all", counting, again=True) == 1
    clock.now += 2
    assert counts.take("all", counting, again=False) == 1
    assert wait_until(lambda: counts.take("all", counting, again=True) == 2)


def test_a_count_that_fails_is_said_so_and_begun_anew(counts: Counts[int], counting: Counting) -> None:
    """Rather than for ever."""
    counting.gate.set()
    counting.error = DatabaseBusy("away")
    with pytest.raises(DatabaseBusy, match="away"):
        wait_until(lambda: counts.take("all", counting, again=False))

    counting.error = None

    assert wait_until(lambda: counts.take("all", counting, again=False) == 2)


def test_only_some_count_at_once(counts: Counts[int], counting: Counting) -> None:
    """The others are asked to come back."""
    for number in range(4):
        assert counts.take(str(number), counting, again=True) is None

    with pytest.raises(DatabaseBusy, match="4 counts are under way"):
        counts.take("4", counting, again=True)
    counting.gate.set()

    assert wait_until(lambda: all(counts.take(str(n), counting, again=False) for n in range(4)))
    assert wait_until(lambda: counts.take("4", counting, again=True))


def test_not_all_are_kept_for_ever(counts: Counts[int], counting: Counting) -> None:
    """The oldest are counted anew."""
    counting.gate.set()
    for number in range(51):
        assert wait_until(lambda key=str(number): counts.take(key, counting, again=False))

    assert counts.take("50", counting, again=False) == 51
    assert wait_until(lambda: counts.take("0", counting, again=False) == 52)
