"""The documentation says what is there: targets, settings and paths."""

import ast
import inspect
import os
import re
import subprocess
from pathlib import Path

import pytest

from eventbus import EventBus, errors
from eventbus.errors import EventBusError

ROOT = Path(__file__).resolve().parents[2]

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def targets() -> set[str]:
    """Targets of the Makefile that are meant for people."""
    phony = re.search(r"^\.PHONY: (help.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    return set(phony[1].split())


def code_in(text: str) -> str:
    """What a page shows as code."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))


@page
def test_every_target_that_is_named_exists(page: Path) -> None:
    """`make X` in a page is a target."""
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", code_in(page.read_text())))

    assert named <= targets()


def test_the_readme_names_every_target_but_help() -> None:
    """Who reads the README knows what a checkout can do."""
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("README.md does not exist yet")
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", code_in(readme.read_text())))

    assert targets() - {"help"} <= named


def test_make_help_lists_every_target() -> None:
    """The Makefile documents itself."""
    # A make that started these tests would add its own lines.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    output = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout

    assert set(re.findall(r"make (\w+)", output)) >= targets()


@page
def test_every_setting_that_is_named_exists(page: Path) -> None:
    """EVENTBUS_* in a page is read by the code, or by the tests."""
    named = set(re.findall(r"\bEVENTBUS_[A-Z0-9_]*[A-Z0-9]\b", page.read_text()))

    assert named <= known_settings()


def test_every_setting_is_documented() -> None:
    """A setting nobody can find is none."""
    if not (ROOT / "docs").exists():
        pytest.skip("docs/ does not exist yet")
    text = "\n".join(page.read_text() for page in PAGES)

    assert {name for name in known_settings(tests=False) if name not in text} == set()


@page
def test_every_path_that_is_linked_exists(page: Path) -> None:
    """A relative link leads to a file in the repository."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)|^\[[^\]]+\]:\s*(\S+)$", text, re.MULTILINE)
    paths = [inline or reference for inline, reference in links]
    relative = [path for path in paths if not re.match(r"[a-z]+:|#", path)]

    assert [path for path in relative if not (page.parent / path.partition("#")[0]).exists()] == []


@page
def test_every_test_that_is_named_exists(page: Path) -> None:
    """A promise that names its test can be checked."""
    named = set(re.findall(r"`(test_\w+)`", page.read_text()))
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }

    assert named - written == set()


def known_settings(*, tests: bool = True) -> set[str]:
    """Variables of the environment that code reads: named in full, or as a field of Settings."""
    # Imported here so that the house can be checked while settings.py is broken.
    from eventbus import settings

    folders = [ROOT / "eventbus", *([ROOT / "tests"] if tests else [])]
    sources = "\n".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    named = set(re.findall(r"\bEVENTBUS_[A-Z0-9_]*[A-Z0-9]\b", sources))
    readers = getattr(settings, "_READERS", {})
    return named | {f"EVENTBUS_{name.upper()}" for name in readers}


def test_every_call_of_a_bus_is_documented_with_its_parameters() -> None:
    """The map of the API lacks none."""
    text = (ROOT / "docs/reference/api.md").read_text()
    calls = {name: call for name, call in inspect.getmembers(EventBus, inspect.isfunction) if not name.startswith("_")}
    shown = {name: re.findall(rf"\b{name}\(([^`]*)\)", text) for name in calls}
    lacking = {
        f"{name}({parameter})"
        for name, call in calls.items()
        for parameter in [*inspect.signature(call).parameters][1:]
        if not any("…" in each or re.search(rf"\b{parameter}\b", each) for each in shown[name])
    }

    assert {name for name, found in shown.items() if not found} == set()
    assert lacking == set()


def test_every_error_is_documented() -> None:
    """The tree lacks none."""
    text = (ROOT / "docs/reference/errors.md").read_text()
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, EventBusError)]

    assert len(found) > 30
    assert {each.__name__ for each in found if not re.search(rf"\b{each.__name__}\b", text)} == set()


def logged_names() -> set[str]:
    """The names of records that modules of the library log."""
    found: set[str] = set()
    for path in ROOT.glob("eventbus/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[said, *_]) if (
                    level != "log"
                ):
                    texts = [each.value for each in ast.walk(said) if isinstance(each, ast.Constant)]
                    found |= {name[0] for text in texts if (name := re.match(r"(%s)?[a-z_]+", str(text)))}
    return found


def test_every_log_name_is_documented() -> None:
    """Whoever is woken by one finds what it means; and none that is there no more."""
    page = (ROOT / "docs/reference/logs.md").read_text()
    shown = set(re.findall(r"`([a-z_]+)`", page)) - {
        "extra",
        "dead_letter",
        "reason",
        "address",
        "chore",
        "wait_seconds",
        "eventbus",
    }
    made = {f"{server}_{state}" for server in ("broker", "realtime") for state in ("down", "back")}
    resolved = {"dead_letter_retried", "dead_letter_discarded"}  # named by what was asked for

    assert (logged_names() - {"%s_down", "%s_back"}) | made | resolved == shown
