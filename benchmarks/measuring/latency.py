"""Latency: from the call of publish to the start of each group's handler, at 50 events a second, workers idle otherwise."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import traces_reading
from benchmarks.arena import Contender
from benchmarks.catalogue import VARIANTS
from benchmarks.measuring.samples import Samples
from benchmarks.orders import GROUPS
from benchmarks.processes import Running
from benchmarks.sizes import Sizes

Say = Callable[[str], None]

PER_SECOND = 50
_WARM_UP_EVENTS = 10
_LIMIT_SECONDS = 60.0
_POLL_SECONDS = 0.1


def measure_latency(arena: Mapping[str, Contender], sizes: Sizes, samples: Samples, say: Say) -> None:
    """Samples of `latency`: seconds of each delivery."""
    keys = [key for key, item in arena.items() if item.system.workers and key not in VARIANTS | sizes.latencies_omitted]
    for number in range(sizes.rounds):
        for key in keys:
            say(f"latency, round {number + 1}: {key}")
            samples.add("latency", key, _one(arena[key], int(PER_SECOND * sizes.latency_seconds)))


def _one(contender: Contender, events: int) -> list[float]:
    contender.clean()
    with contender.tracing() as folder, contender.working(traces=folder) as started:
        contender.publisher.ask("pace", count=_WARM_UP_EVENTS, per_second=PER_SECOND)
        _wait(folder, started, _WARM_UP_EVENTS * len(GROUPS))
        for file in folder.glob("*.txt"):
            # Its writer appends: to an empty file as well.
            file.write_text("")
        contender.settle()
        contender.publisher.ask("pace", count=events, per_second=PER_SECOND)
        found = _wait(folder, started, events * len(GROUPS))
    contender.clean()
    return found


def _wait(folder: Path, started: list[Running], expected: int) -> list[float]:
    ends = time.monotonic() + _LIMIT_SECONDS
    while len(found := traces_reading.read(folder)) < expected:
        if time.monotonic() > ends:
            raise started[0].fail(f"{len(found)} of {expected} handlers have started")
        time.sleep(_POLL_SECONDS)
    return found
