"""Acceptance: somebody answers for a kind of problem, for a reason and until a day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from eventbus.schemas.compatibility import Problem
from eventbus.schemas.findings import Rule


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """A rule whose problems do not count for a while."""

    rule: Rule
    #: The last day on which it holds.
    until: date
    reason: str
    #: Only of this event type; None for all.
    type: str | None = None

    def as_json(self) -> dict[str, str]:
        """The acceptance as it is kept with a registered version."""
        kept = {"rule": str(self.rule), "until": self.until.isoformat(), "reason": self.reason}
        return kept if self.type is None else {**kept, "type": self.type}


def accepts(acceptances: Iterable[Acceptance], type: str, problem: Problem, today: date) -> Acceptance | None:
    """The first of *acceptances* that covers *problem* of *type* today, or None."""
    for each in acceptances:
        if each.rule is problem.rule and each.type in (None, type) and today <= each.until:
            return each
    return None
