"""People: they pause, replay, retry and discard dead letters, subscribe and unsubscribe, in the middle of it all."""

import contextlib
import random
from collections.abc import Callable
from functools import wraps

import psycopg2

from eventbus import EventBus
from eventbus.errors import EventBusError, UnknownGroup
from eventbus.storage import subscriptions
from tests.chaos.faults.fault import Fault, Strike, pause
from tests.chaos.stage import GROUPS, Stage

_NOW = "SELECT clock_timestamp()::text"


def _person(act: Callable[[Stage, random.Random, EventBus], None]) -> Strike:
    """Whoever finds a server away gives up, and says so."""

    @wraps(act)
    def strike(stage: Stage, chance: random.Random) -> None:
        try:
            with stage.operator() as bus:
                act(stage, chance, bus)
        except (EventBusError, psycopg2.OperationalError) as error:
            stage.notes.append(f"{act.__name__}: {type(error).__name__}")

    return strike


@_person
def pause_group(stage: Stage, chance: random.Random, bus: EventBus) -> None:
    """And resume it."""
    group = chance.choice(GROUPS)
    with bus.database.transaction() as connection:
        subscriptions.set_paused(connection, group, paused=True)
    pause(chance.uniform(0.5, 2))
    _insist(stage, lambda: _resume(bus, group))


@_person
def replay(stage: Stage, chance: random.Random, bus: EventBus) -> None:
    """The last seconds of a group, dead letters and what runs right now included."""
    bus.replay(
        "#", group=chance.choice(GROUPS), since=f"{chance.randint(2, 8)}s ago", include_dead=chance.random() < 0.5
    )


@_person
def retry_dead_letters(stage: Stage, chance: random.Random, bus: EventBus) -> None:
    """All of a group, perhaps while another operator discards them."""
    group = chance.choice(GROUPS)
    if chance.random() < 0.3:
        bus.discard_dead_letters(group=group, reason="chaos")
    bus.retry_dead_letters(group=group)


@_person
def receive_guest(stage: Stage, chance: random.Random, bus: EventBus) -> None:
    """A group subscribes, gets what is published meanwhile, and unsubscribes in the middle of it."""
    guest = stage.worker(f"guest{len(stage.visits)}-", ("guest",), CHAOS_GUEST="1")
    guest.start()
    try:
        with contextlib.suppress(TimeoutError, AssertionError):
            guest.wait_until_ready()
            with stage.rows() as rows:
                begin = rows.value(_NOW)
            pause(chance.uniform(1, 3))
            with stage.rows() as rows:
                stage.visits.append((begin, rows.value(_NOW)))
        _insist(stage, lambda: _remove(bus))
    finally:
        guest.end()
        # Its worker may have registered after it was removed, had it been slow.
        _insist(stage, lambda: _remove(bus))


def _resume(bus: EventBus, group: str) -> None:
    with bus.database.transaction() as connection:
        subscriptions.set_paused(connection, group, paused=False)


def _remove(bus: EventBus) -> None:
    with contextlib.suppress(UnknownGroup):
        bus.remove_group("guest")


def _insist(stage: Stage, act: Callable[[], None]) -> None:
    """Do what must be done even if PostgreSQL is away for a moment."""
    for _ in range(50):
        try:
            return act()
        except EventBusError:
            pause(0.2)
    stage.notes.append("an operator gave up")
    return None


FAULTS = (
    Fault(name="group paused", strike=pause_group, place="operators"),
    Fault(name="replay", strike=replay, place="operators"),
    Fault(name="dead letters retried", strike=retry_dead_letters, place="operators"),
    Fault(name="group subscribed and unsubscribed", strike=receive_guest, place="operators"),
)
