"""`eventbus tail`: events as they happen, for people and for programs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
import pytest

from eventbus import EventBus
from eventbus.cli import main
from eventbus.embedded import EmbeddedValkey
from eventbus.embedded.server import free_port
from tests.integration.conftest import MakeBus
from tests.support.workers import ROOT

SECONDS = 30
COMMAND = [sys.executable, "-c", "from eventbus.cli import main; main()", "tail"]


@pytest.fixture
def variables(environment: dict[str, str]) -> dict[str, str]:
    """The environment of the command, which must not depend on Python's own wish to buffer nothing."""
    given = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**given, **environment, "PYTHONPATH": str(ROOT), "TERM": "xterm"}


@contextmanager
def tailing(pattern: str, variables: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """`eventbus tail` in a pipe, listening."""
    child = subprocess.Popen(
        [*COMMAND, pattern], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with child:
        try:
            assert child.stderr is not None
            assert child.stderr.readline() == f"listening to {pattern}; Ctrl-C ends it.\n"
            yield child
        finally:
            child.kill()


def test_a_program_gets_each_event_as_a_line_at_once(
    make_bus: MakeBus, variables: dict[str, str], valkey: EmbeddedValkey
) -> None:
    """One JSON object a line, not held back in a buffer; what else is to be said goes to standard error; Ctrl-C is 130."""
    bus = make_bus(realtime_url=valkey.url)
    with tailing("order.*", {**variables, "EVENTBUS_REALTIME_URL": valkey.url}) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        bus.publish("user.created", 1, source="tests")
        for data in ("ü\n", None):
            event = bus.publish("order.created", data, source="tests")
            assert json.loads(child.stdout.readline()) == event.as_json()

        valkey.restart()
        assert child.stderr.readline().startswith(f"eventbus: realtime_lost where={valkey.url} reason=")
        assert child.stderr.readline().startswith(f"eventbus: realtime_back where={valkey.url} seconds_not_heard=")

        child.send_signal(signal.SIGINT)
        child.wait(timeout=SECONDS)
        # Not by communicate(), which would pass over what was read ahead.
        assert child.stdout.read() == ""
        assert child.stderr.read().strip() == "eventbus: interrupted."
        assert child.returncode == 130


def test_a_reader_that_has_seen_enough_is_no_error(bus: EventBus, variables: dict[str, str]) -> None:
    """`eventbus tail … | head -1` ends with the next event, and says nothing."""
    with tailing("order.*", variables) as child:
        assert child.stdout is not None
        child.stdout.close()
        bus.publish("order.created", 1, source="tests")

        assert child.wait(SECONDS) == 0
        assert child.stderr is not None
        assert child.stderr.read() == ""


def test_a_person_gets_lines_that_fit(bus: EventBus, variables: dict[str, str]) -> None:
    """Time, type, id, source and data, cut at the edge; what would command the terminal is shown instead."""
    child: pexpect.spawn[str] = pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], "order.#"],
        env={key: value for key, value in variables.items() if key != "COLUMNS"},
        encoding="utf-8",
        timeout=SECONDS,
        dimensions=(24, 120),
    )
    child.expect_exact("listening to order.#")
    child.expect_exact("\n")
    event = bus.publish("order.created", "\x9b2J" + "x" * 500, source="shop")
    child.expect_exact("\n")
    line = (child.before or "").rstrip("\r")
    child.sendintr()
    child.expect_exact("interrupted")
    child.expect(pexpect.EOF)
    child.close()

    assert line.startswith(
        f"{event.created_at.isoformat(timespec='seconds')}  order.created  {event.id}  shop  " + '"\\x9b2Jxx'
    )
    assert (len(line), line[-1]) == (120, "…")
    assert child.exitstatus == 130


def test_json_on_request(bus: EventBus, variables: dict[str, str]) -> None:
    """--json is for terminals too."""
    child: pexpect.spawn[str] = pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], "#", "--json"], env=variables, encoding="utf-8", timeout=SECONDS
    )
    child.expect_exact("listening to #")
    child.expect_exact("\n")
    event = bus.publish("order.created", {}, source="shop")
    child.expect_exact("\n")
    line = child.before or ""
    child.close(force=True)

    assert json.loads(line) == event.as_json()


@pytest.mark.parametrize(
    ("setting", "pattern", "code", "said"),
    [
        (None, "order.#.x", 2, "eventbus: 'order.#.x' is not a pattern: '#' may only be its last word"),
        (("REALTIME", "off"), "#", 2, "EVENTBUS_REALTIME is off"),
        (("REALTIME_URL", f"redis://127.0.0.1:{free_port()}"), "#", 4, "cannot be listened to"),
    ],
)
def test_what_cannot_be_listened_to_ends_at_once(
    environment: dict[str, str],
    setting: tuple[str, str] | None,
    pattern: str,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the exit code of its kind, and one sentence."""
    if setting:
        monkeypatch.setenv(f"EVENTBUS_{setting[0]}", setting[1])

    with pytest.raises(SystemExit) as ended:
        main(["tail", pattern])

    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (code, "")
    assert said in printed.err
    assert printed.err.count("\n") == 1
