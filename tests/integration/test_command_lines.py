"""Other ways to the commands: as a part of Celery's command line, and completed by shells."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import Run
from tests.support.workers import ROOT

SHOP = """
from celery import Celery
from eventbus import EventBus

app = Celery("shop")
bus = EventBus(app)

@bus.subscribe("order.created", group="inventory")
def reserve(event): pass
"""


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["sync"], 0, "1 subscriptions of 1 groups are in PostgreSQL."),
        (["groups", "show", "nobody"], 2, "group 'nobody' does not exist"),
        (["--help"], 0, "Say why a group did or did not get an event."),
    ],
)
def test_celery_runs_the_commands(
    tmp_path: Path, environment: dict[str, str], words: list[str], code: int, says: str
) -> None:
    """With the app that it was given; errors are sentences, with the same exit codes."""
    (tmp_path / "shop.py").write_text(SHOP)

    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "shop", "eventbus", *words],
        cwd=tmp_path,
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [["--help"], ["sync"]])
def test_output_that_celery_cannot_write_is_said(tmp_path: Path, environment: dict[str, str], words: list[str]) -> None:
    """In one sentence, with an exit code of its own, as by the command itself."""
    (tmp_path / "shop.py").write_text(SHOP)

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "shop", "eventbus", *words],
            cwd=tmp_path,
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 3
    assert done.stderr == "eventbus: the output cannot be written: No space left on device.\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(run_here: Run, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    """By what `completion` prints, which asks the command itself."""
    script = run_here("completion", shell)
    monkeypatch.setenv("_EVENTBUS_COMPLETE", f"{shell}_complete")

    def complete(words: str, incomplete: str, number: int) -> str:
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", incomplete if shell == "fish" else str(number))
        return run_here().stdout

    assert script.returncode == 0
    assert "_EVENTBUS_COMPLETE" in script.stdout
    assert "events" in complete("eventbus ev", "ev", 1)
    assert "--correlation-id" in complete("eventbus events list --corr", "--corr", 3)


def test_completing_a_command_imports_nothing_heavy() -> None:
    """Whoever presses the tab key does not wait."""
    script = "import sys\nfrom eventbus.cli import main\ntry: main([])\nexcept SystemExit: pass\nprint('sqlalchemy' in sys.modules)"
    variables = {"_EVENTBUS_COMPLETE": "bash_complete", "COMP_WORDS": "eventbus ", "COMP_CWORD": "1"}

    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "plain,doctor" in done.stdout
    assert done.stdout.endswith("False\n")
