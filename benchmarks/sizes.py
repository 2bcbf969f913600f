"""How much is measured: the full run, the quick one, and one that only shows that everything works."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much."""

    name: str
    rounds: int
    #: Publishes in each block, and blocks in each round: the systems take turns block by block.
    publishes: int
    blocks: int
    #: Events of one publish_many.
    many: int
    #: So often in each round: a full garbage collection falls into one of three calls.
    bulk_calls: int
    #: Steady work of one drain, in seconds, by the rate that a first, small drain shows.
    drain_seconds: float
    calibration_events: int
    #: Seconds at 50 events a second, in each round.
    latency_seconds: float
    #: The bare loop of inserts, in each round.
    loop_seconds: float
    #: Of the one drain whose memory is watched.
    memory_deliveries: int
    #: Of each of several publishers at once, in each round.
    scaling_publishes: int
    #: Systems that are left out, because they bound nothing.
    drains_omitted: frozenset[str] = frozenset()
    latencies_omitted: frozenset[str] = frozenset()
    bulk_omitted: frozenset[str] = frozenset()
    #: What the run leaves out, in words, for the reader of its results.
    omissions: str = ""


#: 350 events a round for three groups make 3,150 samples of latency.
FULL = Sizes(
    name="full", rounds=3, publishes=25, blocks=22, many=1000, bulk_calls=7, drain_seconds=6.5, calibration_events=300,
    latency_seconds=7, loop_seconds=3, memory_deliveries=100_000, scaling_publishes=300,
    latencies_omitted=frozenset({"rq", "huey", "celery_tuned"}),
)  # fmt: skip
QUICK = Sizes(
    name="quick", rounds=3, publishes=25, blocks=11, many=1000, bulk_calls=5, drain_seconds=1.5, calibration_events=150,
    latency_seconds=3, loop_seconds=1.5, memory_deliveries=30_000, scaling_publishes=100,
    drains_omitted=frozenset({"rq", "huey"}),
    bulk_omitted=frozenset({"rq", "huey", "dramatiq", "taskiq", "faststream", "floor"}),
    latencies_omitted=frozenset({"rq", "huey", "celery_tuned", "dramatiq", "taskiq", "faststream", "procrastinate", "node"}),
    omissions="Drains last about 1.5 s instead of 6.5, there are half of the publishes and fewer samples of latency; rq and "
    "huey are not drained, memory is watched over 30,000 deliveries instead of 100,000, "
    "publish_many is measured of what has one, and latency of Celery alone beside eventbus.",
)  # fmt: skip
TINY = Sizes(
    name="tiny", rounds=1, publishes=5, blocks=1, many=20, bulk_calls=1, drain_seconds=0, calibration_events=10,
    latency_seconds=0.2, loop_seconds=0.2, memory_deliveries=30, scaling_publishes=5,
    omissions="Nothing here is a measurement: the run only shows that everything works.",
)  # fmt: skip
SIZES = {sizes.name: sizes for sizes in (FULL, QUICK, TINY)}
