"""Samples: what was measured, by key and round, and the medians of it."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence

#: {measure: {system: [samples of round 1, samples of round 2, …]}}
Table = dict[str, dict[str, list[list[float]]]]


class Samples:
    """Raw samples of a run."""

    def __init__(self) -> None:
        self.raw: Table = defaultdict(lambda: defaultdict(list))

    def add(self, measure: str, system: str, values: Sequence[float]) -> None:
        """Add the samples of one more round."""
        self.raw[measure][system].append([float(f"{value:.6g}") for value in values])

    def median(self, measure: str, system: str) -> float | None:
        """The median of the rounds' medians; None if nothing was measured."""
        rounds = [values for values in self.raw.get(measure, {}).get(system, []) if values]
        return statistics.median(statistics.median(values) for values in rounds) if rounds else None

    def quantile(self, measure: str, system: str, part: float) -> float | None:
        """The smallest sample that *part* of all do not exceed, rounds taken together; None if nothing was measured."""
        values = sorted(value for found in self.raw.get(measure, {}).get(system, []) for value in found)
        return values[max(0, math.ceil(part * len(values)) - 1)] if values else None
