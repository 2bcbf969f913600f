"""Slices: what one wake-up sets going, about half a second of a group's deliveries.

    wake-up ─▶ alone: the delivery it names, then one that was tried before
               └─ one failed: the slice ends, and its task with it
            ─▶ batches of what was never tried, while time is left
            ─▶ one more wake-up, if something was done and more is due

It looks around the event that its wake-up names, for to look everywhere takes longer the older the log is (docs/decisions/0017).
Wake-ups of relays and replays let it look everywhere where it finds nothing there.

A delivery that was tried may fail again, or kill its process again: it is never beside others. What never was tried comes in
batches as large as fit into the time that is left, by the measured time of its handlers.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from eventbus.errors import DatabaseError
from eventbus.failure import ends_process, from_exception
from eventbus.ids import EVERYWHERE, IdRange
from eventbus.lifecycle.attending import Attendant
from eventbus.lifecycle.execution import Execution
from eventbus.lifecycle.handler_sessions import Sessions
from eventbus.lifecycle.holding import Holding
from eventbus.lifecycle.pace import Pace
from eventbus.lifecycle.parking import Parked
from eventbus.lifecycle.settlement import Dead, Done, Outcome, Retrying
from eventbus.lifecycle.slots import CAPACITY
from eventbus.storage import deliveries
from eventbus.storage.claiming import Claimed

SLICE_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A delivery that ran alone and whose handler failed: to be settled by the task that ran it."""

    claimed: Claimed
    error: BaseException


#: Told of each delivery that failed inside a batch, with what became of it.
OnFailure = Callable[[Claimed, BaseException, Outcome], None]


