"""One delivery and its dead letter, and what each statement of eventbus/storage does to them.

Pure: the search and the machine that drives the real statements share this module. ``due`` says that ``due_at`` has come,
``started`` that ``started_at`` is set.
"""

from typing import NamedTuple

from eventbus.delivery import State as DeliveryState
from tests.model.rules import Rules

PENDING, RUNNING, RETRYING = DeliveryState.PENDING, DeliveryState.RUNNING, DeliveryState.RETRYING
DONE, DEAD, CANCELLED = DeliveryState.DONE, DeliveryState.DEAD, DeliveryState.CANCELLED
OPEN_STATES = (PENDING, RUNNING, RETRYING)


class Claim(NamedTuple):
    """Who holds a running row."""

    fence: int  #: what SQL compares
    serial: int  #: which claim it really is; no statement sees it
    worker: int  #: asked only where renewal does not follow the slots


class Row(NamedTuple):
    """A row of eventbus.delivery, and the status of its newest dead letter."""

    state: str = PENDING
    due: bool = True
    attempts: int = 0
    deaths: int = 0
    claim: Claim | None = None
    suspect: bool = False
    started: bool = False
    rerun: bool = False
    letter: str = "none"
    # The observer's, not the database's; they count since the row was last fresh.
    effects: int = 0  #: committed; without ``session``: 1 once a run has returned
    starts: int = 0  #: of a handler that fails or kills
    hits: int = 0  #: kills and stalls from outside that met its started handler
    errors: int = 0  #: timeouts and failed commits
    owed: bool = False  #: replayed, and not started since


def is_claimable(row: Row) -> bool:
    """Open and due."""
    return row.due and row.state in OPEN_STATES


def has_died(row: Row) -> bool:
    """Its start was committed, and the lease ended: whoever claims it charges a death."""
    return row.state == RUNNING and row.started


def is_tried(row: Row) -> bool:
    """Whether a claim takes it alone."""
    return row.attempts + row.deaths > 0 or row.suspect or row.state == RUNNING


def claimed(row: Row, claim: Claim, *, rules: Rules) -> Row:
    """``claim``: the row is *claim*'s; a row that was running becomes a suspect, and keeps the record of a death."""
    died = has_died(row)
    suspect = row.suspect or (row.state == RUNNING and rules.ended_lease_makes_suspect)
    return row._replace(state=RUNNING, claim=claim, due=False, suspect=suspect, started=died, rerun=row.rerun and died)


def is_held(row: Row, claim: Claim, *, rules: Rules) -> bool:
    """Whether the fence lets *claim* change the row."""
    asked = not rules.fence_asks_claim or (row.claim is not None and row.claim.fence == claim.fence)
    return asked and (row.state == RUNNING or not rules.fence_asks_state)


def start_committed(row: Row) -> Row:
    """``commit_start``: the start is on record and the lease renewed."""
    return row._replace(started=True, due=False)


def fresh(row: Row, *, letter: str, rules: Rules | None = None) -> Row:
    """As if new: counts at zero, suspicion forgotten."""
    keeps = rules is not None and not rules.done_forgets_suspicion
    return Row(
        letter=letter,
        owed=row.owed,
        suspect=row.suspect and keeps,
        deaths=row.deaths if keeps else 0,
        claim=_kept_claim(row, rules),
    )


def done(row: Row, *, rules: Rules) -> Row:
    """``mark_done``; a row that was replayed while it ran is fresh."""
    if row.rerun:
        return fresh(row, letter=row.letter, rules=rules)
    return _ended(row, rules)._replace(state=DONE, suspect=False)


def retrying(row: Row, *, rules: Rules, attempts: int = 0, deaths: int = 0) -> Row:
    """``mark_retrying``: charged, and due again after its backoff."""
    charged = _ended(row, rules)
    return charged._replace(state=RETRYING, attempts=row.attempts + attempts, deaths=row.deaths + deaths)


def dead(row: Row, *, rules: Rules, attempts: int = 0, deaths: int = 0) -> Row:
    """``mark_dead`` with its dead letter; a row that was replayed while it ran is fresh."""
    if row.rerun:
        return fresh(row, letter=row.letter, rules=rules)
    letter = "open" if rules.dead_letter_is_atomic else row.letter
    charged = _ended(row, rules)
    return charged._replace(state=DEAD, attempts=row.attempts + attempts, deaths=row.deaths + deaths, letter=letter)


def given_back(row: Row, *, rules: Rules) -> Row:
    """``give_back``: uncharged, and due at once."""
    state = RETRYING if row.attempts or row.deaths or row.suspect else PENDING
    suspect = row.suspect and rules.suspicion_survives_give_back
    return _ended(row, rules)._replace(state=state, suspect=suspect, due=True)


def replayed(row: Row, *, rules: Rules) -> Row:
    """A replay that asks for dead ones too: what has ended is fresh, what runs will run once more, what waits will run anyway."""
    if row.state in (DONE, DEAD, CANCELLED):
        letter = "retried" if row.letter in ("open", "discarded") and rules.replay_resolves_dead_letter else row.letter
        return fresh(row._replace(owed=True), letter=letter)
    return row._replace(owed=True, rerun=row.state == RUNNING and rules.replay_reruns_running)


def retried(row: Row) -> Row:
    """``resolving.retry``."""
    return fresh(row, letter="retried")


def discarded(row: Row) -> Row:
    """``resolving.discard``."""
    return row._replace(state=CANCELLED, due=False, letter="discarded")


def _ended(row: Row, rules: Rules) -> Row:
    return row._replace(claim=_kept_claim(row, rules), started=False, rerun=False, due=False)


def _kept_claim(row: Row, rules: Rules | None) -> Claim | None:
    """A claim left behind matters only where the fence does not ask for the state: else it is forgotten, to merge states."""
    return None if rules is None or rules.fence_asks_state else row.claim
