"""A run: servers, contenders, one measure after the other, and what came of it."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arena import Contender, arena
from benchmarks.bounds import BOUNDS, NO_SYSTEMS, Bound
from benchmarks.measuring.draining import measure_draining
from benchmarks.measuring.latency import measure_latency
from benchmarks.measuring.memory import measure_memory
from benchmarks.measuring.publishing import measure_publish, measure_publish_many
from benchmarks.measuring.samples import Samples
from benchmarks.measuring.scaling import measure_scaling
from benchmarks.measuring.sessions import measure_sessions
from benchmarks.sizes import Sizes
from eventbus.embedded import Servers

Say = Callable[[str], None]
Measure = Callable[[Mapping[str, Contender], Sizes, Samples, Say], None]


def _measure_sessions(found: Mapping[str, Contender], sizes: Sizes, samples: Samples, say: Say) -> None:
    if "eventbus_session" in found:
        measure_sessions(found["eventbus_session"], sizes, samples, say)


def _measure_memory(found: Mapping[str, Contender], sizes: Sizes, samples: Samples, say: Say) -> None:
    if "eventbus" in found:
        measure_memory(found["eventbus"], sizes, samples, say)


MEASURES: dict[str, Measure] = {
    "publish": measure_publish,
    "publish_many": measure_publish_many,
    "drain": measure_draining,
    "session": _measure_sessions,
    "memory": _measure_memory,
    "scaling": measure_scaling,
    "latency": measure_latency,
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does."""

    sizes: Sizes
    systems: Sequence[str]
    measures: Sequence[str]

    def bounds(self) -> list[Bound]:
        """Those that the run can answer, by what it measures and leaves out."""
        omitted = {
            "publish_many": self.sizes.bulk_omitted,
            "drain": self.sizes.drains_omitted,
            "drain_cpu": self.sizes.drains_omitted,
            "latency": self.sizes.latencies_omitted,
        }
        return [
            bound
            for bound in BOUNDS
            if bound.measure.removesuffix("_cpu") in self.measures
            and {bound.above, bound.below} - NO_SYSTEMS <= set(self.systems) - omitted.get(bound.measure, frozenset())
        ]


def run(plan: Plan, servers: Servers, say: Say, *, folder: Path | None = None) -> tuple[Samples, str, str]:
    """Do it; the samples, and the versions of PostgreSQL and Valkey.

    Args:
        folder: For logs; a temporary one by default, for the last lines of a log are in the error.
    """
    samples = Samples()
    with contextlib.ExitStack() as stack:
        logs = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eventbus-bench-")))
        found = stack.enter_context(arena(servers, plan.systems, logs))
        for name in plan.measures:
            began = time.monotonic()
            MEASURES[name](found, plan.sizes, samples, say)
            say(f"{name}: {time.monotonic() - began:.0f} s")
        first = next(iter(found.values()))
        return samples, *first.server_versions()
