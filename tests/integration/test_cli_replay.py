"""`eventbus replay`: counted, asked for, watched, stopped, listed, resumed and cancelled, by people and by programs."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import pexpect
import pytest

from eventbus import EventBus
from eventbus.lifecycle.replay_planning import Asked
from tests.integration.conftest import Run
from tests.support import wait_until
from tests.support.replays import fill_log, put_all, states
from tests.support.rows import Rows
from tests.support.workers import ROOT

COMMAND = [sys.executable, "-c", "from eventbus.cli import main; main()", "replay"]
UUID_TEXT = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def handle(event: Any) -> None: ...


@pytest.fixture
def shop(bus: EventBus, rows: Rows, environment: dict[str, str]) -> EventBus:
    """A bus with one group that has handled three orders and missed forty."""
    bus.subscribe("order.#", group="shop", handler=handle)
    bus.sync()
    for _ in range(3):
        bus.publish("order.created", {}, source="tests")
    put_all(rows, "shop", "done")
    fill_log(rows, 40, type="order.paid")
    return bus


@pytest.fixture
def variables(environment: dict[str, str]) -> dict[str, str]:
    """What a command needs to know."""
    return {**os.environ, **environment, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "TERM": "xterm"}


@pytest.fixture
def run(run_here: Run, environment: dict[str, str]) -> Run:
    """A function that runs `eventbus replay ARGUMENTS` where nobody can be asked."""
    return partial(run_here, "replay")


class Terminal:
    """A command on a terminal."""

    def __init__(self, variables: dict[str, str], *arguments: str) -> None:
        self.child: pexpect.spawn[str] = pexpect.spawn(
            COMMAND[0],
            [*COMMAND[1:], *arguments],
            env=variables,
            cwd=str(ROOT),
            encoding="utf-8",
            timeout=30,
            dimensions=(40, 140),
        )

    def end(self) -> tuple[int | None, str]:
        """Wait for the end; the exit code, and what came before it."""
        self.child.expect(pexpect.EOF)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.child.before or "")
        self.child.close()
        return self.child.exitstatus, text


@pytest.fixture
def terminals(variables: dict[str, str]) -> Iterator[Any]:
    """A function that starts a command on a terminal; all are gone after the test."""
    started: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        terminal = Terminal(variables, *arguments)
        started.append(terminal)
        return terminal

    yield start
    for terminal in started:
        terminal.child.close(force=True)


def test_plan_counts_and_changes_nothing(shop: EventBus, rows: Rows, run: Run) -> None:
    """By outcome, for a person and for a program."""
    shown = run("plan", "order.*", "--group", "shop", "--since", "2h ago")
    read = run("plan", "order.*", "--group", "shop", "--json")

    assert shown.returncode == read.returncode == 0, shown.stderr + read.stderr
    assert shown.stdout.splitlines() == [
        "reset\t3\tended before, delivered again",
        "inserted\t40\tnever delivered to this group, delivered now",
        "43 deliveries to shop.",
    ]
    counts = {item["outcome"]: item["deliveries"] for item in map(json.loads, read.stdout.splitlines())}
    assert (counts["reset"], counts["inserted"], counts["left_dead"]) == (3, 40, 0)
    assert states(rows, "shop") == {"done": 3}
    assert rows.count("replay") == 0


def test_a_long_count_shows_on_a_terminal_that_it_goes_on(shop: EventBus, rows: Rows, terminals: Any) -> None:
    """And leaves nothing of that behind."""
    with rows.transaction() as cursor:
        cursor.execute("LOCK TABLE eventbus.event_log")
        terminal = terminals("plan", "order.*", "--group", "shop")
        terminal.child.expect("counting the events of the replay")
        terminal.child.expect("0:00:0[1-9]")

    code, text = terminal.end()

    assert (code, "43 deliveries to shop." in text) == (0, True)


def test_a_program_must_say_yes(shop: EventBus, rows: Rows, run: Run) -> None:
    """Where nobody can be asked nothing happens without it; with it, lines say how it goes."""
    silent = run("run", "#", "--group", "shop")
    willing = run("run", "#", "--group", "shop", "--yes")

    assert (silent.returncode, "pass --yes" in silent.stderr) == (2, True)
    assert willing.returncode == 0, willing.stderr
    assert willing.stdout.splitlines()[-1] == "43 deliveries to shop."
    assert re.search(r"^43 of 43 deliveries, \d+/s$", willing.stderr, re.MULTILINE)
    assert "\x1b" not in willing.stderr
    assert states(rows, "shop") == {"pending": 43}


def test_a_person_is_asked_and_shown_a_bar(shop: EventBus, rows: Rows, terminals: Any) -> None:
    """The exact count first; then how far it is, how fast, and how long it will take."""
    declined = terminals("run", "#", "--group", "shop")
    declined.child.expect(r"Deliver 43 events to shop\?")
    declined.child.sendline("n")
    code, text = declined.end()
    assert (code, "nothing was changed" in text) == (1, True)
    assert rows.count("replay") == 0

    agreed = terminals("run", "#", "--group", "shop", "--rate", "20")
    agreed.child.expect(r"Deliver 43 events to shop\?")
    agreed.child.sendline("y")
    code, text = agreed.end()
    assert code == 0, text
    assert re.search(r"replay to shop .*━.* 20/43 ", text)
    assert re.search(r"43/43 +[\d,]+/s", text)
    assert re.search(r"0:00:0\d", text)
    assert text.rstrip().endswith("43 deliveries to shop.")


def test_control_c_stops_between_batches_and_says_how_to_resume(
    shop: EventBus, rows: Rows, run: Run, terminals: Any
) -> None:
    """Exit 130; what it says is what one types."""
    running = terminals("run", "#", "--group", "shop", "--rate", "5", "--yes")
    wait_until(lambda: rows.value("SELECT count(*) FROM eventbus.delivery WHERE replay_id IS NOT NULL"), timeout=30)
    running.child.sendintr()
    code, text = running.end()

    assert code == 130, text
    found = re.search(
        rf"interrupted after (\d+) of 43 deliveries; go on with: eventbus replay resume ({UUID_TEXT})", text
    )
    assert found, text
    assert int(found[1]) % 5 == 0
    [listed] = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert (listed["id"], listed["state"], listed["seen"], listed["total"]) == (
        found[2],
        "interrupted",
        int(found[1]),
        43,
    )

    rows.all("UPDATE eventbus.replay SET rate = NULL")
    resumed = run("resume", found[2])
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == "43 deliveries to shop.\n"
    again = run("resume", found[2])
    assert (again.returncode, "is done" in again.stderr) == (2, True)


def test_control_c_in_a_pipe_does_the_same(shop: EventBus, rows: Rows, variables: dict[str, str]) -> None:
    """A script that is interrupted leaves a job that can be resumed."""
    process = subprocess.Popen(
        [*COMMAND, "run", "#", "--group", "shop", "--rate", "5", "--yes"],
        env=variables,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: rows.value("SELECT count(*) FROM eventbus.delivery WHERE replay_id IS NOT NULL"), timeout=30)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 130, errors
    assert re.search(r"deliveries, \d+/s, 0:00:\d\d left", errors)
    assert "eventbus replay resume" in errors
    assert rows.value("SELECT state FROM eventbus.replay") == "interrupted"


def test_cancel_stops_a_replay_of_another_process(shop: EventBus, rows: Rows, run: Run, terminals: Any) -> None:
    """There it says so, with exit 1; here the second time does."""
    running = terminals("run", "#", "--group", "shop", "--rate", "1", "--yes")
    wait_until(lambda: rows.value("SELECT count(*) FROM eventbus.delivery WHERE replay_id IS NOT NULL"), timeout=30)
    id = str(rows.value("SELECT id FROM eventbus.replay"))

    first, second = run("cancel", id), run("cancel", id)
    code, text = running.end()

    assert (first.returncode, first.stdout) == (0, f"replay {id} cancelled.\n")
    assert (second.returncode, second.stdout) == (1, f"replay {id} had ended before.\n")
    assert code == 1
    assert re.search(rf"replay {id} was cancelled after \d+ of 43 deliveries", text)


def test_the_list_shows_what_was_replayed(shop: EventBus, run: Run, terminals: Any) -> None:
    """A table for a person, lines for a program, nothing where there is nothing."""
    empty = run("list")
    shop.replay("order.created", group="shop", since="1h")
    planned = shop.replaying.create(shop.replaying.plan(Asked(group="shop", pattern="#")), rate=2.5)
    lines = run("list").stdout.splitlines()
    code, table = terminals("list").end()

    assert (empty.stdout, empty.stderr) == ("", "no replays.\n")
    assert [line.split("\t")[1] for line in lines] == ["planned", "done"]
    assert lines[0].startswith(str(planned.id))
    assert "order.created" in lines[1]
    assert code == 0
    assert "quiet seconds" in table.replace("\r\n", " ") or "quiet" in table


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("plan", "--group", "shop"), "pattern '#' replays the whole log"),
        (("plan", "#"), "Missing option '--group'"),
        (("plan", "#", "--group", "nobody"), "known groups are shop"),
        (("plan", "#", "--group", "shop", "--since", "2026-05-01T12:00:00"), "has no offset"),
        (("plan", "--group", "shop", "--event-id", "7"), "the ids of events"),
        (("run", "#", "--group", "shop", "--rate", "0", "--yes"), "rate=0"),
        (("resume", "7"), "is not a valid UUID"),
        (("resume", str(uuid4())), "does not exist"),
        (("cancel", str(uuid4())), "does not exist"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(shop: EventBus, run: Run, arguments: tuple[str, ...], says: str) -> None:
    """No traceback, nothing changed."""
    refused = run(*arguments)

    assert refused.returncode == 2
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr
