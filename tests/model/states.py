"""What a moment of the protocol consists of: rows, the queue, workers with their children's slots, faults still to come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from tests.model.delivery import Claim, Row

CLAIMED, STARTED, HUNG, RETURNED, FAILED = (
    "CLAIMED",
    "STARTED",
    "HUNG",
    "RETURNED",
    "FAILED",
)  # what a slot says of a row
ANY, FOREIGN, DIRECT = -1, -2, -3  # names of wake-ups that name none of our rows
FAULTS = (
    *(
        "loss",
        "repeat",
        "kill_child",
        "kill_main",
        "kill_worker",
        "freeze",
        "stall",
        "hang",
        "settle_fails",
        "claim_lost",
    ),
    *("postgres_crash", "shutdown", "pause", "replay", "retry", "discard"),
)


class Main(StrEnum):
    """A worker's main process."""

    UP = "up"
    DRAINING = "draining"  #: asked to stop, and finishing what runs
    FROZEN = "frozen"
    GONE = "gone"  #: killed; its children are orphans
    DOWN = "down"


class Outcome(StrEnum):
    """How a claim ends."""

    RETURNED = "done"
    ERROR = "error"
    DEATH = "death"
    GIVEN_BACK = "given back"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The constants of one search."""

    name: str
    #: One row each: ok, fails, kills_child, kills_worker, kills_late (its process dies after it returned).
    handlers: tuple[str, ...]
    faults: Mapping[str, int] = field(default_factory=dict)
    #: Rows whose handler takes ``session``.
    sessions: frozenset[int] = frozenset()
    workers: int = 1
    #: Of each worker.
    children: int = 1
    #: For each worker the rows that its code knows; None: all.
    knows: tuple[frozenset[int], ...] | None = None
    max_attempts: int = 1
    #: Documented exceptions by which a killing or failing row may start beyond its limit.
    extra_starts: int = 0
    #: Other traffic keeps the queue from ever being empty.
    busy: bool = False
    #: How many states it has with all rules, to begin with the small ones.
    states: int = 0


class Entry(NamedTuple):
    """What a child's slot says of one row that it holds."""

    row: int
    claim: Claim
    status: str = CLAIMED
    suspect: bool = False
    died: bool = False  #: claimed only to charge a death


class Child(NamedTuple):
    """A process of the pool."""

    slot: tuple[Entry, ...] = ()
    dead: bool = False  #: its accounts are yet to be settled by the main process
    frozen: bool = False
    named: int = ANY  #: the row that its wake-up named


class Worker(NamedTuple):
    """A main process and its children."""

    main: Main
    children: tuple[Child, ...]


class State(NamedTuple):
    """A moment."""

    rows: tuple[Row, ...]
    queue: tuple[int, ...]
    workers: tuple[Worker, ...]
    budget: tuple[int, ...]  #: faults left, in the order of FAULTS
    stale: bool = False  #: a sweep of the relay has passed and no row moved
    paused: bool = False
    selected: tuple[tuple[str, int], ...] = ()  #: dead letters that an operator has read and will act upon
    #: Commits that are not on the disk yet, the oldest first: of each the rows as they were before it.
    unflushed: tuple[tuple[tuple[int, Row], ...], ...] = ()


Step = tuple[str, State, str | None]
"""What happens, what it leads to, and the promise that it breaks by itself."""


def swap(items: tuple[Any, ...], index: int, *new: object) -> tuple[Any, ...]:
    """*items* with the one at *index* replaced by *new*, or dropped."""
    return items[:index] + new + items[index + 1 :]
