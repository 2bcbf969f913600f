"""Execution: a wake-up becomes the run of a handler.

    wake-up ─▶ claim ─▶ (start committed, for a suspect) ─▶ handle ─▶ settle
                 └─ nothing is due: the wake-up was late, early or repeated, and that is all

The event that a wake-up names is only a hint: what is claimed is what PostgreSQL says is due.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from eventbus.lifecycle import settlement
from eventbus.lifecycle.handling import ClaimLost, handle
from eventbus.lifecycle.registration import Known
from eventbus.lifecycle.settlement import Dead, Done, Fenced, Outcome, Retrying
from eventbus.storage import claiming
from eventbus.storage.claiming import Claimant, Claimed
from eventbus.storage.database import Connection, Database
from eventbus.subscription import Subscription

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What running deliveries needs, in a worker that knows some subscriptions."""

    database: Database
    known: Known
    lease: timedelta
    worker: str

    def claim(self, group: str, hint: UUID | None, *, task_id: str | None) -> Claimed | None:
        """Take a due delivery of *group*: that of the event *hint* if it is due, else the oldest; None if none is."""
        claimant = Claimant(worker=self.worker, task_id=task_id, lease=self.lease)
        ids = self.known.ids(group)
        with self.database.autocommit() as connection:
            if hint is not None:
                named = claiming.claim_named(connection, hint, group=group, subscriptions=ids, claimant=claimant)
                if named is not None:
                    return named
            oldest = claiming.claim_oldest(connection, group=group, subscriptions=ids, claimant=claimant, limit=1)
            return oldest[0] if oldest else None

    def run(self, claimed: Claimed) -> BaseException | Outcome:
        """Run the handler of *claimed* and settle it if that succeeded.

        Returns:
            The exception that ended the handler, which the caller settles through `fail`; else what became of the row.
        """
        if claimed.died:
            return self._charge_death(claimed)
        if claimed.runs_alone and not self._commit_start(claimed):
            return settlement.report(claimed, Fenced())
        subscription = self.subscription(claimed)
        in_session: Done | Fenced | None = None

        def settle(connection: Connection) -> bool:
            nonlocal in_session
            in_session = settlement.mark_done(connection, claimed)
            return isinstance(in_session, Done)

        error = handle(subscription, claimed, database=self.database, settle=settle)
        if isinstance(error, ClaimLost):
            return settlement.report(claimed, Fenced())
        if error is not None:
            return error
        if in_session is not None:
            return settlement.report(claimed, in_session)
        return settlement.settle_done(self.database, claimed)

    def fail(self, claimed: Claimed, error: BaseException) -> Retrying | Dead | Fenced:
        """Settle *claimed*, whose handler ended with *error*."""
        policy = self.subscription(claimed).retry
        return settlement.settle_failed(self.database, claimed, error, policy=policy, worker=self.worker)

    def subscription(self, claimed: Claimed) -> Subscription:
        """The subscription that *claimed* was claimed for."""
        return self.known.find(claimed.group, claimed.subscription_id)

    def _charge_death(self, claimed: Claimed) -> Outcome:
        policy = self.subscription(claimed).retry
        reason = f"the worker died while the handler ran (run {claimed.attempts + claimed.deaths + 1})"
        return settlement.settle_died(self.database, claimed, reason, policy=policy, worker=self.worker)

    def _commit_start(self, claimed: Claimed) -> bool:
        with self.database.autocommit() as connection:
            return claiming.commit_start(connection, claimed, lease=self.lease)
