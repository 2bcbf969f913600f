"""Slots: what each process holds, written where it outlives the process.

    main process ── makes the table before it forks
      child ── takes a slot ─▶ claim noted ─▶ rows CLAIMED ─▶ STARTED ─▶ RETURNED | FAILED ─▶ SETTLED
      main ─── reads the slots of the living, to renew leases; those of the dead, to settle what they held

The table is shared memory. A slot belongs to the process that holds a lock on its byte of a file: the kernel drops the lock when
the process ends, however it ends, so a dead process is never taken for a living one, nor one for another of the same number.
"""

import contextlib
import fcntl
import mmap
import os
import struct
import tempfile
import threading
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from eventbus.lifecycle.timing import Timer, Timings

#: Rows that a slot has room for: no claim may take more.
CAPACITY = 100
#: Slots of a worker: so many processes, threads or greenlets may have deliveries at once.
MOST = 512
#: pid, claim, number of rows, lengths of group and error.
_HEAD = struct.Struct("=IQHHH")
_GROUP_BYTES, _ERROR_BYTES = 64, 1024
_ROW_BYTES = 17
_GROUP_AT = _HEAD.size
_ERROR_AT = _GROUP_AT + _GROUP_BYTES
_ROWS_AT = _ERROR_AT + _ERROR_BYTES
_SLOT_BYTES = _ROWS_AT + CAPACITY * _ROW_BYTES
#: Bytes of the lock file: taking slots, running a suspect, then one for each slot.
_TAKING, _SUSPECT, _FIRST = 0, 1, 2


class Status(IntEnum):
    """Where a row in a slot stands."""

    CLAIMED = 1  #: its handler has not started
    STARTED = 2  #: its handler is running
    RETURNED = 3  #: its handler has returned; to be marked done
    FAILED = 4  #: its handler has failed; to be settled as that
    RELEASED = 5  #: its handler will not be called; to be given back
    SETTLED = 6  #: PostgreSQL knows what became of it
    FOUND_DEAD = 7  #: an earlier run of it died, which is to be charged; its handler will not be called


