"""Replaying: a planned replay is carried out in batches, each of which happens completely or not at all.

    plan ─▶ create ─▶ run ─▶ batch ─▶ (commit, cursor included) ─▶ wake up ─▶ wait for the rate ─┐
                              ▲ resume goes on behind the cursor                                 │
                              ├──────────────────────────────────────────────────────────────────┘
                              └─▶ wait for transactions that are older than the subscription ─▶ what they published ─▶ done

A process may end anywhere: what it committed is behind the cursor and is not done again. Locks are described in
`eventbus.storage.redelivery`.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from eventbus.broker import WakeUp
from eventbus.errors import DatabaseError, InvalidInput, UnknownReplay
from eventbus.ids import check_id
from eventbus.lifecycle.auditing import Change, audited, whoami
from eventbus.lifecycle.paging import check_limit
from eventbus.lifecycle.replay_batches import LateBatches, Step, replay_batch
from eventbus.lifecycle.replay_planning import Asked, Plan, check_rate, concerned, plan, reach_on, targets_of
from eventbus.lifecycle.waking import Waking
from eventbus.lifecycle.windows import resolve_window
from eventbus.redaction import refuse_correlation_id
from eventbus.replay import DELIVERED, ReplayState, total
from eventbus.settings import Settings
from eventbus.storage import latecomers, replays
from eventbus.storage.database import Connection, Database
from eventbus.storage.latecomers import Latecomer
from eventbus.storage.replay_selection import Chosen
from eventbus.storage.replays import Job
from eventbus.subscription import check_group

log = logging.getLogger(__name__)

#: How often a runner that waits shows that it lives, and looks whether it was cancelled.
_TOUCH_SECONDS = 2.0
#: How often it looks whether an older transaction has ended.
_LOOK_SECONDS = 0.5

Watch = Callable[[Job], None]
#: Told whom a replay waits for.
Tell = Callable[[Latecomer], None]
Batch = Callable[[Connection, Job], Step | None]


@dataclass(frozen=True, kw_only=True)
class Replaying:
    """What replaying needs."""

    database: Database
    waking: Waking
    settings: Settings

    def plan(self, asked: Asked) -> Plan:
        """Fix which events are *asked* for, and count them; nothing is changed.

        Raises:
            InvalidInput: Something that was asked for cannot be used, or is hidden by EVENTBUS_REDACT.
        """
        refuse_correlation_id(asked.correlation_id, self.settings.redact)
        return plan(self.database, asked)

    def create(self, planned: Plan, *, rate: float | None = None) -> Job:
        """Write a job that replays what was *planned*, at most *rate* deliveries per second.

        Raises:
            InvalidInput: The rate cannot be used. Nothing was recorded.
        """
        with self.database.transaction() as connection:
            job = replays.create(
                connection,
                planned.selection,
                group=planned.group,
                include_dead=planned.include_dead,
                rate=check_rate(rate),
                total=planned.total,
                unmatched=planned.unread,
                requested_by=whoami(),
            )
        log.info("replay_planned", extra=_facts(job))
        return job

    def run(
        self, id: UUID, *, watch: Watch | None = None, stop: threading.Event | None = None, tell: Tell | None = None
    ) -> Job:
        """Carry a job out, from where it stands; another process that is at it stops.

        Args:
            watch: Called with the job after each batch.
            tell: Called with each transaction that the end of the job has to wait for; None: a warning is logged.
            stop: When set, the job is interrupted before its next batch.

        Returns:
            The job as it was left: done, interrupted by *stop*, cancelled, or running where it was resumed elsewhere.

        Raises:
            UnknownReplay: There is none of that id.
            InvalidInput: It is no id, or the replay has ended.
        """
        job = self._take(id)
        log.info("replay_started", extra=_facts(job))
        try:
            with audited(self.database, "replay run", _audited(job), asked=job.total) as change:
                left = self._batches(job, change, watch or _ignore, stop or threading.Event(), tell)
                # Where another process goes on with it, this run was interrupted.
                change.result = str(ReplayState.INTERRUPTED if left.state is ReplayState.RUNNING else left.state)
        except BaseException:  # KeyboardInterrupt too: whatever ends this run, the job can be resumed
            with suppress(DatabaseError), self.database.transaction() as connection:
                replays.interrupt(connection, job)
            log.warning("replay_interrupted", extra=_facts(job))
            raise
        log.info("replay_stopped", extra={**_facts(left), "state": str(left.state), **_counted(left)})
        return left

    def cancel(self, id: UUID) -> bool:
        """Give a job up, after the batch that is under way; False if it had ended before.

        Raises:
            UnknownReplay: There is none of that id.
        """
        job = self.find(id)
        with audited(self.database, "replay cancel", {"replay": str(job.id), "group": job.group}) as change:
            with self.database.transaction() as connection:
                cancelled = replays.cancel(connection, job.id)
            change.changed = int(cancelled)
        return cancelled

    def find(self, id: UUID) -> Job:
        """The job of that id.

        Raises:
            InvalidInput: It is no id.
            UnknownReplay: There is none.
        """
        id = check_id("id", id, of="a replay")
        with self.database.autocommit() as connection:
            job = replays.find(connection, id)
        if job is None:
            raise UnknownReplay(id)
        return job

    def list_newest(
        self,
        *,
        group: str | None = None,
        state: str | None = None,
        since: object = None,
        until: object = None,
        before: UUID | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """Up to *limit* (1 to 1000) jobs with ids below *before*, newest first; all that is given must hold.

        Raises:
            InvalidInput: Something that was given cannot be used.
        """
        check_limit(limit)
        if group is not None:
            check_group(group)
        if state is not None and state not in list(ReplayState):
            raise InvalidInput(f"state={state!r:.60} must be one of {', '.join(ReplayState)}.")
        last = None if before is None else check_id("cursor", before, of="a replay")
        with self.database.autocommit() as connection:
            window = resolve_window(connection, since, until)
            sought = replays.Sought(group=group, state=state, since=window.since, until=window.until)
            return replays.list_newest(connection, sought, before=last, limit=limit)

    def _take(self, id: UUID) -> Job:
        id = check_id("id", id, of="a replay")
        with self.database.transaction() as connection:
            job = replays.take(connection, id)
        if job is None:
            ended = self.find(id)
            raise InvalidInput(f"replay {id} is {ended.state}: there is nothing left to resume.")
        return job

    def _batches(self, job: Job, change: Change, watch: Watch, stop: threading.Event, tell: Tell | None) -> Job:
        before, change.changed = total(job.counts, DELIVERED), 0
        batch: Batch = replay_batch
        while not stop.is_set():
            began = time.monotonic()
            with self.database.transaction() as connection:
                step = batch(connection, job)
            if step is None:
                return self.find(job.id)
            job = step.job
            # First, for it must be right if the rest is cut short.
            change.changed = total(job.counts, DELIVERED) - before
            self._wake(job, step.made_due)
            watch(job)
            if job.state is ReplayState.DONE:
                return job
            if step.is_last:
                self._outwait(job, stop, tell)
                batch = self._late_batches(job)
            due_at = began + (len(step.made_due) / job.rate if job.rate else 0)
            self._wait_until(due_at, job, stop)
        with self.database.transaction() as connection:
            return replays.interrupt(connection, job) or replays.lock(connection, job.id)

    def _outwait(self, job: Job, stop: threading.Event, tell: Tell | None) -> None:
        """Wait until all transactions have ended that may not have seen the group's subscription.

        No longer than until *stop* is set, or *job* is not this runner's any more, which its next batch finds out.
        """
        open, told = self._list_open(job), ""
        while open:
            if open[0].key != told:
                told = open[0].key
                (tell or partial(_warn, job))(open[0])
            if not self._pause(_LOOK_SECONDS, job, stop):
                return
            # Others have begun meanwhile, of which not everybody may see that they have.
            open = latecomers.still_open(open, self._list_open(job))

    def _list_open(self, job: Job) -> list[Latecomer]:
        with self.database.autocommit() as connection:
            ids = concerned(targets_of(connection, job), job.selection.pattern)
            return latecomers.list_open(connection, ids, until=job.selection.until, planned=job.created_at)

    def _late_batches(self, job: Job) -> LateBatches:
        since = job.selection.unsettled_since
        assert since is not None
        with self.database.autocommit() as connection:
            first = max(job.selection.first_id, latecomers.first_id(connection, since))
            return LateBatches(reach_on(connection, job), after=first)

    def _wake(self, job: Job, made_due: Sequence[Chosen]) -> None:
        queue = self.settings.queue(job.group)
        self.waking.send([WakeUp(queue=queue, event_id=item.id, type=item.type) for item in made_due])

    def _wait_until(self, moment: float, job: Job, stop: threading.Event) -> None:
        """Wait, no longer than *job* is this runner's, which its next batch finds out."""
        while (seconds := moment - time.monotonic()) > 0:
            if not self._pause(min(seconds, _TOUCH_SECONDS), job, stop):
                return

    def _pause(self, seconds: float, job: Job, stop: threading.Event) -> bool:
        """Wait so long, then show that *job*'s runner lives; False if it is to stop, or is *job*'s runner no more."""
        if stop.wait(seconds):
            return False
        with self.database.transaction() as connection:
            return replays.touch(connection, job)


def _ignore(_job: Job) -> None:
    """Watch nothing."""


def _warn(job: Job, oldest: Latecomer) -> None:
    facts = {"holder": oldest.holder, "open_since": str(oldest.began)}
    log.warning("replay_waits", extra={**_facts(job), **facts})


def _audited(job: Job) -> dict[str, object]:
    return {"replay": str(job.id), "group": job.group, **job.selection.as_json()}


def _facts(job: Job) -> dict[str, object]:
    return {"replay": str(job.id), "group": job.group, "pattern": job.selection.pattern, "total": job.total}


def _counted(job: Job) -> dict[str, int]:
    return {outcome.value: count for outcome, count in job.counts.items() if count}
