"""The command line: each command in a pipe and on a terminal, its questions, its output for programs, its exit codes."""

import json
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

import pexpect
import pytest

from eventbus import Event, EventBus
from eventbus.embedded.server import free_port
from eventbus.storage.revision import HEAD
from tests.integration.conftest import Run
from tests.support import wait_until
from tests.support.rows import Rows
from tests.support.workers import ROOT

SHOP = """
from celery import Celery
from eventbus import Event, EventBus

app = Celery("shop", include=["billing"])
bus = EventBus(app)

@bus.subscribe("order.created", group="inventory")
def reserve(event): pass
"""
BILLING = """
from shop import bus

@bus.subscribe("order.paid", group="billing")
def book(event): pass
"""
#: The shop after a deploy that wants all of an order.
WIDER = SHOP.replace('"order.created"', '"order.*"')
TERMINAL_SECONDS = 30

needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")

Terminal = Callable[..., "pexpect.spawn[str]"]


def command_line(*arguments: str) -> list[str]:
    """The command `eventbus ARGUMENTS`, installed or not."""
    return [sys.executable, "-c", "from eventbus.cli import main; main()", *arguments]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project's folder: an app, and a module that Celery includes."""
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "billing.py").write_text(BILLING)
    return tmp_path


@pytest.fixture
def variables(environment: dict[str, str]) -> dict[str, str]:
    """The environment of the commands."""
    return {**os.environ, **environment, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "200"}


