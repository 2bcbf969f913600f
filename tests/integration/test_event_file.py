"""`eventbus publish --file`: a file of events, recorded in batches, that says where it stopped and how to go on."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from eventbus.cli import event_file, main, progress
from eventbus.cli.interrupting import interruptible
from eventbus.lifecycle import certainty, publishing
from tests.support import wait_until
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.rows import Rows
from tests.support.workers import ROOT

RECORDS = "INSERT INTO eventbus.event_log"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 10 lines."""
    monkeypatch.setattr(event_file, "BATCH_LINES", 10)


@pytest.fixture
def run(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs `eventbus publish ARGUMENTS` in this process: exit code, output and errors."""

    def call(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["publish", *arguments])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


def line(n: Any, **fields: Any) -> str:
    """A line of an event file."""
    return json.dumps({"type": "order.created", "source": "orders", "data": n, **fields})


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """A function that writes lines into a file, and returns its path."""

    def to_file(*lines: str) -> str:
        path = tmp_path / "events.ndjson"
        path.write_text("".join(f"{each}\n" for each in lines))
        return str(path)

    return to_file


Write = Callable[..., str]


def test_every_line_is_an_event(run: Run, write: Write, rows: Rows) -> None:
    """With all that publish takes; empty lines are no lines; the end says how many."""
    full = line(1, version=2, correlation_id="story", headers={"a": "b"}, idempotency_key="k")
    path = write(full, "", '{"type": "order.paid", "data": null}', "  ")

    assert run("--file", path, "--source", "shop") == (0, "2 events recorded.\n", "")

    stored = rows.all("SELECT type, version, source, data, metadata FROM eventbus.event_log ORDER BY id")
    assert stored[0] == (
        *("order.created", 2, "orders", 1),
        {"correlation_id": "story", "causation_id": None, "headers": {"a": "b"}},
    )
    assert stored[1][:4] == ("order.paid", 1, "shop", None)
    assert rows.all("SELECT source, key FROM eventbus.publish_key") == [("orders", "k")]


def test_standard_input_is_a_file_too(run: Run, rows: Rows) -> None:
    """Whatever produces events can be piped."""
    text = "".join(f"{line(n)}\n" for n in range(25)).encode()

    assert run("--file", "-", stdin=text)[:2] == (0, "25 events recorded.\n")
    assert run("--file", "-", stdin=b"")[:2] == (0, "0 events recorded.\n")
    assert rows.count("event_log") == 25


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ("[" * 100_000, "is nested too deep"),
        ('{"type": "order.created", "data": 1}', "lacks source; add it or pass --source."),
        ('{"source": "orders"}', "lacks type, data; add it."),
        (line(1, key="k"), "has 'key'; the fields of an event are type, source, data, version,"),
        (
            '{"data": 1, "type": "order.created", "data": 2}',
            "has the key 'data' twice in one object; keep one of the two.",
        ),
        (
            line(0).replace("0", '{"a": [{"b": 1, "b": 1}]}'),
            "has the key 'b' twice in one object; keep one of the two.",
        ),
        (line(float("nan")), "nan is not a JSON number"),
        (line(1, type="order created"), "'order created' is not an event type"),
        (line(1, headers=["a"]), "headers=['a'] is not a mapping"),
        (line(1, idempotency_key=7), "idempotency_key=7 is not a string"),
        (line(2, idempotency_key="taken"), "idempotency key 'taken' of source 'orders' belongs to event"),
    ],
)
def test_a_bad_line_is_named_with_what_is_recorded(run: Run, write: Write, rows: Rows, bad: str, says: str) -> None:
    """Exit code 2: file, line, what is wrong; then how to go on."""
    run("order.created", "1", "--source", "orders", "--idempotency-key", "taken")
    lines = [line(n) for n in range(30)]
    lines[16] = bad
    path = write(*lines)

    code, output, errors = run("--file", path)

    assert (code, output) == (2, "")
    assert f"eventbus: {path}:17: " in errors
    assert says in errors
    assert f"lines 1 to 10 are recorded; to go on, publish the lines from 11 on: tail -n +11 {path} | " in errors
    assert rows.count("event_log") == 11


@pytest.mark.usefixtures("small")
def test_a_bad_line_of_the_first_batch_leaves_no_trace(run: Run, rows: Rows) -> None:
    """The words fit then too, and for a pipe."""
    lines = [line(n).encode() for n in range(15)]

    first = run("--file", "-", stdin=b"\n".join([b"x", *lines]))
    later = run("--file", "-", stdin=b"\n".join([*lines, b"\xff"]))

    assert "standard input:1: is not JSON" in first[2]
    assert "no line is recorded." in first[2]
    assert "standard input:16: is not JSON" in later[2]
    assert later[2].endswith("lines 1 to 10 are recorded; to go on, publish the lines from 11 on.\n")
    assert rows.count("event_log") == 10


@pytest.mark.usefixtures("small")
def test_with_keys_the_same_command_goes_on(run: Run, write: Write, rows: Rows) -> None:
    """What is recorded is not recorded again, whether lines have keys of their own or --key-prefix makes them."""
    lines = [line(n, **({"idempotency_key": f"own-{n}"} if n % 2 else {})) for n in range(25)]
    broken = run("--file", write(*lines[:18], "{", *lines[19:]), "--key-prefix", "import")

    mended = run("--file", write(*lines), "--key-prefix", "import")
    again = run("--file", write(*lines), "--key-prefix", "import")

    assert "lines 1 to 10 are recorded; repeat the command to go on: lines with a key are recorded once." in broken[2]
    assert mended[:2] == again[:2] == (0, "25 events recorded.\n")
    assert rows.all("SELECT data FROM eventbus.event_log ORDER BY id") == [(n,) for n in range(25)]
    assert {key for (key,) in rows.all("SELECT key FROM eventbus.publish_key")} == {
        f"own-{n}" if n % 2 else f"import:{n + 1}" for n in range(25)
    }


def test_a_line_that_was_changed_since_is_a_conflict(run: Run, write: Write, rows: Rows) -> None:
    """Keys made from line numbers find out that the file is another one."""
    run("--file", write(line(1), line(2)), "--key-prefix", "import")

    code, _, errors = run("--file", write(line(1), line(3)), "--key-prefix", "import")

    assert code == 2
    assert "events.ndjson:2: idempotency key 'import:2'" in errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--file", "nowhere.ndjson"], "nowhere.ndjson cannot be read: No such file"),
        (["--file", "-", "order.created"], "each line says its own type"),
        (["--file", "-", "--version", "1"], "each line says its own type"),
        (["order.created", "{}", "--source", "x", "--key-prefix", "k"], "--key-prefix"),
        (["--source", "x"], "TYPE"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(run: Run, arguments: list[str], says: str) -> None:
    """Exit code 2, before anything is read."""
    code, _, errors = run(*arguments)

    assert code == 2
    assert says in errors


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("prefix_options", "code"), [([], 3), (["--key-prefix", "import"], 3)])
def test_a_lost_server_says_what_is_recorded(
    run: Run,
    write: Write,
    rows: Rows,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    prefix_options: list[str],
    code: int,
) -> None:
    """3 where nobody can tell what became of a batch; with keys the same command goes on."""
    monkeypatch.setattr(certainty, "_ASKING_SECONDS", 0.2)
    path = write(*(line(n) for n in range(15)), line(15, source="the till"), *(line(n) for n in range(16, 30)))
    with FaultProxy(database_url) as proxy:
        monkeypatch.setenv("EVENTBUS_DATABASE_URL", proxy.url)
        proxy.lose(Fault.ANSWERED, "the till", then_refuse=True)
        lost = run("--file", path, *prefix_options)
        proxy.refuses = False
        again = run("--file", path, *prefix_options) if prefix_options else None

    assert lost[0] == code
    assert "lines 1 to 10 are recorded" in lost[2]
    assert ("up to 10 lines from line 11 on may or may not be recorded" in lost[2]) is not bool(prefix_options)
    assert lost[2].splitlines()[-1].startswith("eventbus: the connection was lost while order.created was committed")
    if again:
        assert again[:2] == (0, "30 events recorded.\n")
        assert rows.all("SELECT data FROM eventbus.event_log ORDER BY id") == [(n,) for n in range(30)]


@pytest.mark.usefixtures("small")
def test_a_batch_of_large_lines_is_recorded_in_parts(
    run: Run, write: Write, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are recorded are told, and whoever does as is advised records no line twice."""
    monkeypatch.setattr(publishing, "BATCH_EVENTS", 4)
    lines = [line(n) for n in range(18)]
    path = write(*lines[:16], line(16, type="order created"), lines[17])

    code, _, errors = run("--file", path)
    rest = run("--file", "-", stdin="\n".join(lines[14:]).encode())

    assert code == 2
    assert f"eventbus: {path}:17: 'order created' is not an event type" in errors
    assert f"lines 1 to 14 are recorded; to go on, publish the lines from 15 on: tail -n +15 {path} | " in errors
    assert rest[:2] == (0, "4 events recorded.\n")
    assert rows.all("SELECT data FROM eventbus.event_log ORDER BY id") == [(n,) for n in range(18)]


@pytest.mark.usefixtures("small")
def test_a_server_that_is_lost_in_mid_batch_says_what_is_recorded(
    run: Run, write: Write, rows: Rows, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts before are known, and only the part that was under way is not."""
    monkeypatch.setattr(certainty, "_ASKING_SECONDS", 0.2)
    monkeypatch.setattr(publishing, "BATCH_EVENTS", 4)
    with FaultProxy(database_url) as proxy:
        monkeypatch.setenv("EVENTBUS_DATABASE_URL", proxy.url)
        proxy.lose(Fault.ANSWERED, "the till", then_refuse=True)
        code, _, errors = run("--file", write(*(line(n) for n in range(6)), line(6, source="the till")))

    assert code == 3
    assert "lines 1 to 4 are recorded; to go on, publish the lines from 5 on" in errors
    assert "up to 10 lines from line 5 on may or may not be recorded" in errors
    assert rows.count("event_log") == 7


def test_an_unreachable_server_is_4(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is recorded."""
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", "postgresql://u@127.0.0.1:1/db")

    code, _, errors = run("--file", write(line(1)))

    assert code == 4
    assert "no line is recorded." in errors


def test_a_pipe_gets_a_line_of_progress_a_second(run: Run, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """On stderr: output stays for results."""
    monkeypatch.setattr(event_file, "BATCH_LINES", 10)
    monkeypatch.setattr(progress, "_FILE_LINE_SECONDS", 0.0)

    code, output, errors = run("--file", write(*(line(n) for n in range(15))))

    assert (code, output) == (0, "15 events recorded.\n")
    assert errors.splitlines() == ["10 events recorded so far", "15 events recorded so far"]


@pytest.fixture
def command(environment: dict[str, str]) -> list[str]:
    """The command in a process of its own, with small batches."""
    del environment
    code = (
        "from eventbus.cli import event_file, main\n"
        "event_file.BATCH_LINES = 10\n"
        "import sys; main(['publish', *sys.argv[1:]])"
    )
    return [sys.executable, "-c", code]


@pytest.fixture
def variables(environment: dict[str, str]) -> dict[str, str]:
    """The environment of the command."""
    return {**os.environ, **environment, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120"}


def test_a_terminal_gets_a_bar(command: list[str], variables: dict[str, str], write: Write, rows: Rows) -> None:
    """It goes away at the end, and leaves the result."""
    path = write(*(line(n) for n in range(50)))

    child: pexpect.spawn[str] = pexpect.spawn(
        command[0],
        [*command[1:], "--file", path],
        env=variables,  # type: ignore[arg-type]
        encoding="utf-8",
        timeout=30,
        dimensions=(24, 120),
    )
    child.expect("events .*50 events recorded")
    child.expect(pexpect.EOF)
    child.close()

    assert child.exitstatus == 0
    assert rows.count("event_log") == 50


@pytest.fixture
def piped(command: list[str], variables: dict[str, str]) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """A function that starts the command with a pipe to its input."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*command, "--file", "-", *arguments],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def feed(process: "subprocess.Popen[str]", count: int) -> None:
    """Write lines to a command."""
    assert process.stdin
    process.stdin.write("".join(f"{line(n)}\n" for n in range(count)))
    process.stdin.flush()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "lines 1 to 10 are recorded; to go on, publish the lines from 11 on."),
        (["--key-prefix", "import"], "lines 1 to 10 are recorded; repeat the command to go on"),
    ],
)
def test_ctrl_c_says_how_to_go_on(
    piped: Callable[..., "subprocess.Popen[str]"], rows: Rows, options: list[str], says: str
) -> None:
    """130, while it waits for lines."""
    process = piped(*options)
    feed(process, 15)
    wait_until(lambda: rows.count("event_log") == 10, timeout=20)

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)

    assert process.returncode == 130
    assert says in errors
    assert "Traceback" not in errors
    assert rows.count("event_log") == 10


def test_ctrl_c_lets_a_batch_end(piped: Callable[..., "subprocess.Popen[str]"], rows: Rows) -> None:
    """What is recorded is known: the batch that was being recorded counts."""
    process = piped()
    with rows.transaction() as blocker:
        blocker.execute("LOCK TABLE eventbus.event_log IN SHARE MODE")
        feed(process, 15)
        wait_until(lambda: rows.waiting() == 1, timeout=20)
        process.send_signal(signal.SIGINT)
        blocker.connection.rollback()
    _, errors = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "lines 1 to 10 are recorded" in errors
    assert rows.count("event_log") == 10


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "up to 10 lines from line 1 on may or may not be recorded; no line is known to be recorded."),
        (["--key-prefix", "import"], "interrupted; no line is known to be recorded."),
    ],
)
@pytest.mark.usefixtures("small")
def test_a_batch_that_was_interrupted_may_be_recorded(
    run: Run, rows: Rows, caplog: pytest.LogCaptureFixture, options: list[str], says: str
) -> None:
    """A second Ctrl-C may come after the commit."""

    def interrupt(record: logging.LogRecord) -> bool:
        raise KeyboardInterrupt

    caplog.set_level(logging.INFO, logger="eventbus")
    logger = logging.getLogger(publishing.__name__)
    logger.addFilter(interrupt)
    code, _, errors = run("--file", "-", *options, stdin=f"{line(1)}\n{line(2)}\n".encode())
    logger.removeFilter(interrupt)

    assert code == 130
    assert says in errors
    assert rows.count("event_log") == 2


def test_a_second_ctrl_c_does_not_wait() -> None:
    """Whoever presses it again means it."""
    with pytest.raises(KeyboardInterrupt), interruptible("ending"):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second one did not interrupt")


def test_one_event_that_is_no_utf8_is_refused(run: Run, rows: Rows) -> None:
    """As a line of a file would be."""
    code, output, errors = run("order.created", "-", "--source", "orders", stdin=b'{"name": "Jos\xe9"}')

    assert (code, output, "DATA is not UTF-8" in errors) == (2, "", True)
    assert rows.value("SELECT count(*) FROM eventbus.event_log") == 0
