"""Deliveries: one event for one group, the states it passes through, and what its handler may know of it.

pending ─▶ running ─▶ done
   ▲         │ ├────▶ retrying ─▶ running ...
 parked      │ └────▶ dead ──(retry)──▶ pending
             └──▶ (given back) pending       skipped, cancelled: never run, or never again
"""

from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from eventbus.event import Event


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"  #: never tried, or as if never
    RUNNING = "running"  #: claimed by a worker
    RETRYING = "retrying"  #: tried, and to be tried again
    PARKED = "parked"  #: its version is beyond the code that asked for it
    DONE = "done"  #: handled
    DEAD = "dead"  #: given up; an open dead letter says why
    SKIPPED = "skipped"  #: replayed to a subscription that opts out
    CANCELLED = "cancelled"  #: unsubscribed, or its dead letter was discarded


OPEN_STATES = (State.PENDING, State.RUNNING, State.RETRYING, State.PARKED)
FINAL_STATES = (State.DONE, State.DEAD, State.SKIPPED, State.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a handler may know of the delivery it runs for: ask for it with a parameter named ``delivery``."""

    group: str
    #: 1 for the first run.
    attempt: int
    #: The replay that caused this run, or None.
    replay: UUID | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """The handler's run that the current code is part of."""

    event: Event
    delivery: Delivery
    #: The SQLAlchemy session that the handler took, or None.
    session: Any = None


_current: ContextVar[Run | None] = ContextVar("eventbus_run", default=None)


def current_run() -> Run | None:
    """The run of the handler that called, directly or not; None outside of one."""
    return _current.get()


class running(AbstractContextManager[None]):  # noqa: N801 - used as a function
    """Make *run* the current one within the block. A class: a generator would cost each run several calls more."""

    __slots__ = ("_run", "_token")

    def __init__(self, run: Run) -> None:
        self._run = run

    def __enter__(self) -> None:
        self._token = _current.set(self._run)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