@pytest.fixture
def run(folder: Path, variables: dict[str, str], run_here: Run) -> Run:
    """A function that runs `eventbus ARGUMENTS` in a pipe; what needs the folder's app, in a process of its own."""

    def call(*arguments: str, stdin: str = "", **settings: str) -> "subprocess.CompletedProcess[str]":
        if not settings and not {"-A", "worker"} & set(arguments):
            return run_here(*arguments, stdin=stdin)
        done = subprocess.run(
            command_line(*arguments),
            cwd=folder,
            env={**variables, **settings},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr + done.stdout
        return done

    return call


@pytest.fixture
def terminal(folder: Path, variables: dict[str, str]) -> Iterator[Terminal]:
    """A function that runs `eventbus ARGUMENTS` on a terminal."""
    started: list[pexpect.spawn[str]] = []

    def call(*arguments: str) -> "pexpect.spawn[str]":
        command, *rest = command_line(*arguments)
        child = pexpect.spawn(
            command,
            rest,
            cwd=str(folder),
            env=variables,
            encoding="utf-8",
            timeout=TERMINAL_SECONDS,
            dimensions=(50, 200),
        )
        started.append(child)
        return child

    yield call
    for child in started:
        child.close(force=True)


def finish(child: "pexpect.spawn[str]") -> tuple[int, str]:
    """The exit code of a command on a terminal, and what it printed since."""
    child.expect(pexpect.EOF)
    printed = child.before
    child.close()
    assert isinstance(printed, str)
    assert "Traceback" not in printed
    assert isinstance(child.exitstatus, int)
    return child.exitstatus, printed


@pytest.fixture
def subscribed(run: Run) -> None:
    """The shop's groups are subscribed."""
    assert run("-A", "shop", "sync").returncode == 0


@pytest.fixture
def letters(bus: EventBus, environment: dict[str, str], rows: Rows) -> list[int]:
    """Three dead letters: two of inventory, the last with a text that is up to something; one of billing."""
    made = []
    bus.subscribe("order.created", group="inventory", handler=take)
    bus.subscribe("order.paid", group="billing", handler=take)
    bus.sync()
    for type, group, error in (
        ("order.created", "inventory", "ValueError"),
        ("order.paid", "billing", "KeyError"),
        ("order.created", "inventory", "shop.Refused"),
    ):
        event = bus.publish(type, {"n": 1}, source="tests")
        made.append(bury(rows, str(event.id), type, group, error))
    return made


def take(event: Event) -> None:
    """Handle an event."""


def bury(rows: Rows, event_id: str, type: str, group: str, error: str) -> int:
    """Let a delivery be dead after two attempts; the id of its letter."""
    rows.all(
        "UPDATE eventbus.delivery SET state = 'dead', attempts = 2, finished_at = now() WHERE event_id = %s", event_id
    )
    letter = rows.value(
        "INSERT INTO eventbus.dead_letter (event_id, group_name, type, attempts, deaths, error_type, error_message, traceback,"
        " fingerprint) VALUES (%s, %s, %s, 2, 0, %s, %s, %s, 'abc') RETURNING id",
        *(event_id, group, type, error, "red \x1b[31m\ttabbed\nsecond line", "Trace of the handler \x1b[2J"),
    )
    for number in (1, 2):
        rows.all(
            "INSERT INTO eventbus.attempt (event_id, group_name, kind, number, error_type, error_message, dead_letter_id)"
            " VALUES (%s, %s, 'error', %s, %s, 'no', %s)",
            *(event_id, group, number, error, letter),
        )
    return int(letter)


# --- help -----------------------------------------------------------------------------------------------------------


def printed_by(script: str) -> str:
    """What *script* prints in a Python of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"]])
def test_help_imports_neither_celery_nor_sqlalchemy(arguments: list[str]) -> None:
    """It is there at once, also where they are not installed."""
    script = (
        "import sys\nfrom eventbus.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit as end: print('CODE', end.code)\n"
        "print('LOADED', sorted({name.partition('.')[0] for name in sys.modules}))"
    )

    said = printed_by(script)

    loaded = said.partition("LOADED")[2]
    assert "CODE 0" in said
    assert "'click'" in loaded
    assert not any(
        f"'{name}'" in loaded for name in ("celery", "kombu", "sqlalchemy", "psycopg2", "redis", "marshmallow")
    )


def test_only_migrate_imports_alembic() -> None:
    """It would make each other command start a fifth later."""
    script = (
        "import sys\nfrom importlib import import_module\nfrom eventbus.cli.app import COMMANDS\n"
        "for home in sorted({home.partition(':')[0] for home, _ in COMMANDS.values()}, key='eventbus.cli.migrate'.__eq__):\n"
        "    import_module(home)\n"
        "    print(home, 'alembic' in sys.modules)"
    )

    said = printed_by(script)

    loaded = dict(line.split() for line in said.splitlines())
    assert [home for home, has_alembic in loaded.items() if has_alembic == "True"] == ["eventbus.cli.migrate"]
    assert "eventbus.cli.sweep" in loaded


def test_every_command_has_help(run: Run) -> None:
    """Every command that the help lists explains itself; no arguments at all are a question for help, answered with 2."""
    listed = re.findall(r"^  (\w+) {2,}\S", run("--help").stdout.partition("Commands:")[2], re.MULTILINE)
    assert {"migrate", "sync", "worker", "sweep", "publish", "groups", "dead"} <= set(listed)
    for name in listed:
        done = run(name, "--help")
        assert (done.returncode, done.stdout.startswith(f"Usage: eventbus {name} ")) == (0, True)

    assert run().returncode == 2


@pytest.mark.parametrize("url", ["amqp://me:hush/hush@h//", "redis://h/0?socket_timeout=5"])
def test_a_worker_names_a_broker_that_celery_makes_nothing_of(run: Run, url: str) -> None:
    """Before Celery stumbles over it, with a part of the password; publishers may take an option that workers cannot."""
    done = run("-A", "shop", "worker", EVENTBUS_BROKER_URL=url)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("eventbus: EVENTBUS_BROKER_URL is ")
    assert "hush" not in done.stderr


@pytest.mark.parametrize(
    ("option", "settings", "words"),
    [
        ("--port=abc", {"FLOWER_DEBUG": "0"}, "'abc'"),
        ("--conf=/nowhere/conf.py", {"FLOWER_DEBUG": "0"}, "/nowhere/conf.py"),
        ("--debug=0", {"FLOWER_PORT": "abc"}, "'abc'"),
    ],
)
def test_what_flower_cannot_use_is_said(run: Run, option: str, settings: dict[str, str], words: str) -> None:
    """In one sentence, before it starts."""
    done = run("flower", option, **settings)

    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: Flower cannot use its options")
    assert words in last


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--prot=1"], "Flower has no option --prot: "),
        (["--port=5556", "--pass=hush"], "Flower has no option --pass: "),
        (["--debug", "hush"], "Flower takes options alone"),
    ],
)
def test_what_flower_does_not_know_is_refused(
    run: Run, caplog: pytest.LogCaptureFixture, given: list[str], said: str
) -> None:
    """It would ignore it, and start on a port, or with a password, that nobody meant."""
    caplog.set_level(logging.WARNING)  # and back to what it was: Flower sets it for the process
    done = run("flower", *given)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"eventbus: {said}")
    assert (done.stderr.count("\n"), "hush" in done.stderr) == (1, False)


def test_the_examples_in_the_help_are_correct(
    run: Run, folder: Path, variables: dict[str, str], rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them does what it says, typed as it stands; only those that start a worker are not run here."""
    shims = folder / "bin"
    shims.mkdir()
    quoted = "'from eventbus.cli import main; main()'"
    (shims / "eventbus").write_text(f'#!/bin/sh\nexec {sys.executable} -c {quoted} "$@"\n')
    (shims / "jq").write_text("#!/bin/sh\ncat order.json\n")
    for shim in shims.iterdir():
        shim.chmod(0o755)
    (folder / "order.json").write_text('{"orderId": "o-1"}')
    (folder / "orders.ndjson").write_text('{"type": "order.imported", "source": "import", "data": {}}')
    pages = [run(*name, "--help").stdout for name in ([], ["publish"], ["sync"], ["worker"], ["groups"], ["dead"])]
    examples = [line.strip() for page in pages for line in re.findall(r"^ {4}(\S.* .*)$", page, re.MULTILINE)]
    examples = [line for line in examples if re.match(r"eventbus |jq ", line)]
    assert len(examples) >= 6
    assert run("-A", "workers.app", "sync", PYTHONPATH=f"{ROOT}").returncode == 0
    monkeypatch.chdir(folder)
    for example in (line for line in examples if " worker " not in line):
        name, *arguments = shlex.split(example, comments=True)
        if name == "eventbus" and not {"|", "<", ">"} & set(arguments):
            done = run(*arguments)
        else:
            environment = {**variables, "PATH": f"{shims}:{variables['PATH']}"}
            done = subprocess.run(
                ["/bin/sh", "-c", example], env=environment, capture_output=True, text=True, timeout=60, check=False
            )
        assert done.returncode == 0, (example, done.stderr)

    assert rows.count("event_log") >= 2


# --- migrate, sync, sweep, worker -----------------------------------------------------------------------------------


def test_migrate_creates_the_tables_once(
    run: Run, terminal: Terminal, empty_database_url: str, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """The second time there is nothing to do; both are a success."""
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", empty_database_url)
    variables["EVENTBUS_DATABASE_URL"] = empty_database_url

    first, second = run("migrate"), run("migrate")

    assert (first.returncode, first.stdout) == (0, f"schema 'eventbus' upgraded from nothing to revision {HEAD}.\n")
    assert (second.returncode, second.stdout) == (0, f"schema 'eventbus' is at revision {HEAD} already.\n")
    assert finish(terminal("migrate"))[0] == 0


def test_sync_writes_what_the_app_declares(run: Run, terminal: Terminal) -> None:
    """Also what modules declare that Celery includes; twice makes no difference."""
    done = run("-A", "shop", "sync")

    assert done.returncode == 0
    assert done.stdout == (
        "billing  order.paid  billing.book\ninventory  order.created  shop.reserve\n"
        "2 subscriptions of 2 groups are in PostgreSQL.\n"
    )
    assert finish(terminal("-A", "shop", "sync"))[0] == 0
    assert len(run("groups", "list").stdout.splitlines()) == 2


def test_sync_replaces_on_request(subscribed: None, run: Run, folder: Path, rows: Rows) -> None:
    """A deploy that widens a pattern is refused, then let through: open deliveries go to what takes its place."""
    event_id = run("publish", "order.created", "{}", "--source", "tests").stdout.strip()
    (folder / "shop.py").write_text(WIDER)

    refused = run("-A", "shop", "sync")
    replaced = run("-A", "shop", "sync", "--replace")

    assert refused.returncode == 2
    assert "'order.*'" in refused.stderr
    assert "sync --replace" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert replaced.returncode == 0
    assert "inventory  order.*" in replaced.stdout
    (pattern,) = rows.one(
        "SELECT s.pattern FROM eventbus.delivery d JOIN eventbus.subscription s ON s.id = d.subscription_id"
        " WHERE event_id = %s",
        event_id,
    )
    assert pattern == "order.*"


def test_a_warning_is_shown_with_its_facts(subscribed: None, run: Run) -> None:
    """Which server, and what it said: the event is recorded, and nobody was told."""
    gone = f"redis://:hush@127.0.0.1:{free_port()}/0"

    done = run("publish", "order.created", "{}", "--source", "tests", EVENTBUS_BROKER_URL=gone)
    paused = run("groups", "pause", "inventory", EVENTBUS_BROKER_URL=gone)

    assert (done.returncode, len(done.stdout.split())) == (0, 1)
    assert re.search(r"^eventbus: wake_up_failed .*server=broker reason=the broker at redis://", done.stderr)
    assert "hush" not in done.stderr
    assert (paused.returncode, paused.stderr) == (0, "")


def test_sweep_says_whom_it_woke(subscribed: None, run: Run, terminal: Terminal) -> None:
    """A line for each group that had due deliveries."""
    run("publish", "order.created", "{}", "--source", "tests")

    done = run("sweep")

    assert (done.returncode, done.stdout) == (0, "inventory  1\n1 wake-ups sent to 1 groups.\n")
    assert "1 wake-ups sent" in finish(terminal("sweep"))[1]


@pytest.mark.parametrize(
    ("group", "words"),
    [("nobody", ["'nobody'", "billing, inventory"]), ("No Body", ["'No Body'", "is not a group name"])],
)
def test_a_worker_for_an_unknown_group_does_not_start(run: Run, group: str, words: list[str]) -> None:
    """The app's groups are named."""
    done = run("-A", "shop", "worker", group)

    assert done.returncode == 2
    assert all(word in done.stderr for word in words)


def test_a_worker_that_would_read_another_broker_does_not_start(run: Run) -> None:
    """It would wait for ever for what is written elsewhere."""
    done = run("-A", "shop", "worker", "inventory", CELERY_BROKER_URL="redis://:hush@127.0.0.1:1/3")

    assert done.returncode == 2
    assert "Celery's is redis://:***@127.0.0.1:1/3, so no worker would hear of an event" in done.stderr
    assert "hush" not in done.stderr


def test_a_worker_that_would_run_too_many_handlers_does_not_start(run: Run) -> None:
    """What it could not give a slot to would fail, one message after the other."""
    done = run("-A", "shop", "worker", "inventory", "-c", "513", "-P", "threads")

    assert done.returncode == 2
    assert "--concurrency 513: a worker runs at most 512 handlers at once; start several workers." in done.stderr


def test_a_worker_without_its_servers_does_not_start(run: Run) -> None:
    """Exit code 4 and one sentence when PostgreSQL is down; 2 when a setting is missing."""
    gone = f"postgresql://u:hush@127.0.0.1:{free_port()}/db"

    down = run("-A", "shop", "worker", "inventory", EVENTBUS_DATABASE_URL=gone)
    missing = run("-A", "shop", "worker", "inventory", EVENTBUS_DATABASE_URL="")

    assert (down.returncode, missing.returncode) == (4, 2)
    assert "cannot be reached" in down.stderr
    assert "hush" not in down.stderr + down.stdout
    assert "EVENTBUS_DATABASE_URL is not set" in missing.stderr


def test_a_worker_on_a_terminal_ends_with_ctrl_c(terminal: Terminal) -> None:
    """Celery's options pass through; Ctrl-C is Celery's warm shutdown."""
    child = terminal("-A", "shop", "worker", "inventory", "-c", "1", "-l", "INFO", "--without-mingle")
    child.expect(r" ready\.")

    child.sendintr()

    child.expect("Warm shutdown")
    assert finish(child)[0] == 0


# --- publish --------------------------------------------------------------------------------------------------------


def test_publish_prints_the_id_and_nothing_else(run: Run, terminal: Terminal, rows: Rows) -> None:
    """From an argument, from a pipe, from a terminal."""
    argument = run("publish", "order.created", '{"n": 1.50}', "--source", "tests", "--correlation-id", "story")
    piped = run("publish", "order.created", "-", "--source", "tests", stdin='{"n": "ü"}')
    unnamed = run("publish", "order.created", "--source", "tests", stdin="[]")
    typed = finish(terminal("publish", "order.created", "{}", "--source", "tests"))

    for done in (argument, piped, unnamed):
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{UUID(done.stdout.strip())}\n"
    assert typed[0] == 0
    UUID(typed[1].strip())
    data = rows.all("SELECT data, metadata ->> 'correlation_id' FROM eventbus.event_log ORDER BY id")
    assert data[0] == ({"n": 1.5}, "story")
    assert [item[0] for item in data[1:]] == [{"n": "ü"}, [], {}]


# --- groups ---------------------------------------------------------------------------------------------------------


def test_groups_are_listed_for_people_and_programs(subscribed: None, run: Run, terminal: Terminal, prefix: str) -> None:
    """Tabs in a pipe, JSON lines on request, a table with a head on a terminal."""
    lines = [line.split("\t") for line in run("groups", "list").stdout.splitlines()]
    objects = [json.loads(line) for line in run("groups", "list", "--json").stdout.splitlines()]
    code, table = finish(terminal("groups", "list"))

    assert [line[:5] for line in lines] == [
        ["billing", "order.paid", "billing.book", f"{prefix}.billing", "no"],
        ["inventory", "order.created", "shop.reserve", f"{prefix}.inventory", "no"],
    ]
    assert [(item["group"], item["pattern"], item["paused"]) for item in objects] == [
        ("billing", "order.paid", False),
        ("inventory", "order.created", False),
    ]
    assert code == 0
    assert "last seen at" in table
    assert "shop.reserve" in table


def test_no_groups_are_said_to_people_only(run: Run) -> None:
    """An empty list is a success; its explanation is not output."""
    done = run("groups", "list")

    assert (done.returncode, done.stdout) == (0, "")
    assert "eventbus -A MODULE sync" in done.stderr


def test_removing_a_group_asks(subscribed: None, run: Run, terminal: Terminal, rows: Rows) -> None:
    """With the number of open deliveries: no is exit code 1 and changes nothing, yes cancels them."""
    for _ in range(3):
        run("publish", "order.created", "{}", "--source", "tests")
    question = "Remove group inventory and cancel 3 open deliveries"

    declining = terminal("groups", "remove", "inventory")
    declining.expect_exact(question)
    declining.sendline("n")
    declined = finish(declining)
    untouched = rows.all("SELECT DISTINCT state FROM eventbus.delivery")
    agreeing = terminal("groups", "remove", "inventory")
    agreeing.expect_exact(question)
    agreeing.sendline("y")
    agreed = finish(agreeing)

    assert declined[0] == 1
    assert "nothing was changed." in declined[1]
    assert untouched == [("pending",)]
    assert agreed[0] == 0
    assert "3 open deliveries cancelled" in agreed[1]
    assert rows.all("SELECT DISTINCT state FROM eventbus.delivery") == [("cancelled",)]
    assert run("groups", "list").stdout.count("\n") == 1


def test_ctrl_c_stops_the_removal_of_a_group_between_batches(
    subscribed: None, run: Run, terminal: Terminal, rows: Rows
) -> None:
    """It is unsubscribed; one sentence says what was cancelled, and who cancels the others."""
    rows.all(
        "INSERT INTO eventbus.delivery (event_id, group_name, subscription_id, due_at) SELECT gen_random_uuid(), 'inventory', "
        "s.id, now() FROM eventbus.subscription AS s, generate_series(1, 10001) WHERE s.group_name = 'inventory'"
    )
    child = terminal("groups", "remove", "inventory")
    child.expect_exact("cancel 10001 open deliveries?")
    with rows.transaction() as other:
        # The first batch waits, so that Ctrl-C comes while it is under way.
        other.execute("LOCK TABLE eventbus.delivery IN SHARE MODE")
        child.sendline("y")
        child.expect(r"open deliveries of inventory.*0/10001")
        wait_until(lambda: rows.value(WAITING), timeout=30)
        child.sendintr()
    code, text = finish(child)

    assert code == 130, text
    said = (
        "interrupted: removed group inventory; 10,000 of 10,001 open deliveries were cancelled; the same command, or a "
    )
    assert said in text
    assert rows.value("SELECT count(*) FROM eventbus.delivery WHERE state = 'pending'") == 1
    assert "inventory was removed, but some of its deliveries are still open." in run("doctor").stdout
    again = run("groups", "remove", "inventory", "--yes")
    assert (again.returncode, again.stdout) == (0, "removed group inventory; 1 open deliveries cancelled.\n")
    assert rows.value("SELECT count(*) FROM eventbus.delivery WHERE state = 'pending'") == 0
    assert run("groups", "remove", "inventory", "--yes").returncode == 2


def test_ctrl_c_at_a_question_is_130(subscribed: None, terminal: Terminal, rows: Rows) -> None:
    """Interrupted: nothing was changed."""
    child = terminal("groups", "remove", "inventory")
    child.expect_exact("[y/N]")

    # Python's readline sees a signal that comes just before it waits only with the next key, or signal.
    for _ in range(5):
        child.sendintr()
        if child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=5) == 0:
            break
    child.close()

    assert child.exitstatus == 130
    assert rows.value("SELECT count(*) FROM eventbus.subscription WHERE removed_at IS NULL") == 2


def test_ctrl_c_while_waiting_for_input_is_130(terminal: Terminal, rows: Rows) -> None:
    """`publish` reads from the terminal until it is interrupted: nothing is published."""
    child = terminal("publish", "order.created", "-", "--source", "tests")
    child.expect_exact("Ctrl-D")
    child.sendline("{")

    # One that comes between two reads is noticed after the next.
    while child.isalive():
        child.sendintr()
        child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=2)

    assert finish(child)[0] in (130, -2)
    assert rows.count("event_log") == 0


