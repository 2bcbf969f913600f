"""Trials: of dead letters a few are retried first, and the others follow in the background as soon as these are done.

    retry the first ─▶ look ─┬─ not yet ─▶ look again, whether anybody watches or not
                             ├─ all done ─▶ retry the others
                             └─ one failed again ─▶ leave the others as they are

What became of the letters is in the database. Kept here is who waits for them, until this process ends; the page's address holds
what is needed to take a trial up again.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from eventbus.bus import EventBus
from eventbus.errors import DatabaseError
from eventbus.lifecycle.resolving import Frozen, Progress
from eventbus.lifecycle.trying import Trial

log = logging.getLogger(__name__)

_EVERY_SECONDS = 1.0
#: Whoever has not decided by then has to look anew.
LONGEST_SECONDS = 24 * 60 * 60
_MOST_REMEMBERED = 1000


class Stage(StrEnum):
    """How far a trial has come."""

    WAITING = "waiting"  #: for the first ones
    GOING_ON = "going on"  #: the others are retried
    ENDED = "ended"  #: the others were retried, as far as they were still open
    FAILED = "failed"  #: one of the first ones has failed again


@dataclass(frozen=True, kw_only=True)
class Course:
    """A trial that this console carries out."""

    stage: Stage
    #: What became of the others; None before they were retried.
    progress: Progress | None = None


class Trials:
    """The trials of one console, by the word that means them in addresses."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._courses: OrderedDict[str, Course] = OrderedDict()

    def course(self, word: str) -> Course | None:
        """How far that one has come; None if nobody waits for it here."""
        with self._lock:
            return self._courses.get(word)

    def work(
        self, word: str, bus: EventBus, tried: list[int], others: Frozen
    ) -> Callable[[threading.Event], None] | None:
        """What waits for *tried* and then retries *others*; None if somebody is at it already."""
        with self._lock:
            if word in self._courses:
                return None
            self._courses[word] = Course(stage=Stage.WAITING)
            while len(self._courses) > _MOST_REMEMBERED:
                self._courses.popitem(last=False)

        def work(stop: threading.Event) -> None:
            course = None
            try:
                course = self._carry_out(word, bus, tried, others, stop)
            finally:
                self._note(word, course)

        return work

    def _carry_out(
        self, word: str, bus: EventBus, tried: list[int], others: Frozen, stop: threading.Event
    ) -> Course | None:
        """What became of it; None if it can be taken up again."""
        ends_at = time.monotonic() + LONGEST_SECONDS
        while not stop.is_set() and time.monotonic() < ends_at:
            trial = _look(bus, tried)
            if trial is not None and trial.failed:
                return Course(stage=Stage.FAILED)
            if trial is not None and trial.is_passed:
                self._note(word, Course(stage=Stage.GOING_ON))
                progress = bus.resolving.retry(others, stop=stop)
                return Course(stage=Stage.ENDED, progress=progress) if progress.is_complete else None
            stop.wait(_EVERY_SECONDS)
        return None

    def _note(self, word: str, course: Course | None) -> None:
        with self._lock:
            if course is None:
                self._courses.pop(word, None)
            else:
                self._courses[word] = course


def _look(bus: EventBus, tried: list[int]) -> Trial | None:
    try:
        return bus.trial(tried)
    except DatabaseError as error:
        # It is away, or busy: what is waited for takes longer then.
        log.info("console_trial_waits", extra={"reason": str(error)})
        return None
