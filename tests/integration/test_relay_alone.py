"""`eventbus relay` and `eventbus stats --watch`: commands that go on until Ctrl-C."""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pexpect
import pytest

from eventbus import EventBus
from eventbus.embedded.server import free_port
from tests.integration.conftest import Run
from tests.support.rows import Rows
from tests.support.waiting import wait_until
from tests.support.workers import ROOT

Messages = Callable[[str], list[dict[str, Any]]]
PAST = "UPDATE eventbus.delivery SET due_at = now() - interval '1 s'"


@pytest.fixture
def owed(bus: EventBus, rows: Rows, redis_client: Any, prefix: str) -> EventBus:
    """Two groups with a due delivery each, of which nobody was told; one is paused."""
    for group in ("stock", "mail"):
        bus.subscribe("order.*", group=group, handler=lambda event: None)
    bus.sync()
    bus.publish("order.created", {}, source="tests")
    bus.pause_group("mail")
    for group in ("stock", "mail"):
        redis_client.delete(f"{prefix}.{group}")
    rows.all(PAST)
    return bus


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., "pexpect.spawn[str]"]]:
    """A function that starts a command on a terminal."""
    started: list[pexpect.spawn[str]] = []

    def call(*arguments: str) -> "pexpect.spawn[str]":
        variables = {**os.environ, **environment, "TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
        words = ["-c", "from eventbus.cli import main; main()", *arguments]
        child = pexpect.spawn(sys.executable, words, env=variables, encoding="utf-8", timeout=30)  # type: ignore[arg-type]
        started.append(child)
        return child

    yield call
    for child in started:
        child.close(force=True)


def end(child: "pexpect.spawn[str]") -> int | None:
    """Ctrl-C, and the exit code."""
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


def test_a_relay_wakes_who_is_owed_something(owed: EventBus, messages: Messages, rows: Rows) -> None:
    """Up to the length of a queue, and never a paused group; what was sent is counted."""
    owed.relay()
    owed.relay()
    owed.settle_orphans()

    assert (len(messages("stock")), len(messages("mail"))) == (1, 0)
    assert rows.all("SELECT group_name, wake_ups FROM eventbus.repair") == [("stock", 1)]


def test_the_relay_goes_on_until_it_is_interrupted(
    owed: EventBus, messages: Messages, rows: Rows, start: Callable[..., "pexpect.spawn[str]"]
) -> None:
    """It needs no worker."""
    child = start("relay")
    child.expect("relaying; Ctrl-C ends it.")
    wait_until(lambda: messages("stock"), message="a wake-up")
    owed.resume_group("mail")
    wait_until(lambda: messages("mail"), message="a wake-up of the group that goes on")

    assert end(child) == 0


def test_a_relay_that_cannot_begin_says_why(
    owed: EventBus, run_here: Run, environment: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is away from the start is an error."""
    monkeypatch.setenv("EVENTBUS_BROKER_URL", f"redis://127.0.0.1:{free_port()}/0")

    assert run_here("relay").returncode == 4


def test_numbers_can_be_watched(owed: EventBus, start: Callable[..., "pexpect.spawn[str]"]) -> None:
    """They come anew every two seconds."""
    child = start("stats", "--watch")
    child.expect(r"type +order\.created +1 ")
    owed.publish("order.created", {}, source="tests")
    child.expect(r"type +order\.created +2 ")

    assert end(child) == 0
