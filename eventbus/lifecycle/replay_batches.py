"""Replay batches: what one transaction of a replay does.

    lock the job ─▶ the next events ─▶ insert, lock, judge, change their deliveries ─▶ move the cursor
    … and at last ─▶ the events that committed late ─▶ insert their deliveries, where they are missing

Locks are described in `eventbus.storage.redelivery`.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from eventbus.delivery import State
from eventbus.lifecycle.replay_planning import is_meant, targets_of
from eventbus.replay import MADE_DUE, Outcome, Selection, judge
from eventbus.storage import redelivery, replay_selection, replays, subscriptions
from eventbus.storage.database import Connection
from eventbus.storage.redelivery import Wanted
from eventbus.storage.replay_selection import Chosen
from eventbus.storage.replays import Job
from eventbus.storage.subscriptions import Target, find_target
from eventbus.subscription import matches

BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one batch did."""

    job: Job
    #: The events whose deliveries became due, in order.
    made_due: Sequence[Chosen]
    #: There is no other of its kind.
    is_last: bool


def replay_batch(connection: Connection, job: Job) -> Step | None:
    """Replay the next events of *job* and move its cursor; None, with nothing changed, if it is not *job*'s runner's any more.

    The last one ends the job, unless there may be events to come that committed late.
    """
    current = _hold(connection, job)
    if current is None:
        return None
    limit = _limit(job)
    chosen = replay_selection.next_events(
        connection, job.selection, after=current.cursor, limit=limit, expected=job.total
    )
    meant = [event for event in chosen if matches(job.selection.pattern, event.type)]
    outcomes = _redeliver(connection, job, meant)
    is_last = len(chosen) < limit
    cursor = job.selection.last_id if is_last else chosen[-1].id
    moved = replays.advance(connection, job, cursor=cursor, counts=Counter(outcomes.values()))
    if is_last and job.selection.unsettled_since is None:
        moved = replays.finish(connection, job)
    assert moved is not None  # the job is locked, and was this runner's
    made_due = [event for event in meant if outcomes[event.id] in MADE_DUE]
    return Step(job=moved, made_due=made_due, is_last=is_last)


class LateBatches:
    """The batches of a job that owe its group what was published by transactions that had not seen its subscription.

    They only insert: what has a delivery was published since, or replayed before. The last one ends the job.
    """

    def __init__(self, selection: Selection, *, after: UUID) -> None:
        """Look through the events of *selection* with ids beyond *after*."""
        self._selection = selection
        self._after = after

    def __call__(self, connection: Connection, job: Job) -> Step | None:
        """The next one; None, with nothing changed, if *job* is not its runner's any more."""
        current = _hold(connection, job)
        if current is None:
            return None
        limit = _limit(job)
        chosen = replay_selection.next_events(
            connection, self._selection, after=self._after, limit=limit, expected=job.total
        )
        meant = [event for event in chosen if is_meant(job, event.type)]
        wanted = _wanted(meant, targets_of(connection, job))
        inserted = redelivery.insert_missing(connection, list(wanted.values()), group=job.group, replay=job.id)
        outcomes = {
            id: judge(None, discarded=False, opts_out=wanted[id].opts_out, include_dead=False) for id in inserted
        }
        counts = Counter(outcomes.values())
        moved = replays.advance(connection, job, cursor=current.cursor, counts=counts, late=len(outcomes))
        is_last = len(chosen) < limit
        if is_last:
            moved = replays.finish(connection, job)
        else:
            self._after = chosen[-1].id
        assert moved is not None  # the job is locked, and was this runner's
        made_due = [event for event in meant if outcomes.get(event.id) in MADE_DUE]
        return Step(job=moved, made_due=made_due, is_last=is_last)


def _hold(connection: Connection, job: Job) -> Job | None:
    """*job* as it stands, which nobody changes until the transaction ends; None if it is not its runner's any more."""
    current = replays.lock(connection, job.id)
    if current.runner != job.runner:
        return None
    redelivery.prefer_indexes(connection)
    return current


def _limit(job: Job) -> int:
    return BATCH if job.rate is None else max(1, min(BATCH, math.floor(job.rate)))


def _redeliver(connection: Connection, job: Job, events: Sequence[Chosen]) -> dict[UUID, Outcome]:
    """Change the deliveries of *events*; what became of each."""
    targets = subscriptions.list_targets(connection, job.group)
    wanted = _wanted(events, targets)
    outcomes = {event.id: Outcome.UNMATCHED for event in events}
    inserted = redelivery.insert_missing(connection, list(wanted.values()), group=job.group, replay=job.id)
    present = [id for id in wanted if id not in inserted]
    states = redelivery.lock_states(connection, present, group=job.group)
    cancelled = [id for id, state in states.items() if state is State.CANCELLED]
    discarded = redelivery.find_discarded(connection, cancelled, group=job.group)
    for id, item in wanted.items():
        outcomes[id] = judge(
            states.get(id),
            discarded=id in discarded,
            opts_out=item.opts_out,
            include_dead=job.include_dead,
        )

    def those(*chosen: Outcome) -> list[Wanted]:
        return [wanted[id] for id in present if outcomes[id] in chosen]

    redelivery.reset(connection, those(Outcome.RESET, Outcome.REVIVED), group=job.group, replay=job.id)
    redelivery.skip(connection, those(Outcome.SKIPPED), group=job.group, replay=job.id)
    waiting = [item.event_id for item in those(Outcome.RERUN, Outcome.LEFT_OPEN)]
    redelivery.stamp_open(connection, waiting, group=job.group, replay=job.id)
    return outcomes


def _wanted(events: Sequence[Chosen], targets: Sequence[Target]) -> dict[UUID, Wanted]:
    by_type = {type: find_target(targets, type) for type in {event.type for event in events}}
    wanted: dict[UUID, Wanted] = {}
    for event in events:
        if target := by_type[event.type]:
            wanted[event.id] = Wanted(event_id=event.id, subscription_id=target.id, opts_out=target.opts_out)
    return wanted
