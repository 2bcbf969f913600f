"""What a slice holds, without the slice: rows claimed under one fence, noted in a slot."""

from dataclasses import dataclass

from eventbus.lifecycle.execution import Execution
from eventbus.lifecycle.holding import Holding
from eventbus.lifecycle.slots import Slot, Slots


@dataclass(frozen=True, kw_only=True)
class Held:
    """A holding, its slot, and the table of slots."""

    slots: Slots
    slot: Slot
    holding: Holding


def hold(execution: Execution, group: str, *, limit: int = 100, slot: Slot | None = None) -> Held:
    """Claim up to *limit* deliveries of *group* that were never tried, the oldest, and note them as a slice does."""
    slot = slot or execution.slots.take()
    claimant = execution.claimant(task_id=None)
    slot.expect(group, claimant.claim)
    batch = execution.claim_batch(group, claimant, limit=limit)
    return Held(slots=execution.slots, slot=slot, holding=Holding(execution.database, slot, batch))
