"""Durations: runs in buckets, and the percentiles that can be told from them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.durations import BOUNDS, BUCKETS, Histogram, add, bucket_of, summarize


def histogram_of(lengths: list[float]) -> Histogram:
    """Runs of these lengths."""
    numbers = [bucket_of(length) for length in lengths]
    return Histogram(counts=tuple(numbers.count(number) for number in range(BUCKETS)), seconds=sum(lengths))


@pytest.mark.parametrize(("seconds", "bucket"), [(0, 0), (0.001, 0), (0.0011, 1), (300, 14), (301, 15)])
def test_a_bound_belongs_to_its_bucket(seconds: float, bucket: int) -> None:
    """As Prometheus reads "le"."""
    assert bucket_of(seconds) == bucket


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=200))
def test_percentiles_lie_in_the_bucket_of_the_true_ones(lengths: list[float]) -> None:
    """And the mean is exact."""
    found = summarize(histogram_of(lengths))

    assert found.runs == len(lengths)
    assert abs(found.mean.total_seconds() - sum(lengths) / len(lengths)) < 1e-5
    for share, told in ((0.5, found.p50), (0.95, found.p95), (0.99, found.p99)):
        true = next(length for rank, length in enumerate(sorted(lengths), 1) if rank >= share * len(lengths))
        number = bucket_of(true)
        lower = BOUNDS[number - 1] if number else 0
        upper = BOUNDS[min(number, len(BOUNDS) - 1)]
        assert min(lower, BOUNDS[-1]) - 1e-6 <= told.total_seconds() <= upper + 1e-6


def test_runs_are_taken_to_be_spread_over_their_bucket() -> None:
    """Of a hundred between a quarter and half a second, half took up to three eighths."""
    counts = [0] * BUCKETS
    counts[bucket_of(0.3)] = 100

    found = summarize(Histogram(counts=tuple(counts), seconds=30))

    assert (found.mean, found.p50) == (timedelta(seconds=0.3), timedelta(seconds=0.375))


def test_histograms_add_up() -> None:
    """None of them is nothing."""
    one, other = histogram_of([0.001, 5]), histogram_of([400])

    assert add([one, other]) == Histogram(counts=histogram_of([0.001, 5, 400]).counts, seconds=405.001)
    assert add([]) == Histogram(counts=(0,) * BUCKETS, seconds=0)
