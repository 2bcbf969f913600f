"""Scaling: events per second of several publisher processes at once, beside as many that send the bare statement.

Both end at the rate at which PostgreSQL commits, or where the processors do.
"""

import time
from collections.abc import Callable, Mapping

from benchmarks.arena import Contender
from benchmarks.measuring.samples import Samples
from benchmarks.sizes import Sizes

Say = Callable[[str], None]

#: Processes that publish at once.
COUNTS = (1, 2, 4)


def measure_scaling(arena: Mapping[str, Contender], sizes: Sizes, samples: Samples, say: Say) -> None:
    """Samples of `scaling`: events per second, by system and number of publishers."""
    keys = [key for key in ("eventbus", "statement") if key in arena]
    for count in COUNTS:
        for key in keys:
            say(f"scaling: {key}, {count} publishers")
            publishers = [arena[key].another_publisher(number) for number in range(count)]
            try:
                for publisher in publishers:
                    publisher.ask("publish", count=10)
                for _ in range(sizes.rounds):
                    arena[key].purge()
                    began = time.monotonic()
                    for publisher in publishers:
                        publisher.begin("publish", count=sizes.scaling_publishes)
                    for publisher in publishers:
                        publisher.finish()
                    rate = count * sizes.scaling_publishes / (time.monotonic() - began)
                    samples.add("scaling", f"{key}_{count}", [rate])
            finally:
                for publisher in publishers:
                    publisher.stop()
            arena[key].clean()