def test_removing_a_group_without_a_terminal_needs_yes(subscribed: None, run: Run) -> None:
    """Nobody is there to answer; --yes answers, --pattern narrows."""
    asked = run("groups", "remove", "inventory")
    one = run("groups", "remove", "inventory", "--pattern", "order.created", "--yes")
    other = run("groups", "remove", "billing", "--yes")

    assert asked.returncode == 2
    assert "pass --yes" in asked.stderr
    assert (one.returncode, other.returncode) == (0, 0)
    assert one.stdout == "removed inventory's subscription to order.created; 0 open deliveries cancelled.\n"
    assert run("groups", "list").stdout == ""


# --- dead letters ---------------------------------------------------------------------------------------------------


def ids(output: str) -> list[int]:
    """The ids in a list of dead letters in a pipe."""
    return [int(line.split("\t")[0]) for line in output.splitlines()]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [2, 1, 0]),
        (["--group", "inventory"], [2, 0]),
        (["--type", "order.paid"], [1]),
        (["--error-type", "shop.Refused"], [2]),
        (["--group", "billing", "--type", "order.created"], []),
        (["--status", "discarded"], []),
        (["--status", "all"], [2, 1, 0]),
        (["--type", "*.created"], [2, 0]),
        (["--error", "second line", "--group", "billing"], [1]),
        (["--error", "not there"], []),
        (["--since", "1h ago"], [2, 1, 0]),
        (["--until", "1h ago"], []),
        (["--correlation-id", "c"], []),
    ],
)
def test_dead_letters_are_filtered(letters: list[int], run: Run, options: list[str], expected: list[int]) -> None:
    """By group, type, error and status; newest first; one line each whatever their text holds."""
    done = run("dead", "list", *options)

    assert done.returncode == 0
    assert ids(done.stdout) == [letters[index] for index in expected]
    assert "\x1b" not in done.stdout


