"""What the tests stand on: conditions that are waited for, and tests that say when they were not run."""

import fcntl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import wait_until
from tests.support.alone import MARKER, room
from tests.support.requirements import REQUIREMENTS, closing_lines, require


class Item:
    """A test with one marker; also the report of its end."""

    def __init__(self, marker: str) -> None:
        self.marker = marker
        self.user_properties: list[tuple[str, object]] = []

    def get_closest_marker(self, name: str) -> bool:
        """Whether the test has the marker."""
        return name == self.marker


@pytest.fixture
def item(monkeypatch: pytest.MonkeyPatch) -> Item:
    """A test that needs a browser on a machine without one."""
    monkeypatch.setattr("tests.support.requirements.REQUIREMENTS", {"chromium": ("Chromium", lambda: False)})
    return Item("chromium")


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

    with pytest.raises(pytest.skip.Exception, match="needs Chromium"):
        require(item)

    assert closing_lines([item]) == ["NOT RUN: 1 test needs Chromium"]
    assert closing_lines([item, item]) == ["NOT RUN: 2 tests need Chromium"]


def test_a_test_without_its_requirement_fails_in_ci(item: Item, monkeypatch: pytest.MonkeyPatch) -> None:
    """CI must have it all."""
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="needs Chromium"):
        require(item)


def test_a_run_that_missed_nothing_closes_with_nothing() -> None:
    """No line means no gap."""
    assert closing_lines([]) == []


def test_every_requirement_is_a_marker(pytestconfig: pytest.Config) -> None:
    """A marker that is misspelt here would never hold a test back."""
    markers = {line.partition(":")[0] for line in pytestconfig.getini("markers")}

    assert set(REQUIREMENTS) <= markers


def test_a_test_that_measures_time_runs_alone(tmp_path: Path) -> None:
    """It waits for those who run, and those who come meanwhile wait for it."""
    order: list[str] = []
    entered = threading.Barrier(2)

    def measure() -> None:
        with room(Item(MARKER), tmp_path):
            order.append("alone")

    def other(name: str) -> None:
        with room(Item("other"), tmp_path):
            entered.wait(10)
            order.append(name)

    with ThreadPoolExecutor() as threads:
        with room(Item("other"), tmp_path):
            alone = threads.submit(measure)
            wait_until(lambda: is_locked(tmp_path / "door"))
            others = [threads.submit(other, name) for name in ("one", "two")]
            order.append("first")
        for run in (alone, *others):
            run.result(10)

    assert order[:2] == ["first", "alone"]
    assert sorted(order[2:]) == ["one", "two"]


def is_locked(path: Path) -> bool:
    """Whether somebody holds the file."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
