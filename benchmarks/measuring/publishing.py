"""Publishing: the time of one publish, and of many at once.

The systems take turns, block by block, so that a busy moment of the machine hits each. Queues are emptied between blocks: no
worker is there to do so.
"""

from collections.abc import Callable, Mapping

from benchmarks.arena import Contender
from benchmarks.catalogue import VARIANTS
from benchmarks.measuring.samples import Samples
from benchmarks.sizes import Sizes

Say = Callable[[str], None]


def measure_publish(arena: Mapping[str, Contender], sizes: Sizes, samples: Samples, say: Say) -> None:
    """Samples of `publish`: seconds of each call."""
    keys = [key for key in arena if key != "eventbus_session"]
    for key in keys:
        arena[key].publisher.ask("publish", count=sizes.publishes)
    for number in range(sizes.rounds):
        say(f"publish, round {number + 1}")
        found: dict[str, list[float]] = {key: [] for key in keys}
        for block in range(sizes.blocks):
            # Each comes after each other in turn: what one leaves behind in caches and servers is not always the same one's cost.
            first = block % len(keys)
            for key in keys[first:] + keys[:first]:
                arena[key].purge()
                found[key] += arena[key].publisher.ask("publish", count=sizes.publishes)
        for key, seconds in found.items():
            samples.add("publish", key, seconds)


def measure_publish_many(arena: Mapping[str, Contender], sizes: Sizes, samples: Samples, say: Say) -> None:
    """Samples of `publish_many`: events per second of each call."""
    keys = [key for key in arena if key not in VARIANTS | sizes.bulk_omitted | {"node"}]
    for number in range(sizes.rounds):
        say(f"publish_many, round {number + 1}")
        found: dict[str, list[float]] = {key: [] for key in keys}
        for key in keys:
            # A warm-up, too: pages that a truncated table has to get anew.
            arena[key].clean()
            arena[key].publisher.ask("publish_many", count=_at_once(key, sizes))
        for call in range(sizes.bulk_calls):
            first = call % len(keys)
            for key in keys[first:] + keys[:first]:
                arena[key].purge()
                count = _at_once(key, sizes)
                [seconds] = arena[key].publisher.ask("publish_many", count=count)
                found[key].append(count / seconds)
        for key, rates in found.items():
            samples.add("publish_many", key, rates)
            arena[key].clean()


def _at_once(key: str, sizes: Sizes) -> int:
    """Events of one call: where each costs the same, however many there are, a part of them shows the rate."""
    has_bulk = key in {"eventbus", "floor", "celery_tuned", "procrastinate"}
    return sizes.many if has_bulk else max(20, sizes.many // 4)
