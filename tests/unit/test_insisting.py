"""Insisting: what settles something is repeated until PostgreSQL has done it."""

import logging

import pytest

from eventbus.errors import DatabaseBusy, DatabaseUnreachable
from eventbus.lifecycle.insisting import insist


class Action:
    """Fails so often, then returns."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return "settled"


def test_what_works_is_done_once() -> None:
    """And nothing is said of it."""
    action = Action()

    result = insist(action, give_up=lambda seconds: True)

    assert (result, action.calls) == ("settled", 1)


def test_what_the_database_refuses_is_repeated(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever its reason; said once, however often it takes."""
    action = Action(DatabaseUnreachable("away"), DatabaseBusy("locked"))

    result = insist(action, give_up=lambda seconds: False)

    assert (result, action.calls) == ("settled", 3)
    assert [record.message for record in caplog.records] == ["settlement_repeated"]


def test_who_insists_may_give_up(caplog: pytest.LogCaptureFixture) -> None:
    """It is asked after each failure, with the time that has passed."""
    passed: list[float] = []

    def give_up(seconds: float) -> bool:
        passed.append(seconds)
        return len(passed) == 2

    with caplog.at_level(logging.WARNING), pytest.raises(DatabaseUnreachable, match="still away"):
        insist(Action(DatabaseUnreachable("away"), DatabaseUnreachable("still away")), give_up=give_up)

    assert 0 <= passed[0] < passed[1]
    assert [record.message for record in caplog.records] == ["settlement_repeated", "settlement_given_up"]


def test_between_two_attempts_it_waits_longer_each_time() -> None:
    """A database in trouble is not helped by all workers asking it without a pause."""
    passed: list[float] = []

    insist(Action(*[DatabaseBusy("locked")] * 3), give_up=lambda seconds: passed.append(seconds) or False)  # type: ignore[func-returns-value]

    first, second, third = passed
    assert second - first >= 0.05
    assert third - second >= 0.1


def test_a_fault_of_another_kind_is_not_repeated() -> None:
    """It would fail for ever."""
    action = Action(ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        insist(action, give_up=lambda seconds: False)

    assert action.calls == 1
