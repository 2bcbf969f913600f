"""Trying: a few dead letters are retried first, and the others only if these succeed.

    retry the first few ─▶ wait ─┬─ all done ──────────────▶ retry the others
                                 └─ one failed again ──────▶ refused: the others are left as they were

Nothing is kept of a trial: whoever waits for it names its letters, and the database knows what became of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from eventbus.delivery import State
from eventbus.errors import InvalidInput, TrialNotPassed
from eventbus.lifecycle.dead_lettering import check_ids
from eventbus.storage.database import Database
from eventbus.storage.overview.causes import Fate, read_fates

#: A trial is about a few.
MOST_TRIED = 100

_WAITING = (State.PENDING, State.RUNNING, State.RETRYING)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What became of the letters that were retried first; each id is in one of these."""

    succeeded: tuple[int, ...]
    waiting: tuple[int, ...]
    #: They failed again, or were not retried after all.
    failed: tuple[int, ...]

    @property
    def is_passed(self) -> bool:
        return bool(self.succeeded) and not self.waiting and not self.failed


def look(database: Database, letter_ids: Sequence[int]) -> Trial:
    """What became of the letters *letter_ids*, by their order.

    Raises:
        InvalidInput: There are none of them, or too many, or they are no ids.
    """
    letter_ids = check_ids(letter_ids)
    if not 0 < len(set(letter_ids)) <= MOST_TRIED:
        raise InvalidInput(f"a trial is of 1 to {MOST_TRIED} dead letters, not of {len(set(letter_ids)):,}.")
    with database.autocommit() as connection:
        fates = {fate.letter_id: fate for fate in read_fates(connection, letter_ids)}
    found: dict[str, list[int]] = {"succeeded": [], "waiting": [], "failed": []}
    for id in dict.fromkeys(letter_ids):
        found[_outcome(fates.get(id))].append(id)
    return Trial(**{name: tuple(ids) for name, ids in found.items()})


def require_passed(database: Database, letter_ids: Sequence[int]) -> None:
    """Make sure that all letters of a trial have succeeded.

    Raises:
        InvalidInput: There are none of them, or too many.
        TrialNotPassed: Some have not, or not yet.
    """
    trial = look(database, letter_ids)
    if not trial.is_passed:
        raise TrialNotPassed(waiting=len(trial.waiting), failed=len(trial.failed))


def _outcome(fate: Fate | None) -> str:
    if fate is None or fate.status != "retried":
        return "failed"
    if fate.state in _WAITING:
        return "waiting"
    return "succeeded" if fate.state is State.DONE else "failed"
