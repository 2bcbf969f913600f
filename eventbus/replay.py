"""Replays: which events of the log a replay delivers again, and what becomes of each delivery.

    no delivery ───────────────▶ inserted       running ──▶ rerun: once more when this run ends
    done, skipped, cancelled ──▶ reset          dead ─────▶ revived if asked for, else left dead
    pending, retrying, parked ─▶ left open      any, where the subscription opts out ─▶ skipped, or left dead

`judge` is the only place that knows these rules: a dry run and a batch cannot disagree.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from eventbus.delivery import State


class Outcome(StrEnum):
    """What a replay does to the delivery of one event."""

    RESET = "reset"  #: it had ended, and is as if new
    REVIVED = "revived"  #: it was dead or discarded, and is as if new; an open dead letter is resolved
    INSERTED = "inserted"  #: there was none: the group subscribed later
    RERUN = "rerun"  #: it is running, and runs once more afterwards
    LEFT_OPEN = "left_open"  #: it waits for its run already, which is now part of the replay
    LEFT_DEAD = "left_dead"  #: it is dead or discarded, and such were not asked for
    SKIPPED = "skipped"  #: its subscription opts out of replays
    UNMATCHED = "unmatched"  #: no subscription of the group matches its type


#: What the group handles under the replay's id.
DELIVERED = (Outcome.RESET, Outcome.REVIVED, Outcome.INSERTED, Outcome.RERUN, Outcome.LEFT_OPEN)
#: What becomes due at once, so that workers are to be woken.
MADE_DUE = (Outcome.RESET, Outcome.REVIVED, Outcome.INSERTED)
#: What is said of the deliveries beside their number.
MEANINGS = {
    Outcome.RESET: "ended before, delivered again",
    Outcome.REVIVED: "dead or discarded, delivered again",
    Outcome.INSERTED: "never delivered to this group, delivered now",
    Outcome.RERUN: "running now, run once more afterwards",
    Outcome.LEFT_OPEN: "still to be handled, as part of the replay",
    Outcome.LEFT_DEAD: "dead or discarded, unchanged",
    Outcome.SKIPPED: "their subscription opts out of replays",
    Outcome.UNMATCHED: "no subscription of the group matches",
}

Counts = Mapping[Outcome, int]


class ReplayState(StrEnum):
    """Where a replay stands."""

    PLANNED = "planned"  #: counted, not started
    RUNNING = "running"  #: some process works on it, or was killed while it did
    INTERRUPTED = "interrupted"  #: stopped between two batches, and to be resumed
    DONE = "done"  #: every event was dealt with
    CANCELLED = "cancelled"  #: given up; what was replayed stays replayed


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The events that a replay is about, fixed when it is planned: all that is given must hold."""

    #: As given; ``#`` where only a time was.
    pattern: str
    #: Not recorded before this.
    since: datetime | None = None
    #: Recorded before this.
    until: datetime | None = None
    #: Sorted.
    event_ids: tuple[UUID, ...] | None = None
    correlation_id: str | None = None
    #: The types in the log that the pattern and the group's subscriptions match; None where ids or a correlation id select.
    types: tuple[str, ...] | None = None
    #: All events have larger ids.
    first_id: UUID
    #: No event has a larger id: what is published later is not part of the replay.
    last_id: UUID
    #: When it was planned, a transaction was open since this time that may not have seen the group's subscription. What such a
    #: one published belongs to the replay, too, though it commits later. None if there was none.
    unsettled_since: datetime | None = None
    #: The patterns that the group was subscribed to then: what commits later belongs to the replay if one of them takes it, by
    #: whichever subscription it is that takes it by then. None in a job that was planned by code which did not note them.
    patterns: tuple[str, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """What was asked for, as JSON values."""
        return {
            "pattern": self.pattern,
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
            "event_ids": None if self.event_ids is None else [str(id) for id in self.event_ids],
            "correlation_id": self.correlation_id,
            "types": None if self.types is None else list(self.types),
            "first_id": str(self.first_id),
            "last_id": str(self.last_id),
            "unsettled_since": None if self.unsettled_since is None else self.unsettled_since.isoformat(),
            "patterns": None if self.patterns is None else list(self.patterns),
        }


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What a replay did, or would do."""

    #: The job, and what handlers see as ``delivery.replay``; None after a dry run.
    id: UUID | None
    #: Deliveries that the group handles because of it, those among them that were still open.
    count: int
    #: The same and the rest, by what becomes of them.
    outcomes: Counts = field(default_factory=dict)


def judge(state: State | None, *, discarded: bool, opts_out: bool, include_dead: bool) -> Outcome:
    """What a replay does to a delivery.

    Args:
        state: None where the group has no delivery of the event.
        discarded: It is cancelled because an operator discarded its dead letter.
        opts_out: Its subscription says ``replay="skip"``.
        include_dead: The replay asks for dead and discarded deliveries too.
    """
    if state is State.DEAD or discarded:
        return Outcome.REVIVED if include_dead and not opts_out else Outcome.LEFT_DEAD
    if opts_out:
        return Outcome.SKIPPED
    match state:
        case None:
            return Outcome.INSERTED
        case State.RUNNING:
            return Outcome.RERUN
        case State.PENDING | State.RETRYING | State.PARKED:
            return Outcome.LEFT_OPEN
        case _:
            return Outcome.RESET


def total(counts: Counts, outcomes: Iterable[Outcome]) -> int:
    """How many deliveries have one of *outcomes*."""
    return sum(counts.get(outcome, 0) for outcome in outcomes)
