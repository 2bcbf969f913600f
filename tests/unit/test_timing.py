"""Timing: what each process counts is read by the main process, also when the process is dead, and never gets less."""

import pytest

from eventbus.durations import Histogram
from eventbus.lifecycle import timing
from eventbus.lifecycle.slots import Slots
from eventbus.lifecycle.timing import OTHERS, Timings
from tests.support.forks import Fork


def runs(timings: Timings) -> dict[tuple[str, str], int]:
    """How many runs were counted."""
    return {name: histogram.runs for name, histogram in timings.read().items()}


def test_runs_are_counted_by_group_and_type() -> None:
    """Of all slots, whoever has them."""
    timings = Timings(3)
    one, other = timings.timer(0), timings.timer(2)

    one.note("a", "order.created", 0.002)
    one.note("a", "order.created", 7)
    one.note("a", "order.paid", 0.1)
    other.note("a", "order.created", 0.002)

    found = timings.read()
    assert runs(timings) == {("a", "order.created"): 3, ("a", "order.paid"): 1}
    assert found["a", "order.created"].counts[:2] == (0, 2)
    assert found["a", "order.created"].seconds == pytest.approx(7.004)


def test_names_may_be_as_long_as_groups_and_types_are() -> None:
    """63 and 200 characters."""
    timings = Timings(1)
    name = ("g" * 63, "t" * 200)

    timings.timer(0).note(*name, 1)

    assert runs(timings) == {name: 1}


def test_who_gets_a_slot_next_goes_on_counting() -> None:
    """Counts only grow while the worker lives."""
    timings = Timings(1)

    for _ in range(2):
        timings.timer(0).note("a", "order.created", 1)

    assert runs(timings) == {("a", "order.created"): 2}


def test_too_many_types_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run is lost while there is room for its group; nothing is written beyond the slot."""
    monkeypatch.setattr(timing, "_SERIES", 4)
    monkeypatch.setattr(timing, "_KEPT_FOR_OTHERS", 2)
    timings = Timings(2)
    timer = timings.timer(0)

    for number in range(5):
        timer.note("a", f"type.{number}", 1)
    for group in "bcd":
        timer.note(group, "type.0", 1)
    timings.timer(1).note("z", "type.0", 1)

    assert runs(timings) == {
        ("a", "type.0"): 1,
        ("a", "type.1"): 1,
        ("a", OTHERS): 3,
        ("b", OTHERS): 1,
        ("z", "type.0"): 1,
    }


def test_a_process_that_is_killed_loses_nothing() -> None:
    """What it counted stands in memory that its parent has."""
    slots = Slots()

    def work(fork: Fork) -> None:
        slots.take().timer.note("a", "order.created", 0.2)
        fork.report("counted")
        fork.wait()

    with Fork(work) as fork:
        assert fork.hear() == "counted"
        fork.kill()

    found = slots.timings.read()
    assert found == {("a", "order.created"): Histogram(counts=found["a", "order.created"].counts, seconds=0.2)}
    assert found["a", "order.created"].runs == 1
