"""What the tests stand on: conditions that are waited for, and tests that say when they were not run."""

from collections.abc import Callable

import pytest

from tests.support import wait_until
from tests.support.requirements import REQUIREMENTS, closing_lines, missing_key, require


class Item:
    """A test with one marker."""

    def __init__(self, marker: str, config: object) -> None:
        self.marker = marker
        self.config = config

    def get_closest_marker(self, name: str) -> bool:
        """Whether the test has the marker."""
        return name == self.marker


class Config:
    """What pytest keeps for a run."""

    def __init__(self) -> None:
        self.stash = pytest.Stash()


@pytest.fixture
def item(monkeypatch: pytest.MonkeyPatch) -> Item:
    """A test that needs a browser on a machine without one."""
    monkeypatch.setattr("tests.support.requirements.REQUIREMENTS", {"chromium": ("Chromium", lambda: False)})
    return Item("chromium", Config())


def test_waiting_ends_with_the_answer() -> None:
    """The first true answer is what the caller gets."""
    answers = iter([0, None, 3, 4])

    assert wait_until(lambda: next(answers)) == 3


@pytest.mark.parametrize("message", ["three rows", lambda: "three rows"])
def test_waiting_in_vain_says_for_what(message: str | Callable[[], str]) -> None:
    """A failed test names what did not come."""
    with pytest.raises(TimeoutError, match=r"0\.01 s: three rows \(last answer: \[\]\)"):
        wait_until(list, timeout=0.01, message=message)


def test_a_test_without_its_requirement_is_counted(item: Item, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than in CI the rest runs, and the gap is told."""
    monkeypatch.setenv("CI", "")

    for _ in range(2):
        with pytest.raises(pytest.skip.Exception, match="needs Chromium"):
            require(item)

    assert item.config.stash[missing_key] == {"Chromium": 2}
    assert closing_lines(item.config) == ["NOT RUN: 2 tests need Chromium"]


def test_a_test_without_its_requirement_fails_in_ci(item: Item, monkeypatch: pytest.MonkeyPatch) -> None:
    """CI must have it all."""
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="needs Chromium"):
        require(item)


def test_a_run_that_missed_nothing_closes_with_nothing() -> None:
    """No line means no gap."""
    assert closing_lines(Config()) == []


def test_every_requirement_is_a_marker(pytestconfig: pytest.Config) -> None:
    """A marker that is misspelt here would never hold a test back."""
    markers = {line.partition(":")[0] for line in pytestconfig.getini("markers")}

    assert set(REQUIREMENTS) <= markers
