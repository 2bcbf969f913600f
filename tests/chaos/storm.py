"""The storm: faults from a seed, one after the other and some at once; then calm, until nothing is open.

strikes ─▶ calm: publishers stop, everything is up ─▶ nothing open, queues empty ─▶ ten idle seconds ─▶ still empty
"""

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import redis

from tests.chaos.faults import ALL, Fault
from tests.chaos.stage import GROUPS, Stage, open_stage, queue
from tests.chaos.verdict import Verdict, judge
from tests.support.waiting import wait_until

#: How long all that is open may take to end once everything is up: poison takes several leases to die.
CALM_SECONDS = 120
IDLE_SECONDS = 10
#: How often two faults strike at once.
BOTH = 0.35
#: What a fault's end is followed by, until work that is not meant to fail is no older than the fault's end.
_OLDEST = """
SELECT extract(epoch FROM min(e.created_at)), extract(epoch FROM clock_timestamp())
FROM eventbus.delivery AS d JOIN eventbus.event_log AS e ON e.id = d.event_id
WHERE d.finished_at IS NULL AND d.replay_id IS NULL AND e.data ->> 'mood' IN ('ok', 'slow')
"""
_OPEN = "SELECT count(*) FROM eventbus.delivery WHERE finished_at IS NULL"
_SHOW_OPEN = "SELECT to_jsonb(d)::text FROM eventbus.delivery AS d WHERE finished_at IS NULL LIMIT 5"


@dataclass(kw_only=True)
class Struck:
    """A fault that struck, in seconds since the epoch."""

    name: str
    began: float
    healed: float
    #: Until work went on as before; None if that was not seen.
    recovered_after: float | None = None


@dataclass(kw_only=True)
class Outcome:
    """A storm, and what became of it."""

    seed: int
    seconds: float
    strikes: list[Struck] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: Open deliveries that remained, and messages in queues: at once and after ten idle seconds.
    left_open: list[str] = field(default_factory=list)
    queued: list[int] = field(default_factory=list)
    #: Workers that a supervisor had to start again although nobody had ended them.
    ended: list[str] = field(default_factory=list)
    calm_seconds: float = 0.0
    #: Of the machine, when it was over: what else there was to do.
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    verdict: Verdict

    @property
    def problems(self) -> list[str]:
        """What must not be."""
        found = list(self.verdict.problems)
        if self.left_open:
            found.append(f"{len(self.left_open)} deliveries stayed open: {self.left_open[0]}")
        if any(self.queued):
            found.append(f"queues held {self.queued} messages after the calm and ten seconds later")
        if self.ended:
            found.append(f"{len(self.ended)} workers needed help: {self.ended[0]}")
        return found


def run(seed: int, seconds: float, folder: Path, *, tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """One storm of about *seconds*, on servers of its own."""
    with open_stage(folder, seed) as stage:
        watcher = _Watcher(stage)
        strikes = _strike_all(stage, random.Random(seed), seconds, tell)
        began = time.monotonic()
        left_open = _calm(stage)
        calm_seconds = time.monotonic() - began
        queued = [_queued(stage)]
        threading.Event().wait(IDLE_SECONDS)
        queued.append(_queued(stage))
        watcher.stop()
        watcher.note_recoveries(strikes)
        return Outcome(
            seed=seed,
            seconds=seconds,
            strikes=strikes,
            notes=stage.notes,
            left_open=left_open,
            queued=queued,
            ended=stage.ended,
            calm_seconds=calm_seconds,
            verdict=judge(stage, [(s.name, s.began, s.healed + (s.recovered_after or 0)) for s in strikes]),
        )


def _strike_all(stage: Stage, chance: random.Random, seconds: float, tell: Callable[[str], None]) -> list[Struck]:
    """Every kind of fault in a random order, then again, until the time is over."""
    strikes: list[Struck] = []
    errors: list[BaseException] = []
    end = time.monotonic() + seconds
    deck: list[Fault] = []
    while time.monotonic() < end:
        deck = deck or chance.sample(ALL, len(ALL))
        chosen = [deck.pop()]
        if chance.random() < BOTH and deck and deck[-1].place != chosen[0].place:
            chosen.append(deck.pop())
        threads = [
            threading.Thread(target=_strike, args=(stage, fault, random.Random(chance.random()), strikes, errors))
            for fault in chosen
        ]
        tell(" + ".join(fault.name for fault in chosen))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        threading.Event().wait(chance.uniform(0.2, 1.0))
    return strikes


def _strike(
    stage: Stage, fault: Fault, chance: random.Random, strikes: list[Struck], errors: list[BaseException]
) -> None:
    began = time.time()
    try:
        fault.strike(stage, chance)
    except BaseException as error:  # it is raised again where the storm waits for this thread
        error.add_note(f"while striking: {fault.name}")
        errors.append(error)
    strikes.append(Struck(name=fault.name, began=began, healed=time.time()))


def _calm(stage: Stage) -> list[str]:
    """Stop publishing, and wait until nothing is open and the queues are empty."""
    for publisher in stage.publishers:
        publisher.stop()
    with stage.rows() as rows:
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: rows.value(_OPEN) == 0 and _queued(stage) == 0, timeout=CALM_SECONDS)
        return [text for (text,) in rows.all(_SHOW_OPEN)]


def _queued(stage: Stage) -> int:
    """In the queues of groups that are still subscribed: nobody takes what the guest was told when it left."""
    with stage.broker() as broker:
        return sum(int(broker.llen(queue(group))) for group in GROUPS)  # type: ignore[arg-type]


class _Watcher:
    """Sees, all the time, how old the oldest work is that is not meant to fail."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        #: When it looked, and when the oldest open event was published (or None).
        self._seen: list[tuple[float, float | None]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def note_recoveries(self, strikes: list[Struck]) -> None:
        """How long after its end each fault's backlog was gone."""
        for strike in strikes:
            after = (
                at for at, oldest in self._seen if at >= strike.healed and (oldest is None or oldest > strike.healed)
            )
            at = next(after, None)
            strike.recovered_after = None if at is None else at - strike.healed

    def _watch(self) -> None:
        while not self._stopped.wait(0.2):
            try:
                with self._stage.rows() as rows:
                    while not self._stopped.wait(0.2):
                        oldest, now = rows.one(_OLDEST)
                        self._seen.append((float(now), None if oldest is None else float(oldest)))
            except (psycopg2.Error, redis.RedisError):
                continue  # PostgreSQL is away
