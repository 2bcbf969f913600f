"""Duties: threads that do one thing over and over, whatever goes wrong."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from eventbus.errors import BrokerUnreachable, DatabaseUnreachable
from eventbus.worker.duties import Duty
from tests.support.waiting import wait_until

SOON = timedelta(milliseconds=1)
StartDuty = Callable[..., Duty]


@pytest.fixture
def start() -> Iterator[StartDuty]:
    """A function that starts a duty; it ends with the test."""
    started: list[Duty] = []

    def begin(action: Callable[[], None], period: timedelta = SOON) -> Duty:
        duty = Duty("tests", action, period=period)
        started.append(duty)
        duty.start()
        return duty

    yield begin
    for duty in started:
        duty.stop(timeout_seconds=10)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged."""
    return [record.message for record in caplog.records]


def test_a_duty_is_done_over_and_over_until_it_is_stopped(start: StartDuty) -> None:
    """And what is being done then is done to its end."""
    done: list[int] = []
    duty = start(lambda: done.append(1))
    wait_until(lambda: len(done) >= 3)

    duty.stop(timeout_seconds=10)

    assert not duty._thread.is_alive()


def test_a_duty_whose_server_was_away_is_done_again_sooner() -> None:
    """And at its usual pace once it has been done."""
    done: list[int] = []

    def fail_twice() -> None:
        done.append(1)
        if len(done) < 3:
            raise DatabaseUnreachable("away")

    duty = Duty("tests", fail_twice, period=timedelta(hours=1), again=SOON)
    duty.start()
    wait_until(lambda: len(done) == 3)
    duty.stop(timeout_seconds=10)

    assert len(done) == 3


def test_a_duty_rests_for_its_period_and_ends_at_once_all_the_same(start: StartDuty) -> None:
    """What asks a server asks it as often as is said, and a worker that stops need not wait for the next time."""
    done: list[int] = []
    duty = start(lambda: done.append(1), timedelta(hours=1))
    wait_until(lambda: done)

    duty.stop(timeout_seconds=10)

    assert not duty._thread.is_alive()
    assert done == [1]


def test_stopping_waits_for_what_is_being_done_but_not_for_ever(start: StartDuty) -> None:
    """A server that hangs must not keep a worker from its end."""
    entered, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        go_on.wait(30)

    duty = start(hang)
    entered.wait(10)

    duty.stop(timeout_seconds=0.01)
    hung = duty._thread.is_alive()
    go_on.set()
    duty.stop(timeout_seconds=10)

    assert hung
    assert not duty._thread.is_alive()


def test_a_process_ends_while_a_duty_of_it_hangs() -> None:
    """It was stopped in good order: what it waits for must not keep a worker from being replaced."""
    code = """
import threading
from datetime import timedelta
from eventbus.worker.duties import Duty

duty = Duty("tests", threading.Event().wait, period=timedelta(seconds=1))
duty.start()
duty.stop(timeout_seconds=0.01)
"""

    ended = subprocess.run([sys.executable, "-c", code], timeout=30, check=False)

    assert ended.returncode == 0


def test_a_duty_that_never_began_can_be_stopped() -> None:
    """A worker may end before its pool runs."""
    Duty("tests", lambda: None, period=SOON).stop(timeout_seconds=10)


@pytest.mark.parametrize("error", [DatabaseUnreachable("away"), BrokerUnreachable("away")])
def test_a_server_that_is_away_is_said_once_each_time_it_goes(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Not four times a second; another reason is said, too, and that it goes on."""
    other = type(error)("full")
    outcomes: Iterator[Exception | None] = iter([error, error, other, None, None, error])

    def act() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    duty = Duty("tests", act, period=SOON)
    said = []
    for _ in range(6):
        duty.do()
        said.append(len(caplog.records))

    assert said == [1, 1, 2, 3, 3, 4]
    assert messages(caplog) == ["duty_waits", "duty_waits", "duty_resumed", "duty_waits"]
    assert [vars(record).get("reason") for record in caplog.records] == ["away", "full", None, "away"]
    assert {vars(record)["duty"] for record in caplog.records} == {"tests"}


def test_a_duty_goes_on_after_any_fault(start: StartDuty, caplog: pytest.LogCaptureFixture) -> None:
    """If its thread ended, nobody would miss it until it is needed."""
    faults = [ZeroDivisionError(), DatabaseUnreachable("away")]
    done = threading.Event()

    def act() -> None:
        if faults:
            raise faults.pop(0)
        done.set()

    start(act)

    assert done.wait(10)
    wait_until(lambda: messages(caplog)[2:])
    assert messages(caplog) == ["duty_failed", "duty_waits", "duty_resumed"]
    assert "ZeroDivisionError" in caplog.text


def test_one_duty_does_not_wait_for_another(start: StartDuty) -> None:
    """Leases are renewed while the relay hangs at its broker."""
    go_on, done = threading.Event(), threading.Event()
    start(lambda: go_on.wait(30) and None)

    start(done.set)

    assert done.wait(10)
    go_on.set()