_CLAIMED, _FOUND_DEAD = bytes((Status.CLAIMED,)), bytes((Status.FOUND_DEAD,))


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a slot says of the process that has it, or had it."""

    slot: int
    pid: int
    claim: int
    group: str
    rows: Sequence[tuple[UUID, Status]]
    #: How the FAILED row failed.
    error: str

    def ids(self, *statuses: Status) -> list[UUID]:
        """The rows that stand at one of *statuses*."""
        return [id for id, status in self.rows if status in statuses]


class Slots:
    """The table of one worker: made by its main process, shared with the children that it forks."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE + MOST * _SLOT_BYTES)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process lives: closing drops its locks
        self._lock = threading.Lock()
        self._suspect_lock = threading.Lock()
        self._spare: list[Slot] = []
        #: How long handlers ran, as each slot has counted it.
        self.timings = Timings(MOST)
        os.register_at_fork(after_in_child=self._after_fork)

    @property
    def is_stopping(self) -> bool:
        """Whether the worker was told to stop: what has not started is given back."""
        return self._memory[0] == 1

    def stop(self) -> None:
        """Tell all processes of the worker that it stops."""
        self._memory[0] = 1

    def take(self) -> "Slot":
        """A slot that nobody uses; the calling process's until it ends."""
        with self._lock:
            return self._spare.pop() if self._spare else self._take_new()

    def put_back(self, slot: "Slot") -> None:
        """Let another slice of this process have *slot*, which holds nothing."""
        slot.clear()
        with self._lock:
            self._spare.append(slot)

    def list_accounts(self) -> list[Account]:
        """What all slots that are taken say; those of dead processes among them."""
        return [account for number in range(MOST) if (account := self._read(number)) is not None]

    def reread(self, account: Account) -> Account:
        """What the slot of *account* says now."""
        return self._read(account.slot) or account

    def is_dead(self, account: Account) -> bool:
        """Whether the process of *account* has ended."""
        if account.pid == os.getpid():
            return False
        if not self._try_lock(_FIRST + account.slot):
            return False
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _FIRST + account.slot)
        return True

    def release(self, account: Account) -> None:
        """Free the slot of *account*, of which everything is settled."""
        _HEAD.pack_into(self._memory, _offset(account.slot), 0, 0, 0, 0, 0)

    def begin_suspect(self) -> bool:
        """Take the right to run a suspect, which one thread of one process of the worker has at a time; False if it is taken."""
        if not self._suspect_lock.acquire(blocking=False):
            return False
        if self._try_lock(_SUSPECT):
            return True
        self._suspect_lock.release()
        return False

    def end_suspect(self) -> None:
        """Give back the right that `begin_suspect` gave."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _SUSPECT)
        self._suspect_lock.release()

    def _take_new(self) -> "Slot":
        with self._taking():
            for number in range(MOST):
                at = _offset(number)
                if _HEAD.unpack_from(self._memory, at)[0] == 0 and self._try_lock(_FIRST + number):
                    _HEAD.pack_into(self._memory, at, os.getpid(), 0, 0, 0, 0)
                    return Slot(self._memory, number, self.timings.timer(number))
        raise RuntimeError(f"all {MOST} slots of this worker are taken: start more workers with fewer processes each.")

    @contextlib.contextmanager
    def _taking(self) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _TAKING)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _TAKING)

    def _try_lock(self, byte: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError:
            return False
        return True

    def _read(self, number: int) -> Account | None:
        at = _offset(number)
        pid, claim, count, group_bytes, error_bytes = _HEAD.unpack_from(self._memory, at)
        if pid == 0:
            return None
        memory = self._memory
        rows = []
        for row in range(min(count, CAPACITY)):
            start = at + _ROWS_AT + row * _ROW_BYTES
            status = memory[start + 16]
            if status:
                rows.append((UUID(bytes=memory[start : start + 16]), Status(status)))
        return Account(
            slot=number,
            pid=pid,
            claim=claim,
            group=memory[at + _GROUP_AT : at + _GROUP_AT + group_bytes].decode(),
            rows=rows,
            error=memory[at + _ERROR_AT : at + _ERROR_AT + error_bytes].decode(errors="replace"),
        )

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._suspect_lock = threading.Lock()
        self._spare = []


class Slot:
    """One process's part of the table, or one thread's: what it holds under one claim at a time."""

    def __init__(self, memory: mmap.mmap, number: int, timer: Timer) -> None:
        self._memory = memory
        self.timer = timer
        self._at = _offset(number)

    def expect(self, group: str, claim: int) -> None:
        """Note that rows of *group* are about to be claimed under *claim*, before anybody can hold them."""
        name = group.encode()
        self._memory[self._at + _GROUP_AT : self._at + _GROUP_AT + len(name)] = name
        _HEAD.pack_into(self._memory, self._at, os.getpid(), claim, 0, len(name), 0)

    def hold(self, event_ids: Sequence[UUID], *, found_dead: Container[UUID] = ()) -> None:
        """Note the rows that were claimed, each of them CLAIMED or FOUND_DEAD."""
        start = self._at + _ROWS_AT
        text = b"".join([id.bytes + (_FOUND_DEAD if id in found_dead else _CLAIMED) for id in event_ids])
        self._memory[start : start + len(text)] = text
        pid, claim, _, name, error = _HEAD.unpack_from(self._memory, self._at)
        _HEAD.pack_into(self._memory, self._at, pid, claim, len(event_ids), name, error)

    def set(self, row: int, status: Status) -> None:
        """Note how the *row*-th of them stands."""
        self._memory[self._at + _ROWS_AT + row * _ROW_BYTES + 16] = status

    def fail(self, row: int, error: str) -> None:
        """Note that the *row*-th has failed, and how, for the case that nobody lives to settle it."""
        text = error.encode()[:_ERROR_BYTES]
        self._memory[self._at + _ERROR_AT : self._at + _ERROR_AT + len(text)] = text
        pid, claim, count, name, _ = _HEAD.unpack_from(self._memory, self._at)
        _HEAD.pack_into(self._memory, self._at, pid, claim, count, name, len(text))
        self.set(row, Status.FAILED)

    def clear(self) -> None:
        """Note that nothing is held."""
        _HEAD.pack_into(self._memory, self._at, os.getpid(), 0, 0, 0, 0)


def _offset(number: int) -> int:
    return mmap.PAGESIZE + number * _SLOT_BYTES
