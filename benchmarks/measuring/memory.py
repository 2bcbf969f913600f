"""Memory: of a worker's processes after a fifth of a long backlog, and at its end. It must not grow with what was delivered."""

import time
from collections.abc import Callable

from benchmarks.arena import Contender
from benchmarks.measuring.samples import Samples
from benchmarks.orders import GROUPS
from benchmarks.processes import Running, family, resident_bytes
from benchmarks.sizes import Sizes

Say = Callable[[str], None]

_EARLY = 0.2
_LIMIT_SECONDS = 180.0
_POLL_SECONDS = 0.1


def measure_memory(contender: Contender, sizes: Sizes, samples: Samples, say: Say) -> None:
    """Samples of `memory`: bytes of the process that grew most, early and at the end."""
    say(f"memory: {sizes.memory_deliveries:,} deliveries")
    events = -(-sizes.memory_deliveries // len(GROUPS))
    contender.clean()
    contender.publisher.ask("fill", count=events)
    contender.settle()
    with contender.working() as started:
        early = _when_done(contender, started, int(events * len(GROUPS) * _EARLY))
        late = _when_done(contender, started, events * len(GROUPS))
    contender.clean()
    grown = max(early.keys() & late.keys(), key=lambda process: late[process] / early[process])
    samples.add("memory", "early", [early[grown]])
    samples.add("memory", "eventbus", [late[grown]])


def _when_done(contender: Contender, started: list[Running], deliveries: int) -> dict[int, int]:
    """The resident bytes of each process as soon as so many deliveries are done."""
    ends = time.monotonic() + _LIMIT_SECONDS
    while contender.count_done() < deliveries:
        if time.monotonic() > ends or started[0].process.poll() is not None:
            raise started[0].fail(f"fewer than {deliveries} deliveries were done when time was up")
        time.sleep(_POLL_SECONDS)
    return {process: size for process in family(started) if (size := resident_bytes(process))}