def test_dead_letters_come_in_pages(letters: list[int], run: Run) -> None:
    """The cursor of one page, said beside the output, leads to the next."""
    first = run("dead", "list", "--limit", "2")
    cursor = re.search(r"--cursor (\d+)", first.stderr)
    assert cursor
    second = run("dead", "list", "--limit", "2", "--cursor", cursor[1])

    assert ids(first.stdout) + ids(second.stdout) == letters[::-1]
    assert second.stderr == ""


def test_dead_letters_are_json_on_request(letters: list[int], run: Run) -> None:
    """Numbers are numbers, times have their offset, nothing is null."""
    listed = [json.loads(line) for line in run("dead", "list", "--json").stdout.splitlines()]
    shown = json.loads(run("dead", "show", str(letters[0]), "--json").stdout)

    assert [item["id"] for item in listed] == letters[::-1]
    assert listed[0]["failed_at"].endswith("+00:00")
    assert (shown["id"], shown["resolved_at"], shown["event"]["data"]) == (letters[0], None, {"n": 1})
    assert [item["number"] for item in shown["attempts_made"]] == [1, 2]


def test_dead_letters_are_shown_to_people(letters: list[int], run: Run, terminal: Terminal) -> None:
    """The table, and all of one: what an error's text holds cannot command the terminal."""
    code, table = finish(terminal("dead", "list"))
    shown_code, shown = finish(terminal("dead", "show", str(letters[2])))
    piped = run("dead", "show", str(letters[2]))

    assert (code, shown_code, piped.returncode) == (0, 0, 0)
    assert "shop.Refused" in table
    for text in (shown, piped.stdout):
        assert "attempt 2" in text
        assert '{"n": 1}' in text
        assert "of the handler" in text
    assert "\x1b[2J" not in shown + piped.stdout + table
    assert "\x1b[31m" not in shown + piped.stdout + table


