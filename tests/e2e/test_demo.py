"""The demonstration: what a reader runs first, so it has to hold, to end, and to leave nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support import wait_until
from tests.support.workers import ROOT

#: Sets the processes of one demo apart from all others, for they inherit it.
MARK = "DEMO_UNDER_TEST"

#: Many times what it takes on an idle machine: other tests may run beside it.
TIME_LIMIT_SECONDS = 240
SERVERS = ("EVENTBUS_DATABASE_URL", "EVENTBUS_BROKER_URL")
FOLDER_LINE = "workers and their logs: "


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of a reader who has no servers, with a mark."""
    inherited = {name: value for name, value in os.environ.items() if name not in SERVERS}
    return inherited | {MARK: uuid4().hex, "PYTHONPATH": str(ROOT)}


def demo(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the demonstration to its end."""
    return subprocess.run(
        command(arguments),
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_SECONDS,
        check=False,
    )


def command(arguments: Sequence[str] = ()) -> list[str]:
    """What `make demo` runs."""
    return [sys.executable, "-m", "eventbus.demo", *arguments]


def processes(environment: dict[str, str]) -> list[str]:
    """The command lines of all processes with the mark of *environment*."""
    mark = f"{MARK}={environment[MARK]}".encode()
    return list(_marked(mark))


def _marked(mark: bytes) -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                yield (entry / "cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            continue  # it has ended, or is another user's


def folder_in(output: str) -> Path:
    """The demo's temporary folder, which its output names."""
    return Path(output.partition(FOLDER_LINE)[2].splitlines()[0])


@pytest.mark.timeout(TIME_LIMIT_SECONDS + 10)
def test_the_demo_holds_on_throwaway_servers(environment: dict[str, str]) -> None:
    """Every step holds, the closing table lists each, and nothing stays behind."""
    ended = demo(environment=environment)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "9 of 9 steps held" in ended.stdout
    table = ended.stdout.partition("steps held")[2]
    assert [letter for letter in "abcdefghi" if f"({letter}) ok" not in table] == []
    assert processes(environment) == []
    assert not folder_in(ended.stdout).exists()


def test_ctrl_c_ends_the_demo_and_all_that_it_started(environment: dict[str, str]) -> None:
    """It exits with 130, at once, without a traceback, a process or a folder."""
    with subprocess.Popen(
        command(),
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A terminal sends the signal to the whole group.
        start_new_session=True,
    ) as running:
        assert running.stdout
        output = ""
        # By now there is a worker that runs and one that starts.
        while "$ celery -A workers.app worker -Q eventbus.analytics" not in output:
            line = running.stdout.readline()
            assert line, f"it ended early:\n{output}"
            output += line
        assert len(processes(environment)) > 2

        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=20)

    assert running.returncode == 130
    assert "eventbus.demo: interrupted." in errors
    assert "Traceback" not in errors
    # Those of PostgreSQL's processes that are nobody's children any more may take a moment.
    wait_until(lambda: not processes(environment), message=lambda: str(processes(environment)))
    assert not folder_in(output).exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "{file} cannot be read: No such file or directory."),
        (b"\n", "{file} holds no event"),
        (
            b'{"type": "a.b", "source": "s", "data": 1}\n{"type": "a.b", "source"\n',
            "{file}, line 2: the line is not JSON",
        ),
        (
            b'{"type": "a.b", "source": "s", "data": {"n": 1, "n": 2}}\n',
            "{file}, line 1: the line has the key 'n' twice in one object; keep one of the two.",
        ),
        (b"\xff\n", "{file}, line 1: the line is not JSON ('utf-8' codec can't decode byte 0xff"),
        (b'{"type": "a b", "source": "s", "data": 1}\n', "{file}, line 1: 'a b' is not an event type"),
        (
            b'{"type": "a", "source": "s", "data": [NaN]}\n',
            "{file}, line 1: a was refused: [0]: nan is not a JSON number",
        ),
    ],
    ids=["missing", "empty", "cut off", "repeated key", "not UTF-8", "malformed type", "not JSON"],
)
def test_a_file_that_cannot_be_published_is_refused_in_one_sentence(
    content: bytes | None, sentence: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    """The sentence names file and line; the exit code is 2 and nothing was started."""
    file = tmp_path / "events.ndjson"
    if content is not None:
        file.write_bytes(content)

    ended = demo(str(file), environment=environment)

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert sentence.format(file=file) in ended.stderr
