"""Timing: how long handlers ran, counted by each process where it outlives the process, and written down by the main process.

    child ── counts in its slot's part of shared memory ─▶ main process ── every 5 s, one statement ─▶ run_duration, run_minute

Counts in memory only grow while the worker lives, whoever has a slot, so what was not written yet is their growth. A child that is
killed loses nothing; a main process that is killed loses what it had not written. A delivery costs no statement.
"""

import mmap
from dataclasses import dataclass, field

from eventbus.durations import BUCKETS, Histogram, bucket_of
from eventbus.storage import runs
from eventbus.storage.database import Database

#: Pairs of group and type that a slot tells apart; beyond them, types are counted as `OTHERS`.
_SERIES, _KEPT_FOR_OTHERS = 96, 16
OTHERS = "*"
#: In numbers of 8 bytes: the length of the name, the name, the buckets, microseconds in all.
_NAME_AT, _NAME_NUMBERS = 1, 34
_COUNTS_AT = _NAME_AT + _NAME_NUMBERS
_MICROSECONDS_AT = _COUNTS_AT + BUCKETS
_SERIES_NUMBERS = _MICROSECONDS_AT + 1


class Timings:
    """The counts of all slots of one worker; made by its main process, shared with the children that it forks."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        # First how many series each slot has, so that nobody looks at parts that were never written.
        self._bytes = memoryview(mmap.mmap(-1, 8 * (slots + slots * _SERIES * _SERIES_NUMBERS)))
        #: Written and read as a whole, unlike bytes: no reader sees half a number.
        self._numbers = self._bytes.cast("Q")

    def timer(self, slot: int) -> "Timer":
        """What the process that has *slot* counts with."""
        return Timer(self, slot)

    def read(self) -> dict[tuple[str, str], Histogram]:
        """What was counted since the worker began, by group and type."""
        found: dict[tuple[str, str], list[int]] = {}
        for slot in range(self._slots):
            for number in range(self._numbers[slot]):
                at = self._at(slot, number)
                values = self._numbers[at + _COUNTS_AT : at + _SERIES_NUMBERS].tolist()
                known = found.setdefault(self._name(at), [0] * len(values))
                known[:] = [before + value for before, value in zip(known, values, strict=True)]
        return {
            name: Histogram(counts=tuple(values[:BUCKETS]), seconds=values[BUCKETS] / 1e6)
            for name, values in found.items()
        }

    def find(self, slot: int, name: tuple[str, str]) -> int | None:
        """Where *slot* counts *name*, which is given a place if it has none; None if there is no room for it."""
        count = self._numbers[slot]
        for number in range(count):
            if self._name(at := self._at(slot, number)) == name:
                return at
        room = _SERIES if name[1] == OTHERS else _SERIES - _KEPT_FOR_OTHERS
        if count >= room:
            return None
        at, text = self._at(slot, count), "\0".join(name).encode()
        start = 8 * (at + _NAME_AT)
        self._bytes[start : start + len(text)] = text
        self._numbers[at] = len(text)
        self._numbers[slot] = count + 1
        return at

    def count(self, at: int, seconds: float) -> None:
        """Count a run in the series at that place."""
        self._numbers[at + _COUNTS_AT + bucket_of(seconds)] += 1
        self._numbers[at + _MICROSECONDS_AT] += int(seconds * 1e6)

    def _at(self, slot: int, number: int) -> int:
        return self._slots + (slot * _SERIES + number) * _SERIES_NUMBERS

    def _name(self, at: int) -> tuple[str, str]:
        start = 8 * (at + _NAME_AT)
        group, type = bytes(self._bytes[start : start + self._numbers[at]]).decode().split("\0")
        return group, type


class Timer:
    """One slot's counts, in the hands of the process, or thread, that has the slot."""

    def __init__(self, timings: Timings, slot: int) -> None:
        self._timings = timings
        self._slot = slot
        self._places: dict[tuple[str, str], int | None] = {}

    def note(self, group: str, type: str, seconds: float) -> None:
        """Count a run of *group*'s handler that took *seconds*."""
        name = (group, type)
        try:
            at = self._places[name]
        except KeyError:
            at = self._timings.find(self._slot, name)
            if at is None:
                at = self._timings.find(self._slot, (group, OTHERS))
            self._places[name] = at
        if at is not None:
            self._timings.count(at, seconds)


@dataclass(kw_only=True)
class Timekeeper:
    """Writes down what a worker's processes have counted."""

    database: Database
    timings: Timings
    _written: dict[tuple[str, str], Histogram] = field(default_factory=dict)

    def write(self) -> None:
        """Add what was counted since the last time.

        Raises:
            DatabaseError: Nothing was added, and the next time adds it; unless only the answer was lost, when it is added twice.
        """
        found = self.timings.read()
        grown = {name: _growth(item, self._written.get(name)) for name, item in found.items()}
        if new := {name: item for name, item in grown.items() if item.runs}:
            with self.database.autocommit() as connection:
                runs.add_durations(connection, new)
        self._written = found


def _growth(now: Histogram, before: Histogram | None) -> Histogram:
    if before is None:
        return now
    counts = tuple(new - old for new, old in zip(now.counts, before.counts, strict=True))
    return Histogram(counts=counts, seconds=max(now.seconds - before.seconds, 0.0))