def test_dead_letters_are_retried(letters: list[int], run: Run, terminal: Terminal, rows: Rows) -> None:
    """Those that are named, or all that match; on a terminal it asks."""
    one = run("dead", "retry", str(letters[0]), "--group", "inventory", "--yes")
    child = terminal("dead", "retry", "--group", "inventory", "--type", "order.created", "--error-type", "shop.Refused")
    child.expect_exact("Retry 1 dead letters of inventory?")
    child.sendline("y")
    rest = finish(child)
    again = run("dead", "retry", "--group", "inventory", "--yes")

    assert one.stdout == "1 dead letters retried.\n"
    assert "1 dead letters retried." in rest[1]
    assert again.stdout == "0 dead letters retried.\n"
    assert ids(run("dead", "list").stdout) == [letters[1]]
    states = rows.all("SELECT group_name, state FROM eventbus.delivery ORDER BY 1, 2")
    assert states == [("billing", "dead"), ("inventory", "pending"), ("inventory", "pending")]


def test_dead_letters_are_discarded(letters: list[int], run: Run, terminal: Terminal, rows: Rows) -> None:
    """With a reason that stays; on a terminal it asks, and no is exit code 1."""
    child = terminal("dead", "discard", "--group", "billing", "--reason", "test data")
    child.expect_exact("Discard 1 dead letters of billing?")
    child.sendline("n")
    declined = finish(child)
    done = run("dead", "discard", str(letters[1]), "--group", "billing", "--reason", "test data", "--yes")

    assert declined[0] == 1
    assert (done.returncode, done.stdout) == (0, "1 dead letters discarded.\n")
    assert rows.all("SELECT id, note FROM eventbus.dead_letter WHERE status = 'discarded'") == [
        (letters[1], "test data")
    ]
    assert "test data" in run("dead", "show", str(letters[1])).stdout


