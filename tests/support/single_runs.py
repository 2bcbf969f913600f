"""A worker's execution, one delivery at a time, for tests that look between its steps."""

from dataclasses import dataclass
from uuid import UUID

from eventbus.lifecycle.execution import Execution
from eventbus.lifecycle.parking import Parked
from eventbus.lifecycle.settlement import Outcome
from eventbus.storage.claiming import Claimed


@dataclass(frozen=True, kw_only=True)
class SingleRuns(Execution):
    """The steps of a slice, without its slot and its time."""

    def take(self, group: str, hint: UUID | None = None, *, task_id: str | None = None) -> Claimed | None:
        """The hinted delivery, else one that was tried, else the oldest."""
        claimed = self.claim(group, hint, self.claimant(task_id=task_id))
        if claimed is not None:
            return claimed
        batch = self.claim_batch(group, self.claimant(task_id=task_id), limit=1)
        return batch[0] if batch else None

    def run(self, claimed: Claimed) -> BaseException | Outcome | Parked:
        """What became of the delivery; the exception of its handler is left to be settled."""
        outcome = self.begin(claimed)
        if outcome is None:
            with self.sessions() as sessions:
                ended = self.call(claimed, sessions)
            return self.done(claimed) if ended is None else ended
        return outcome
