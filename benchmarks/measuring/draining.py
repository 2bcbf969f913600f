"""Draining: deliveries per second of a backlog that is there when the workers start, and the CPU time of each.

The rate is that of steady work, from the tenth to the ninetieth percentile of the deliveries' own times: starting and the last
few count for nothing. A first, small drain tells how large a backlog has to be for the seconds that are asked for.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from benchmarks.arena import Contender
from benchmarks.catalogue import VARIANTS
from benchmarks.measuring.samples import Samples
from benchmarks.orders import GROUPS
from benchmarks.processes import Running, cpu_seconds
from benchmarks.sizes import Sizes

Say = Callable[[str], None]

_POLL_SECONDS = 0.2
_LIMIT_SECONDS = 120.0
#: More would take longer to publish than it says about draining.
_MOST_EVENTS = 80_000
#: A drain that is shorter tells no rate.
_TELLING_SECONDS = 0.5
#: A drain that is shorter than this part of what it should be is followed by larger ones.
_LONG_ENOUGH = 5 / 6
#: The part of a backlog that is steady work.
_STEADY = (0.1, 0.9)


@dataclass(frozen=True, kw_only=True)
class Drained:
    """One drain."""

    deliveries: int
    per_second: float
    steady_seconds: float
    cpu_seconds_each: float


def measure_draining(arena: Mapping[str, Contender], sizes: Sizes, samples: Samples, say: Say) -> None:
    """Samples of `drain`, `drain_cpu` and `drain_steady` for every system with workers."""
    keys = [key for key, item in arena.items() if item.system.workers and key not in VARIANTS | sizes.drains_omitted]
    events = dict.fromkeys(keys, sizes.calibration_events)
    if sizes.drain_seconds:
        say("drain, to know the sizes")
        events = {key: _enough(arena[key], sizes) for key in keys}
    for number in range(sizes.rounds):
        for key in keys:
            say(f"drain, round {number + 1}: {key}, {events[key] * len(GROUPS):,} deliveries")
            drained = drain(arena[key], events[key])
            samples.add("drain", key, [drained.per_second])
            samples.add("drain_cpu", key, [drained.cpu_seconds_each])
            samples.add("drain_steady", key, [drained.steady_seconds])
            if drained.steady_seconds < _LONG_ENOUGH * sizes.drain_seconds:
                events[key] = min(
                    _MOST_EVENTS, int(events[key] * sizes.drain_seconds / max(0.1, drained.steady_seconds))
                )


def drain(contender: Contender, events: int) -> Drained:
    """Publish *events*, start the workers, and wait until every delivery is done."""
    contender.clean()
    contender.publisher.ask("fill", count=events)
    contender.settle()
    expected = events * len(GROUPS)
    with contender.working() as started:
        cpu = _watch(contender, started, expected)
    stamps = sorted(row[0] for row in contender.query(contender.system.finished))
    rate, seconds = steady_rate(stamps)
    contender.clean()
    return Drained(deliveries=expected, per_second=rate, steady_seconds=seconds, cpu_seconds_each=cpu)


def steady_rate(stamps: list[datetime]) -> tuple[float, float]:
    """Deliveries per second in the steady part of *stamps*, which are sorted, and how many seconds that lasted."""
    first, last = (int(part * (len(stamps) - 1)) for part in _STEADY)
    seconds = (stamps[last] - stamps[first]).total_seconds()
    return (last - first) / max(seconds, 1e-6), seconds


def _watch(contender: Contender, started: list[Running], expected: int) -> float:
    """Wait until *expected* deliveries are done; CPU seconds of the workers for each, from the first that was seen done."""
    ends = time.monotonic() + _LIMIT_SECONDS
    first: tuple[int, float] | None = None
    while True:
        done, cpu = contender.count_done(), cpu_seconds(started)
        if done and first is None:
            first = (done, cpu)
        if done >= expected:
            break
        dead = next((running for running in started if running.process.poll() is not None), None)
        if dead is not None or time.monotonic() > ends:
            raise (dead or started[0]).fail(f"{done} of {expected} deliveries were done when it ended or time was up")
        time.sleep(_POLL_SECONDS)
    seen, before = first or (0, 0.0)
    # A backlog so small that it was done at the first look, or within a tick of the clock after it, says nothing about its parts.
    return (cpu - before) / (done - seen) if done > seen and cpu > before else cpu / done


def _enough(contender: Contender, sizes: Sizes) -> int:
    drained = drain(contender, sizes.calibration_events)
    if drained.steady_seconds < _TELLING_SECONDS:
        # Over before it was under way: the rate of a few moments says little.
        drained = drain(contender, 10 * sizes.calibration_events)
    rate = drained.per_second
    steady = _STEADY[1] - _STEADY[0]
    return max(sizes.calibration_events, min(_MOST_EVENTS, int(rate * sizes.drain_seconds / steady / len(GROUPS))))
