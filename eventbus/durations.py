"""Durations: how long runs of handlers took, as counts of buckets that can be added up, and what can be told from them."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

#: Upper bounds of the buckets in seconds, each included; what took longer than the last is in one more bucket.
BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
BUCKETS = len(BOUNDS) + 1


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Runs by how long they took."""

    #: How many were in each bucket, in order; not cumulative.
    counts: tuple[int, ...]
    #: How long all of them took together.
    seconds: float

    @property
    def runs(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True, kw_only=True)
class Durations:
    """How long the runs of a group took; percentiles are estimated within their bucket, and are at most 5 minutes."""

    runs: int
    mean: timedelta
    p50: timedelta
    p95: timedelta
    p99: timedelta


def bucket_of(seconds: float) -> int:
    """The number of the bucket for a run of that length, from 0."""
    return bisect_left(BOUNDS, seconds)


def add(histograms: Iterable[Histogram]) -> Histogram:
    """All of them in one; empty if there are none."""
    found = list(histograms)
    counts = zip(*(item.counts for item in found), strict=True)
    return Histogram(
        counts=tuple(map(sum, counts)) if found else (0,) * BUCKETS, seconds=sum(item.seconds for item in found)
    )


def summarize(histogram: Histogram) -> Durations:
    """The mean and percentiles of *histogram*, which must not be empty."""
    p50, p95, p99 = (timedelta(seconds=_quantile(histogram, share)) for share in (0.5, 0.95, 0.99))
    mean = timedelta(seconds=histogram.seconds / histogram.runs)
    return Durations(runs=histogram.runs, mean=mean, p50=p50, p95=p95, p99=p99)


def _quantile(histogram: Histogram, share: float) -> float:
    """As Prometheus estimates it: runs are taken to be spread evenly over their bucket."""
    rank, below = share * histogram.runs, 0
    for number, count in enumerate(histogram.counts[:-1]):
        if count and below + count >= rank:
            lower = BOUNDS[number - 1] if number else 0.0
            return lower + (BOUNDS[number] - lower) * (rank - below) / count
        below += count
    return BOUNDS[-1]
