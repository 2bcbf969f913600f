"""Bounds: what eventbus promises beside each other system, as ratios with stable keys.

    samples ─▶ ratio of two medians ─▶ holds | missed | not measured

A ratio that was not measured is no ratio that holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measuring.samples import Samples
from benchmarks.measuring.scaling import COUNTS

#: "faster than each" is more than 1.
FASTER = 1.0


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A ratio, and how large or small it must be."""

    #: Stable: results of different versions are compared by it.
    key: str
    measure: str
    #: Ratio = above / below.
    above: str
    below: str
    #: What the ratio says, for a reader.
    says: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def wanted(self) -> str:
        """The bound as one reads it; empty if the ratio is only reported."""
        if self.at_least is not None:
            return "more than 1" if self.at_least == FASTER else f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A bound, and what came of it."""

    bound: Bound
    ratio: float | None
    holds: bool


def _faster(measure: str, rivals: Sequence[str], *, reported: Sequence[str] = (), is_time: bool) -> list[Bound]:
    return [
        Bound(
            key=f"{measure}.{rival}",
            measure=measure,
            above=rival if is_time else "eventbus",
            below="eventbus" if is_time else rival,
            says=f"{measure}: times as fast as {rival}",
            at_least=None if rival in reported else FASTER,
        )
        for rival in (*rivals, *reported)
    ]


#: What samples are compared with that is no system of the catalogue.
NO_SYSTEMS = frozenset(
    {
        "loop",
        "one_loop",
        "session_loop",
        "early",
        *(f"{key}_{count}" for key in ("eventbus", "statement") for count in COUNTS),
    }
)
BOUNDS = (
    Bound(
        key="publish.celery", measure="publish", above="celery", below="eventbus", at_least=4,
        says="publish: times as fast as an insert and three send_task with Celery",
    ),
    *_faster(
        "publish", ["dramatiq", "taskiq", "procrastinate", "rq", "huey", "faststream"],
        reported=["celery_tuned", "node"], is_time=True,
    ),
    Bound(
        key="publish.statement", measure="publish", above="eventbus", below="statement", at_most=1.7,
        says="publish: times as long as its own statement alone, prepared, by the bare driver",
    ),
    Bound(
        key="publish.floor", measure="publish", above="eventbus", below="floor",
        says="publish: times as long as the insert of the hand-made tables alone, prepared",
    ),
    Bound(
        key="publish.crowded", measure="publish", above="eventbus_crowded", below="eventbus", at_most=1.1,
        says="publish: times as long with 1,000 subscriptions that do not match",
    ),
    Bound(
        key="publish_many.celery", measure="publish_many", above="eventbus", below="celery", at_least=30,
        says="publish_many(1,000): times the events per second of Celery",
    ),
    *_faster("publish_many", [], reported=["celery_tuned", "procrastinate"], is_time=False),
    Bound(
        key="drain.celery", measure="drain", above="eventbus", below="celery", at_least=15,
        says="drain: times the deliveries per second of Celery",
    ),
    *_faster(
        "drain", ["dramatiq", "taskiq", "faststream", "procrastinate", "node"],
        reported=["celery_tuned", "rq", "huey"], is_time=False,
    ),
    Bound(
        key="drain_cpu.celery", measure="drain_cpu", above="eventbus", below="celery", at_most=0.1,
        says="drain: a worker's CPU time per delivery, as part of Celery's",
    ),
    Bound(
        key="session.loop", measure="session", above="eventbus_session", below="loop", at_least=0.6,
        says="drain with a session handler: rows per second, as part of bare loops of insert and commit in as many processes",
    ),
    Bound(
        key="session.one_loop", measure="session", above="eventbus_session", below="one_loop",
        says="drain with a session handler: rows per second, as part of a single bare loop, whatever processes the worker has",
    ),
    Bound(
        key="session.session_loop", measure="session", above="eventbus_session", below="session_loop",
        says="drain with a session handler: rows per second, as part of a loop with the handler's own statement and session",
    ),
    Bound(
        key="memory.early", measure="memory", above="eventbus", below="early", at_most=1.1,
        says="memory of the worker's process that grew most, at the end of the backlog, as part of what it had after a fifth of it",
    ),
    *(
        Bound(
            key=f"scaling.{key}_{count}", measure="scaling", above=f"{key}_{count}", below=f"{key}_1",
            says=f"{key}: events per second of {count} publishers, times those of one",
        )
        for key in ("eventbus", "statement") for count in COUNTS[1:]
    ),
    Bound(
        key="latency.celery", measure="latency", above="eventbus", below="celery", at_most=0.8,
        says="publish to handler, p50 at 50 events/s, as part of Celery's",
    ),
)  # fmt: skip


def judge(samples: Samples, bounds: Sequence[Bound] = BOUNDS) -> list[Verdict]:
    """What came of each of *bounds*."""
    return [_verdict(bound, samples) for bound in bounds]


def _verdict(bound: Bound, samples: Samples) -> Verdict:
    above, below = samples.median(bound.measure, bound.above), samples.median(bound.measure, bound.below)
    if above is None or not below:
        return Verdict(bound=bound, ratio=None, holds=not bound.wanted)
    ratio = above / below
    if bound.at_least is not None:
        # Equally fast is not faster.
        holds = ratio > bound.at_least if bound.at_least == FASTER else ratio >= bound.at_least
    else:
        holds = bound.at_most is None or ratio <= bound.at_most
    return Verdict(bound=bound, ratio=ratio, holds=holds)
