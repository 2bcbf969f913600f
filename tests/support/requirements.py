"""Tests that need something extra: run where it is there, counted where it is not, failed where that must not be (CI).

`make test` closes with what this module wrote to the file NOT_RUN.
"""

import os
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

#: Written if tests were not run; the Makefile prints it last.
NOT_RUN = Path(__file__).resolve().parents[2] / "build" / "not-run.txt"


#: What a Chromium is called on PATH.
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def has_chromium() -> bool:
    """Whether a Chromium is on PATH."""
    return any(map(shutil.which, CHROMIUMS))


def has_rabbitmq() -> bool:
    """Whether a RabbitMQ is named, or runs here."""
    with socket.socket() as client:
        return "EVENTBUS_TEST_RABBITMQ_URL" in os.environ or client.connect_ex(("127.0.0.1", 5672)) == 0


def has_faketime() -> bool:
    """Whether a program can be given another clock."""
    return shutil.which("faketime") is not None


def has_pgbouncer() -> bool:
    """Whether a PgBouncer can be started."""
    return shutil.which("pgbouncer") is not None


def has_promtool() -> bool:
    """Whether rules of Prometheus can be tried."""
    return shutil.which("promtool") is not None


#: Put there by `make test`, from npm.
AXE = Path(__file__).resolve().parents[2] / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"


#: Marker → what is missing without it, and whether it is there.
REQUIREMENTS: Mapping[str, tuple[str, Callable[[], bool]]] = {
    "axe": ("axe-core, which make test gets from npm", AXE.exists),
    "chromium": ("Chromium", has_chromium),
    "faketime": ("faketime", has_faketime),
    "pgbouncer": ("PgBouncer", has_pgbouncer),
    "promtool": ("promtool", has_promtool),
    "rabbitmq": ("RabbitMQ", has_rabbitmq),
    "root": ("root", lambda: os.geteuid() == 0),
}

#: The property of a skipped test's report that tells what was missing; reports come from all processes of a run.
MISSING = "missing"


def require(item: pytest.Item) -> None:
    """Skip a test whose requirement is missing; with CI=true fail it."""
    for marker, (name, is_there) in REQUIREMENTS.items():
        if item.get_closest_marker(marker) and not is_there():
            if os.environ.get("CI") == "true":
                pytest.fail(f"needs {name}, which CI must have", pytrace=False)
            skip(item, name)


def skip(item: pytest.Item, missing: str) -> NoReturn:
    """Skip a test, in CI too, and let the closing lines say so."""
    item.user_properties.append((MISSING, missing))
    pytest.skip(f"needs {missing}")


def closing_lines(skipped: Iterable[pytest.TestReport]) -> list[str]:
    """One line for each requirement that was missing."""
    counted = Counter(value for report in skipped for name, value in report.user_properties if name == MISSING)
    return [
        f"NOT RUN: {count} {'test needs' if count == 1 else 'tests need'} {name}" for name, count in counted.items()
    ]


def write_closing_lines(lines: Sequence[str]) -> None:
    """Leave the closing lines for the Makefile, or no file if there are none."""
    NOT_RUN.unlink(missing_ok=True)
    if lines:
        NOT_RUN.parent.mkdir(exist_ok=True)
        NOT_RUN.write_text("\n".join(lines) + "\n")
