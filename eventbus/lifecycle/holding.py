"""Holding: the deliveries that one slice claimed at once, from their claim until each is settled.

    slice      ─── starts them one after the other, notes how each ended
    attendant  ─── marks what returned, at most 50 ms late; gives back what waits behind a slow handler

Both work on it, so each row changes its status under a lock: one that is given back is never started, and the other way round.
"""

import logging
import threading
import time
from collections.abc import Sequence

from eventbus.lifecycle import settlement
from eventbus.lifecycle.slots import Slot, Status
from eventbus.storage import settling
from eventbus.storage.claiming import Claimed
from eventbus.storage.database import Database

log = logging.getLogger(__name__)

#: A handler that has returned is marked done at most so much later.
FLUSH_SECONDS = 0.05
#: Behind a handler that runs longer than this, nothing waits.
PATIENCE_SECONDS = 1.0


class Holding:
    """Deliveries of one group under one claim, and where each stands."""

    def __init__(self, database: Database, slot: Slot, claimed: Sequence[Claimed]) -> None:
        """Hold *claimed*, which is not empty, and note it in *slot*, which expects their claim."""
        self._database = database
        self._slot = slot
        self.claimed = claimed
        self._group, self._claim = claimed[0].group, claimed[0].claim
        #: As in the slot, which is another holding's as soon as all of these are settled: an attendant may be late.
        self._statuses = [Status.FOUND_DEAD if item.died else Status.CLAIMED for item in claimed]
        #: Guards the statuses.
        self._lock = threading.Lock()
        #: Guards the database's side of them: of two who settle, the second waits.
        self._settling = threading.Lock()
        self._started_seconds: float | None = None
        self._returned_seconds: float | None = None
        #: Deliveries that were marked done, and those of them that were replayed meanwhile.
        self.done = 0
        self.again: list[Claimed] = []
        slot.hold([item.event.id for item in claimed], found_dead={item.event.id for item in claimed if item.died})

    def start(self, row: int) -> bool:
        """Note that the handler of *row* is about to be called; False if it was given back."""
        with self._lock:
            if self._statuses[row] is not Status.CLAIMED:
                return False
            self._set(row, Status.STARTED)
            self._started_seconds = time.monotonic()
        return True

    def withdraw(self, row: int) -> None:
        """Note that the handler of *row* was not called after all: `release` gives it back, uncharged."""
        with self._lock:
            self._set(row, Status.CLAIMED)
            self._started_seconds = None

    def returned(self, row: int) -> None:
        """Note that the handler of *row* has returned: `flush` marks it."""
        with self._lock:
            self._set(row, Status.RETURNED)
            self._started_seconds = None
            if self._returned_seconds is None:
                self._returned_seconds = time.monotonic()

    def failed(self, row: int, error: str) -> None:
        """Note that the handler of *row* has failed: the caller settles it."""
        with self._lock:
            self._statuses[row] = Status.FAILED
            self._slot.fail(row, error)
            self._started_seconds = None

    def settled(self, row: int) -> None:
        """Note that PostgreSQL knows what became of *row*."""
        with self._lock:
            self._set(row, Status.SETTLED)
            self._started_seconds = None

    def attend(self, *, stopping: bool) -> None:
        """Settle what has waited long enough.

        Raises:
            DatabaseError: It is as before, and is tried again when next attended.
        """
        now = time.monotonic()
        if self._returned_seconds is not None and now - self._returned_seconds >= FLUSH_SECONDS:
            self.flush()
        started = self._started_seconds
        if started is not None and (stopping or now - started >= PATIENCE_SECONDS):
            self.release()

    def flush(self) -> None:
        """Mark all that has returned.

        Raises:
            DatabaseError: Nothing, or all, was marked; a repeat finds out.
        """
        with self._settling:
            with self._lock:
                rows = self._rows(Status.RETURNED)
                self._returned_seconds = None
            if not rows:
                return
            try:
                self._mark_done(rows)
            except BaseException:
                with self._lock:
                    self._returned_seconds = time.monotonic()
                raise

    def release(self) -> None:
        """Give back what has not started; nobody will start it here.

        Raises:
            DatabaseError: It is not given back yet; a repeat tries again.
        """
        with self._settling:
            with self._lock:
                for row in self._rows(Status.CLAIMED):
                    self._set(row, Status.RELEASED)
            rows = self._rows(Status.RELEASED)
            if not rows:
                return
            ids = [self.claimed[row].event.id for row in rows]
            with self._database.autocommit() as connection:
                settling.give_back(connection, ids, group=self._group, claim=self._claim)
            log.info("deliveries_given_back", extra={"group": self._group, "deliveries": len(rows)})
            for row in rows:
                self._set(row, Status.SETTLED)

    def _mark_done(self, rows: list[int]) -> None:
        events = [self.claimed[row].event for row in rows]
        with self._database.autocommit() as connection:
            states = settling.mark_many_done(connection, events, group=self._group, claim=self._claim)
        for row in rows:
            claimed = self.claimed[row]
            outcome = settlement.as_done(states.get(claimed.event.id))
            settlement.report(claimed, outcome)
            if isinstance(outcome, settlement.Done):
                self.done += 1
                if outcome.again:
                    self.again.append(claimed)
            self._set(row, Status.SETTLED)

    def _set(self, row: int, status: Status) -> None:
        self._statuses[row] = status
        self._slot.set(row, status)

    def _rows(self, status: Status) -> list[int]:
        return [row for row, found in enumerate(self._statuses) if found is status]