@pytest.mark.parametrize("verb", [["retry"], ["discard", "--reason", "x"]], ids=["retry", "discard"])
def test_what_is_named_and_not_open_is_told(verb: list[str], letters: list[int], run: Run) -> None:
    """The others are dealt with; whoever mistyped a number learns which it was."""
    named = ["999", str(letters[1]), str(letters[0])]  # one that is not there, one of another group

    first = run("dead", verb[0], *named, "--group", "inventory", *verb[1:], "--yes")
    second = run("dead", verb[0], str(letters[0]), "--group", "inventory", *verb[1:], "--yes")

    assert (first.returncode, second.returncode) == (1, 1)
    assert first.stdout.startswith("1 dead letters")
    assert f"not among the open dead letters of inventory that match: {letters[1]}, 999." in first.stderr
    assert second.stdout.startswith("0 dead letters")
    assert f"match: {letters[0]}." in second.stderr


@pytest.mark.parametrize("verb", [["retry"], ["discard", "--reason", "x"]], ids=["retry", "discard"])
def test_ctrl_c_stops_dead_letters_between_batches(
    verb: list[str], letters: list[int], terminal: Terminal, rows: Rows
) -> None:
    """A bar with the rate and the time left; then one sentence says what was done, and that the rest is as it was."""
    rows.all(
        "WITH gone AS (SELECT n, gen_random_uuid() AS id FROM generate_series(1, 4000) AS n), "
        "event AS (INSERT INTO eventbus.event_log (id, type, version, source, data, metadata, created_at) "
        "SELECT id, 'order.paid', 1, 's', '{}', '{\"correlation_id\": \"c\"}', now() FROM gone), "
        "owed AS (INSERT INTO eventbus.delivery (event_id, group_name, subscription_id, state, due_at, finished_at) "
        "SELECT gone.id, 'billing', s.id, 'dead', now(), now() FROM gone, eventbus.subscription AS s "
        "WHERE s.group_name = 'billing') "
        "INSERT INTO eventbus.dead_letter (event_id, group_name, type, attempts, deaths, error_type, error_message, "
        "traceback, fingerprint) SELECT id, 'billing', 'order.paid', 1, 0, 'E', 'm', 't', 'f' FROM gone"
    )
    child = terminal("dead", verb[0], "--group", "billing", *verb[1:])
    child.expect_exact("4,001 dead letters of billing?")
    with rows.transaction() as other:
        # The first batch waits, so that Ctrl-C comes while it is under way.
        other.execute("LOCK TABLE eventbus.dead_letter IN SHARE MODE")
        child.sendline("y")
        child.expect(r"dead letters of billing.*0/4001")
        wait_until(lambda: rows.value(WAITING), timeout=30)
        child.sendintr()
    code, text = finish(child)
    done = rows.value("SELECT count(*) FROM eventbus.dead_letter WHERE status <> 'open'")

    assert code == 130, text
    assert "ending with this batch ..." in text
    assert re.search(r"1000/4001 +[\d,]+/s +0:00:\d\d", without_colours(text)), text
    verbs = {"retry": "retried", "discard": "discarded"}
    assert f"interrupted: 1,000 of 4,001 dead letters were {verbs[verb[0]]}, the others are as they were." in text
    assert done == 1000


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def without_colours(text: str) -> str:
    """What a terminal was sent, without commands."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_reader_that_has_seen_enough_is_no_error(letters: list[int], folder: Path, variables: dict[str, str]) -> None:
    """`eventbus dead list | head -1`: no traceback."""
    writer = subprocess.Popen(
        command_line("dead", "list", "--json"),
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    writer.stdout.close()
    _, printed = writer.communicate(timeout=60)

    assert "Traceback" not in printed
    assert "Exception ignored" not in printed


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["publish", "order.created", "-", "--source", "tests"], 2, ["DATA is not JSON"]),
        (["publish", "--file", "-"], 0, ["0 events recorded."]),
        (["dead", "discard", "--group", "inventory", "--reason", "x"], 2, ["Nobody is there to answer"]),
    ],
)
def test_a_closed_standard_input_is_an_empty_one(
    subscribed: None, folder: Path, variables: dict[str, str], arguments: list[str], code: int, words: list[str]
) -> None:
    """As where a supervisor starts commands without any."""
    script = ["sh", "-c", 'exec "$@" <&-', "sh", *command_line(*arguments)]

    done = subprocess.run(script, cwd=folder, env=variables, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert all(word in done.stdout + done.stderr for word in words)


@needs_full_device
def test_output_that_cannot_be_written_is_said(folder: Path, variables: dict[str, str]) -> None:
    """In one sentence, with an exit code of its own: a program that reads the file would miss it."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command_line("--help"), env=variables, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 3
    assert done.stderr == "eventbus: the output cannot be written: No space left on device.\n"