class Slice:
    """One task's turn at the deliveries of its group."""

    def __init__(
        self, execution: Execution, group: str, *, task_id: str | None, attendant: Attendant, pace: Pace
    ) -> None:
        self._execution = execution
        self._slots = execution.slots
        self._group = group
        self._task_id = task_id
        self._attendant = attendant
        self._pace = pace
        self._slot = self._slots.take()
        self._ends_seconds = time.monotonic() + SLICE_SECONDS
        self._has_claimed = self._is_closed = False
        #: The events whose deliveries it looks for, and whether for others after those.
        self._near, self._is_wide = EVERYWHERE, False
        #: Whether more may be due, as far as the last claim of each kind has shown.
        self._has_tried = self._has_fresh = True
        self.done = self.retried = self.dead = 0
        #: Deliveries that were replayed while they ran: their own wake-ups came too early.
        self.again: list[Claimed] = []

    def run_alone(self, hint: UUID | None, *, everywhere: bool = True) -> Failed | None:
        """Run the delivery of the event *hint*, if it is due, then one that was tried before; the first that failed.

        Args:
            everywhere: Also what is due of other weeks than the hint's, if nothing is of those.

        Raises:
            DatabaseError: Nothing more was claimed.
        """
        if hint is not None:
            self._near = IdRange.around(hint)
        self._is_wide = everywhere and self._near != EVERYWHERE
        failed = None if hint is None else self._run_one(hint)
        if failed is None and self._has_tried and self._has_time():
            failed = self._run_one(None)
        return failed

    def run_batches(self, on_failure: OnFailure) -> None:
        """Run what was never tried, while time is left.

        Raises:
            DatabaseError: Nothing more was claimed.
        """
        while self._has_fresh and self._has_time():
            left = self._ends_seconds - time.monotonic()
            limit = self._pace.fitting(self._group, seconds=left, at_most=CAPACITY)
            claimant = self._execution.claimant(task_id=self._task_id)
            # The fence is noted before the claim, for the case that this process dies in between.
            self._slot.expect(self._group, claimant.claim)
            batch = self._execution.claim_batch(self._group, claimant, limit=limit, near=self._near)
            if not batch and self._is_wide:
                self._near, self._is_wide = EVERYWHERE, False
                continue
            if not batch:
                self._has_fresh = False
                return
            self._has_claimed = True
            self._run_batch(batch, on_failure)

    def settle_failed(self, failed: Failed) -> Outcome:
        """Settle the delivery that ended `run_alone`."""
        outcome = self._execution.fail(failed.claimed, failed.error)
        self._count(failed.claimed, outcome)
        return outcome

    def close(self) -> tuple[UUID, str] | None:
        """End the slice once, when it holds nothing any more; an event that one more wake-up may name, if one is called for."""
        if not self._is_closed:
            self._is_closed = True
            self._slots.put_back(self._slot)
        if not self._has_claimed or not (self._has_tried or self._has_fresh):
            return None
        with self._execution.database.autocommit() as connection:
            return deliveries.find_due(
                connection, group=self._group, subscriptions=self._execution.known.ids(self._group)
            )

    def _run_one(self, hint: UUID | None) -> Failed | None:
        may_run_suspects = self._slots.begin_suspect()
        try:
            claimant = self._execution.claimant(task_id=self._task_id, suspects=may_run_suspects)
            self._slot.expect(self._group, claimant.claim)
            claimed = self._execution.claim(self._group, hint, claimant, near=self._near)
            if claimed is None and self._is_wide:
                claimed = self._execution.claim(self._group, None, claimant, near=EVERYWHERE)
            if claimed is None:
                self._has_tried = False
                return None
            self._has_claimed = True
            if may_run_suspects and not claimed.runs_alone:
                self._slots.end_suspect()
                may_run_suspects = False
            return self._run_claimed(claimed)
        finally:
            if may_run_suspects:
                self._slots.end_suspect()

    def _run_claimed(self, claimed: Claimed) -> Failed | None:
        execution = self._execution
        holding = Holding(execution.database, self._slot, [claimed])
        ended: BaseException | Outcome | Parked | None = None
        with execution.sessions() as sessions:
            self._provide(holding, claimed, sessions)
            outcome: Outcome | Parked | None = execution.begin(claimed)
            is_started = outcome is None and holding.start(0)
            if is_started:
                try:
                    ended = self._call(holding, 0, sessions)
                except DatabaseError:
                    execution.insist(holding.release)
                    raise
        if is_started:
            if isinstance(ended, BaseException):
                holding.failed(0, from_exception(ended).summary)
                return Failed(claimed=claimed, error=ended)
            if ended is None:
                holding.returned(0)
                ended, is_more_due = execution.done_alone(claimed, near=self._near)
                if not is_more_due and not self._is_wide:
                    self._has_tried = self._has_fresh = False
            outcome = ended
        holding.settled(0)
        self._count(claimed, outcome)
        return None

    def _provide(self, holding: Holding, claimed: Claimed, sessions: Sessions) -> None:
        """Give *claimed* back, which *holding* holds alone, if its handler cannot have the connection that it needs."""
        try:
            if not claimed.died:
                self._execution.provide(claimed, sessions)
        except DatabaseError:
            self._execution.insist(holding.release)
            raise

    def _run_batch(self, batch: Sequence[Claimed], on_failure: OnFailure) -> None:
        execution = self._execution
        holding = Holding(execution.database, self._slot, batch)
        began, ran = time.monotonic(), 0
        sessions = execution.sessions()
        try:
            with sessions, self._attendant.watching(holding, sessions):
                for row in range(len(batch)):
                    if self._slots.is_stopping or time.monotonic() > self._ends_seconds + SLICE_SECONDS:
                        execution.insist(holding.release)
                        break
                    execution.provide(batch[row], sessions)
                    if holding.start(row):
                        self._run_row(holding, row, sessions, on_failure)
                        ran += 1
        except BaseException as error:
            # A fault of ours. Nobody comes back to what is held: its lease would have to end, and each run to be repeated.
            if not ends_process(error):
                for settle in (holding.flush, holding.release):
                    with suppress(DatabaseError):
                        self._execution.insist(settle)
            raise
        seconds = time.monotonic() - began
        self._execution.insist(holding.release)
        self._execution.insist(holding.flush)
        self.done += holding.done
        self.again += holding.again
        if ran:
            self._pace.note(self._group, deliveries=ran, seconds=seconds)

    def _run_row(self, holding: Holding, row: int, sessions: Sessions, on_failure: OnFailure) -> None:
        claimed = holding.claimed[row]
        ended = self._call(holding, row, sessions)
        if ended is None:
            holding.returned(row)
            return
        if isinstance(ended, BaseException):
            holding.failed(row, from_exception(ended).summary)
            outcome: Outcome = self._execution.fail(claimed, ended)
            holding.settled(row)
            self._count(claimed, outcome)
            on_failure(claimed, ended, outcome)
            return
        holding.settled(row)
        self._count(claimed, ended)

    def _call(self, holding: Holding, row: int, sessions: Sessions) -> BaseException | Outcome | Parked | None:
        claimed = holding.claimed[row]
        began = time.perf_counter()
        try:
            ended = self._execution.call(claimed, sessions)
        except DatabaseError:
            holding.withdraw(row)
            raise
        if type(ended) is not Parked:
            self._slot.timer.note(self._group, claimed.event.type, time.perf_counter() - began)
        return ended

    def _count(self, claimed: Claimed, outcome: Outcome | Parked | None) -> None:
        match outcome:
            case Done(again=again):
                self.done += 1
            case Retrying():
                self.retried, again = self.retried + 1, False
            case Dead(again=again):
                self.dead += 1
            case _:
                again = False
        if again:
            self.again.append(claimed)

    def _has_time(self) -> bool:
        return time.monotonic() < self._ends_seconds and not self._slots.is_stopping
