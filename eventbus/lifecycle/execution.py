"""Execution: one delivery becomes the run of its handler.

    claim ─▶ (start committed, for a suspect) ─▶ handle ─▶ settle
     └─ nothing is due: the wake-up was late, early or repeated, and that is all

The event that a wake-up names is only a hint: what is claimed is what PostgreSQL says is due.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from eventbus.errors import DatabaseError, UnreachableVersion
from eventbus.ids import EVERYWHERE, IdRange
from eventbus.lifecycle import settlement
from eventbus.lifecycle.handler_sessions import ClaimLost, Sessions
from eventbus.lifecycle.handling import handle
from eventbus.lifecycle.insisting import insist
from eventbus.lifecycle.parking import Parked, park
from eventbus.lifecycle.reading import Reading
from eventbus.lifecycle.registration import Known
from eventbus.lifecycle.settlement import Dead, Done, Fenced, Marking, Outcome, Retrying
from eventbus.lifecycle.slots import Slots
from eventbus.storage import backends, claiming, settling
from eventbus.storage.backends import Attempt
from eventbus.storage.claiming import Claimant, Claimed
from eventbus.storage.database import Connection, Database
from eventbus.storage.failures import was_lost
from eventbus.subscription import Subscription

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What running deliveries needs, in a worker that knows some subscriptions."""

    database: Database
    known: Known
    reading: Reading
    lease: timedelta
    worker: str
    slots: Slots = field(default_factory=Slots)
    #: Paths of events that no trace shows.
    hidden: Sequence[str] = ()

    def claimant(self, *, task_id: str | None, suspects: bool = True) -> Claimant:
        """This worker, under a fence of its own for what it claims next."""
        return Claimant(worker=self.worker, task_id=task_id, lease=self.lease, suspects=suspects)

    def claim(self, group: str, hint: UUID | None, claimant: Claimant, *, near: IdRange = EVERYWHERE) -> Claimed | None:
        """Take a due delivery of *group* to run alone: that of the event *hint* if it is due, else the oldest tried one *near*."""
        ids = self.known.ids(group)
        with self._claiming(group, claimant) as connection:
            if hint is not None:
                named = claiming.claim_named(connection, hint, group=group, subscriptions=ids, claimant=claimant)
                if named is not None:
                    return named
            return claiming.claim_tried(connection, group=group, subscriptions=ids, claimant=claimant, near=near)

    def claim_batch(self, group: str, claimant: Claimant, *, limit: int, near: IdRange = EVERYWHERE) -> list[Claimed]:
        """Take up to *limit* due deliveries of *group* that were never tried, the oldest of events *near*."""
        with self._claiming(group, claimant) as connection:
            return claiming.claim_fresh(
                connection,
                group=group,
                subscriptions=self.known.ids(group),
                claimant=claimant,
                limit=limit,
                near=near,
            )

    def give_back(self, group: str, claim: int, *, but: Sequence[UUID] = ()) -> int:
        """Return all of *group* that was taken under *claim*, *but* those events, uncharged; how many there were."""
        with self.database.autocommit() as connection:
            return settling.give_back_claim(
                connection, group=group, subscriptions=self.known.ids(group), claim=claim, but=but
            )

    def begin(self, claimed: Claimed) -> Outcome | None:
        """Do what comes before the handler of *claimed* may be called; what became of the row, if it must not be."""
        if claimed.died:
            return self.charge_death(claimed)
        if claimed.runs_alone and not self._commit_start(claimed):
            return settlement.report(claimed, Fenced())
        return None

    def sessions(self) -> Sessions:
        """Sessions for handlers that are called one after the other; to be used as a block."""
        return Sessions(self.database)

    def provide(self, claimed: Claimed, sessions: Sessions) -> None:
        """Take the connection that the handler of *claimed* needs, if it does: what is not to be had is no fault of the handler's.

        Raises:
            DatabaseError: None can be had; the handler must not be called.
        """
        if "session" in self.subscription(claimed).takes:
            sessions.take()

    def call(self, claimed: Claimed, sessions: Sessions) -> BaseException | Outcome | Parked | None:
        """Call the handler of *claimed*, which takes its session, if it wants one, from *sessions*.

        Returns:
            The exception that ended it, which the caller settles through `fail`; what became of the row, if its session, or a
            version that the handler cannot read, decided that; None if it returned and is to be settled.

        Raises:
            DatabaseError: The handler was not called: its event could not be read, or not be parked.
        """
        subscription = self.subscription(claimed)
        event = self.reading.event_for(claimed.event, subscription)
        if isinstance(event, UnreachableVersion):
            reason = event
            return self.insist(lambda: park(self.database, claimed, reason)) or settlement.report(claimed, Fenced())
        if isinstance(event, BaseException):
            return event
        marking = Marking(claimed=claimed)
        error = handle(subscription, claimed.of(event), sessions=sessions, marking=marking, hidden=self.hidden)
        if type(error) is ClaimLost:
            return settlement.report(claimed, Fenced())
        if error is not None:
            return error
        return None if marking.outcome is None else settlement.report(claimed, marking.outcome)

    def done(self, claimed: Claimed) -> Done | Fenced:
        """Settle *claimed*, whose handler returned."""
        return self.insist(lambda: settlement.settle_done(self.database, claimed))

    def done_alone(self, claimed: Claimed, *, near: IdRange) -> tuple[Done | Fenced, bool]:
        """The same for one that ran alone, and whether more of its group may be due *near*."""
        ids = self.known.ids(claimed.group)
        return self.insist(lambda: settlement.settle_alone(self.database, claimed, subscriptions=ids, near=near))

    def fail(self, claimed: Claimed, error: BaseException) -> Retrying | Dead | Fenced:
        """Settle *claimed*, whose handler ended with *error*."""
        policy = self.subscription(claimed).retry
        return self.insist(
            lambda: settlement.settle_failed(self.database, claimed, error, policy=policy, worker=self.worker)
        )

    def insist(self, action: Callable[[], Result]) -> Result:
        """What *action*, which settles something, returns as soon as it can; a worker that stops waits no longer than a lease.

        Raises:
            DatabaseError: It stops, and the lease has passed.
        """
        return insist(action, give_up=lambda seconds: self.slots.is_stopping and seconds > self.lease.total_seconds())

    def subscription(self, claimed: Claimed) -> Subscription:
        """The subscription that *claimed* was claimed for."""
        return self.known.find(claimed.group, claimed.subscription_id)

    def charge_death(self, claimed: Claimed) -> Outcome:
        """Charge *claimed* the death of its earlier run, whose start was committed and whose lease has ended."""
        policy = self.subscription(claimed).retry
        reason = f"the worker died while the handler ran (run {claimed.attempts + claimed.deaths + 1})"
        return self.insist(
            lambda: settlement.settle_died(self.database, claimed, reason, policy=policy, worker=self.worker)
        )

    @contextlib.contextmanager
    def _claiming(self, group: str, claimant: Claimant) -> Iterator[Connection]:
        """A connection for a claim; where its answer is lost, what it has taken, or would still take, is given back."""
        attempt: Attempt | None = None
        try:
            with self.database.autocommit() as connection:
                attempt = backends.begin(connection, str(claimant.claim))
                yield connection
        except DatabaseError as error:
            lost = attempt if was_lost(error) else None
            self.insist(lambda: self._take_back(group, claimant.claim, lost))
            raise

    def _take_back(self, group: str, claim: int, lost: Attempt | None) -> None:
        if lost is not None:
            # What still runs would take its rows after they were given back; where a proxy hides it, its lease gives them back.
            with self.database.autocommit() as connection:
                backends.end(connection, lost)
        self.give_back(group, claim)

    def _commit_start(self, claimed: Claimed) -> bool:
        def commit() -> bool:
            with self.database.autocommit() as connection:
                return claiming.commit_start(connection, claimed, lease=self.lease)

        return self.insist(commit)