@needs_full_device
@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&-", "2</dev/null"])
@pytest.mark.parametrize(
    ("arguments", "stdout", "code"),
    [
        (["groups", "show", "nobody"], "", 2),
        (["nosuch"], "", 2),
        (["--help"], ">/dev/full", 3),
        (["publish", "order.created", "{}", "--source", "tests"], "", 4),
    ],
)
def test_what_cannot_be_said_is_told_by_the_exit_code(
    folder: Path, variables: dict[str, str], arguments: list[str], stdout: str, stderr: str, code: int
) -> None:
    """The command's own one, where standard error is full, closed or not open for writing."""
    if code == 4:
        variables |= {"EVENTBUS_DATABASE_URL": "postgresql://127.0.0.1:1/nowhere"}
    script = ["sh", "-c", f'exec "$@" {stdout} {stderr}', "sh", *command_line(*arguments)]

    assert subprocess.run(script, cwd=folder, env=variables, timeout=60, check=False).returncode == code


def test_a_reader_of_the_help_that_has_seen_enough_is_no_error(folder: Path, variables: dict[str, str]) -> None:
    """`eventbus --help | true`."""
    writer = subprocess.Popen(
        command_line("--help"), cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    writer.stdout.close()
    _, printed = writer.communicate(timeout=60)

    assert (writer.returncode, printed) == (0, "")


def test_a_character_that_the_output_lacks_is_escaped(run: Run) -> None:
    """Rather than ending the command in the midst of what it prints."""
    id = run("publish", "order.created", '{"note": "\u2603"}', "--source", "tests").stdout.strip()

    done = run("events", "show", id, PYTHONIOENCODING="latin-1")

    assert done.returncode == 0
    assert r"\u2603" in done.stdout


# --- the app --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", ["no module 'nowhere'", "-A"]),
        ("shop.nowhere", ["shop.nowhere", "-A"]),
        ("billing_only", ["billing_only holds no EventBus", "bus = EventBus(app)"]),
        ("shop:app", ["shop:app holds no EventBus"]),
        ("shop:nothing", ["shop:nothing holds no EventBus"]),
        ("broken", ["broken", "ZeroDivisionError"]),
        ("needy", ["needy", "not_installed"]),
        ("garbled", ["garbled", "SyntaxError"]),
        ("quitting", ["quitting cannot be imported", "SystemExit: 0"]),
        ("panicking", ["panicking cannot be imported", "Panic"]),
        ("including", ["the modules that including includes cannot be imported", "SystemExit: 0"]),
        (".", ["-A"]),
        ("..shop", ["-A"]),
    ],
)
def test_an_app_that_cannot_be_used_is_named(
    run_here: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: Sequence[str]
) -> None:
    """A missing module, one without a bus, one whose own code fails: exit code 2 and one sentence."""
    (folder / "billing_only.py").write_text("x = 1\n")
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "needy.py").write_text("import not_installed\n")
    (folder / "garbled.py").write_text("def (:\n")
    (folder / "quitting.py").write_text("import sys\nsys.exit(0)\n")
    (folder / "panicking.py").write_text("class Panic(BaseException): pass\nraise Panic\n")
    (folder / "including.py").write_text(SHOP.replace("billing", "quitting"))

    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))

    done = run_here("-A", name, "sync", stdin="")
    sys.modules.pop("shop", None)
    sys.modules.pop("billing_only", None)
    sys.modules.pop("including", None)

    assert done.returncode == 2
    last = done.stderr.rstrip("\n").rpartition("\n")[2]
    assert last.endswith(".")
    assert all(word in last for word in words)


def test_an_app_is_not_found_in_a_directory_that_was_deleted(
    run_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a deploy leaves it behind a shell: the sentence says so."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    done = run_here("-A", "nowhere", "sync", stdin="")

    assert done.returncode == 2
    assert "no module 'nowhere' in the working directory, which was deleted, or on PYTHONPATH" in done.stderr


def test_ctrl_c_while_an_app_is_imported_interrupts(
    run_here: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no fault of the module."""
    (folder / "slow.py").write_text("raise KeyboardInterrupt\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))

    assert run_here("-A", "slow", "sync", stdin="").returncode == 130


def test_the_app_may_be_named_in_other_ways(run: Run) -> None:
    """By module and attribute, and in the environment; `workers.app` is looked for when nothing is named."""
    assert run("-A", "shop:bus", "sync").returncode == 0
    assert run("sync", EVENTBUS_APP="shop").returncode == 0
    assert "inventory.reserve_stock" in run("sync", "--replace", EVENTBUS_APP="").stdout
