"""The bounds of the benchmark: planted numbers are judged as the promises say."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.bounds import BOUNDS, Bound, judge
from benchmarks.catalogue import SYSTEMS
from benchmarks.charts import bars
from benchmarks.measuring.draining import steady_rate
from benchmarks.measuring.samples import Samples
from benchmarks.running import MEASURES, Plan
from benchmarks.sizes import FULL, QUICK

BY_KEY = {bound.key: bound for bound in BOUNDS}


def planted(bound: Bound, ratio: float) -> Samples:
    """Samples of which *bound* has *ratio*."""
    samples = Samples()
    samples.add(bound.measure, bound.above, [10.0 * ratio])
    samples.add(bound.measure, bound.below, [10.0])
    return samples


@pytest.mark.parametrize(
    ("key", "holds", "misses"),
    [
        ("publish.celery", 4.0, 3.99),
        ("publish.dramatiq", 1.01, 1.0),
        ("publish.statement", 1.7, 1.71),
        ("publish.crowded", 1.1, 1.11),
        ("publish_many.celery", 30, 29.9),
        ("drain.celery", 15, 14.9),
        ("drain.node", 1.01, 1.0),
        ("session.loop", 0.6, 0.59),
        ("latency.celery", 0.8, 0.81),
        ("drain_cpu.celery", 0.1, 0.11),
    ],
)
def test_a_ratio_holds_up_to_its_bound_and_no_further(key: str, holds: float, misses: float) -> None:
    """Each promised ratio has a side on which it is missed."""
    bound = BY_KEY[key]

    verdicts = [judge(planted(bound, ratio), [bound])[0] for ratio in (holds, misses)]

    assert [verdict.holds for verdict in verdicts] == [True, False]


def test_every_rival_that_is_promised_against_is_bound() -> None:
    """What eventbus promises to be faster than is what the benchmark fails for."""
    bound = {bound.key for bound in BOUNDS if bound.wanted}

    assert bound >= {f"publish.{name}" for name in ("dramatiq", "taskiq", "procrastinate", "rq", "huey", "faststream")}
    assert bound >= {f"drain.{name}" for name in ("dramatiq", "taskiq", "faststream", "procrastinate", "node")}


def test_what_was_not_measured_does_not_hold() -> None:
    """A benchmark that forgets a system does not pass for it."""
    verdicts = judge(Samples(), [BY_KEY["drain.celery"], BY_KEY["drain.rq"]])

    assert [(verdict.ratio, verdict.holds) for verdict in verdicts] == [(None, False), (None, True)]


def test_a_rounds_outlier_does_not_decide() -> None:
    """The median of three rounds is the figure, not their mean."""
    samples = Samples()
    for value in (1.0, 50.0, 2.0):
        samples.add("drain", "eventbus", [value])

    assert samples.median("drain", "eventbus") == 2.0


def test_p99_is_of_all_rounds_together() -> None:
    """One slow delivery in a hundred is the 99th percentile's neighbour, not it."""
    samples = Samples()
    samples.add("latency", "eventbus", [0.001] * 99)
    samples.add("latency", "eventbus", [0.001] * 99 + [1.0, 1.0])

    assert samples.quantile("latency", "eventbus", 0.99) == 0.001
    assert samples.quantile("latency", "eventbus", 1.0) == 1.0


def test_start_and_end_do_not_count_as_steady_work() -> None:
    """A slow start of the workers does not lower a rate."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    stamps = [began, *(began + timedelta(seconds=100 + number / 100) for number in range(100))]

    rate, seconds = steady_rate(stamps)

    assert rate == pytest.approx(100)
    assert seconds == pytest.approx(0.8, abs=0.02)


def test_both_runs_answer_every_bound() -> None:
    """The quick run leaves out what bounds nothing."""
    wanted = {bound.key for bound in BOUNDS if bound.wanted}

    for sizes in (FULL, QUICK):
        plan = Plan(sizes=sizes, systems=list(SYSTEMS), measures=list(MEASURES))
        assert {bound.key for bound in plan.bounds() if bound.wanted} == wanted


def test_a_chart_has_room_for_its_longest_name() -> None:
    """Names end where their bars begin, so a long one would begin outside."""
    names = [system.title for system in SYSTEMS.values()]

    chart = bars("Publish", "ms", dict.fromkeys(names, 1.0), more_is_better=False)

    [end] = {int(found) for found in re.findall(r'<text x="(\d+)" y="\d+" text-anchor="end">', chart)}
    assert end >= 6.5 * max(map(len, names))
