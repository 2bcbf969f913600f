"""A test that cannot fail proves nothing: each mechanism is switched off once, and its test must fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eventbus.embedded import Servers
from tests.support.weakening import CONTROLS, VARIABLE, Control
from tests.support.workers import ROOT


@pytest.mark.parametrize("mechanism", CONTROLS)
def test_without_the_mechanism_its_test_fails(mechanism: str, servers: Servers, tmp_path: Path) -> None:
    """The test runs by itself, in a process without the mechanism: its assertions fail, and nothing else does."""
    run = pytest_of(CONTROLS[mechanism], servers, tmp_path / "own", {VARIABLE: mechanism})

    # 1 is "tests failed"; 2 to 5 would be a test that could not even be collected, or does not exist.
    assert run.returncode == 1, run.stdout + run.stderr
    assert " failed" in run.stdout
    assert " error" not in run.stdout.splitlines()[-1], run.stdout


def pytest_of(
    control: Control, servers: Servers, folder: Path, environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run its test in a process of its own, on the servers that are there.

    Its temporary files are in a folder of its own: in one that is shared, runs that end at one moment clear away each
    other's, and one of them ends with a traceback.
    """
    here = {"EVENTBUS_DATABASE_URL": servers.database_url, "EVENTBUS_BROKER_URL": servers.broker_url}
    measured = ("COVERAGE_", "COV_", "PYTEST_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(measured)}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            f"--basetemp={folder}",
            "-o",
            f"timeout={control.timeout_seconds}",
            control.test,
        ],
        cwd=ROOT,
        env={**inherited, **here, **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
