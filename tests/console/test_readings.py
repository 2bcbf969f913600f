"""Readings: one look at the bus serves all who ask at once, and a dear one is waited for by nobody."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from eventbus.console import readings
from eventbus.console.readings import Reading
from eventbus.errors import DatabaseBusy, DatabaseUnreachable
from tests.console.client import Client
from tests.console.seed import Seed
from tests.support import wait_until


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Count:
    """Something that is read: how often, and only when it may go on."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.reads = 0
        self.cost = 0.0
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.began = 0

    def __call__(self) -> int:
        self.began += 1
        self.gate.wait(10)
        self.clock.now += self.cost
        if self.error is not None:
            raise self.error
        self.reads += 1
        return self.reads


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def count(clock: Clock) -> Count:
    return Count(clock)


@pytest.fixture
def reading(clock: Clock, count: Count) -> Reading[int]:
    return Reading(count, clock=clock)


def test_all_who_ask_at_once_get_one_look(reading: Reading[int], count: Count) -> None:
    """However many pages are open."""
    count.gate.clear()
    with ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(reading.take) for _ in range(20)]
        count.gate.set()
        values = [each.result() for each in asked]

    assert (values, count.reads) == ([1] * 20, 1)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cheap by the clock that a test sets is waited for, however busy the machine is."""
    monkeypatch.setattr(readings, "_PATIENCE_SECONDS", 10.0)


def test_it_looks_again_after_a_second(patient: None, reading: Reading[int], clock: Clock) -> None:
    """A cheap one is waited for, so that it is new."""
    assert [reading.take(), reading.take()] == [1, 1]

    clock.now += 1.01

    assert reading.take() == 2


def test_a_dear_one_is_waited_for_by_nobody(reading: Reading[int], count: Count, clock: Clock) -> None:
    """It is read beside the requests, and the less often the more it costs."""
    count.cost = 0.5
    assert reading.take() == 1
    clock.now += 9
    assert (reading.take(), count.reads) == (1, 1)

    clock.now += 2
    count.gate.clear()
    old = reading.take()
    count.gate.set()
    wait_until(lambda: count.reads == 2, message="the look beside the request")

    assert old == 1
    assert wait_until(lambda: reading.take() == 2)


def test_a_change_is_seen_by_whoever_looks_next(reading: Reading[int], count: Count) -> None:
    """Also one that happens while somebody looks."""
    assert reading.take() == 1
    reading.forget()
    assert wait_until(lambda: reading.take() == 2)

    count.gate.clear()
    reading.forget()
    reading.take()
    wait_until(lambda: count.began == 3, message="the look that nobody waits for")
    reading.forget()
    count.gate.set()
    wait_until(lambda: count.reads == 3, message="the look that began before the change")

    assert wait_until(lambda: reading.take() == 4)


def test_a_failure_is_everybodys_until_it_is_over(
    patient: None, reading: Reading[int], count: Count, clock: Clock
) -> None:
    """Old numbers are not shown as if they were new."""
    assert reading.take() == 1
    clock.now += 2
    count.error = DatabaseUnreachable("away")
    for _ in range(2):
        with pytest.raises(DatabaseUnreachable):
            reading.take()

    count.error = None
    clock.now += 2

    assert reading.take() == 2


def test_one_that_does_not_end_is_said_so(reading: Reading[int], count: Count, clock: Clock) -> None:
    """What was read before it is not shown for ever, as if PostgreSQL still answered."""
    assert reading.take() == 1
    count.gate.clear()
    clock.now += 2
    assert reading.take() == 1

    clock.now += 16
    with pytest.raises(DatabaseBusy, match="has not answered for more than 15 s"):
        reading.take()
    count.gate.set()

    assert wait_until(lambda: count.reads == 2)


@pytest.mark.parametrize("error", [DatabaseUnreachable("away"), None])
def test_after_a_failure_it_looks_soon_again(count: Count, clock: Clock, error: Exception | None) -> None:
    """Also where a value says that the bus is away: what takes long then is the waiting, not the reading."""
    reading = Reading(count, clock=clock, is_failure=lambda value: value == 1)
    count.cost, count.error = 5.0, error
    with suppress(DatabaseUnreachable):
        assert reading.take() == 1

    clock.now += 2.1
    count.cost, count.error = 0.0, None

    assert wait_until(lambda: _value(reading) == (1 if error else 2))


def test_an_error_does_not_grow(reading: Reading[int], count: Count) -> None:
    """Each who looks gets it as it was."""
    count.error = DatabaseUnreachable("away")

    lengths = set()
    for _ in range(3):
        with pytest.raises(DatabaseUnreachable) as raised:
            reading.take()
        lengths.add(len(raised.traceback))

    assert len(lengths) == 1


def _value(reading: Reading[int]) -> int | None:
    try:
        return reading.take()
    except DatabaseUnreachable:
        return None


def test_nothing_is_a_value(clock: Clock) -> None:
    """Such as the depths of a broker that is away."""
    assert Reading(lambda: None, clock=clock).take() is None


@pytest.mark.parametrize("fails", [False, True])
def test_a_page_shows_what_was_just_changed(
    own_seed: Seed, own_client: Client, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    """However long what is read would be kept, and even if the change ended in an error: a part of it may have been made."""
    monkeypatch.setattr(readings, "_FRESH_SECONDS", 600.0)
    page = own_client.text("/groups/analytics")
    assert ">paused<" in own_client.text("/groups")
    resume_group = own_seed.bus.resume_group

    def resume_and_fail(group: str) -> bool:
        resume_group(group)
        raise DatabaseBusy("a lock was waited for in vain.")

    if fails:
        monkeypatch.setattr(own_seed.bus, "resume_group", resume_and_fail)
    answer = own_client.submit(page, "/groups/analytics/resume")

    assert answer.status_code == (503 if fails else 200)
    wait_until(lambda: ">paused<" not in own_client.text("/groups"), message="the change to be shown")
