"""The shape of the code: what conventions a machine can hold, beyond ruff, mypy and import-linter."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventbus

ROOT = Path(__file__).resolve().parents[2]

MODULE_LINES = 300
FUNCTION_LINES = 50
FORBIDDEN_NAMES = {"util", "utils", "helper", "helpers", "common", "manager", "base", "misc"}

#: A pause in a test either wastes time or is too short on a busy machine: tests wait for conditions.
PAUSE = re.compile(r"\bsleep\(")

CODE = sorted(
    path for folder in ("eventbus", "workers", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def shown(path: Path) -> str:
    """A path as one reads it."""
    return path.relative_to(ROOT).as_posix()


def is_revision(path: Path) -> bool:
    """Whether a file is a migration, which is long if the change is."""
    return "versions" in path.parts


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from its signature to its end, its docstring not counted."""
    first = function.body[0]
    has_docstring = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def test_every_module_says_what_it_is_for() -> None:
    """The first line of a module is its one reason to exist."""
    silent = [shown(path) for path in CODE + TESTS if not ast.get_docstring(ast.parse(path.read_text()))]

    assert silent == []


def test_no_module_is_long() -> None:
    """A module of more than 300 lines has two reasons to exist."""
    long = {shown(path): len(path.read_text().splitlines()) for path in CODE if not is_revision(path)}

    assert {name: lines for name, lines in long.items() if lines > MODULE_LINES} == {}


def test_no_function_is_long() -> None:
    """A function of more than 50 lines hides steps that have names."""
    long = {
        f"{shown(path)}:{function.lineno} {function.name}": length(function)
        for path in CODE
        if not is_revision(path)
        for function in functions(ast.parse(path.read_text()))
    }

    assert {name: lines for name, lines in long.items() if lines > FUNCTION_LINES} == {}


def test_public_functions_and_classes_of_the_library_are_documented() -> None:
    """Whoever calls eventbus reads its docstrings: each public export has one."""
    exports = [getattr(eventbus, name) for name in getattr(eventbus, "__all__", ())]
    silent = [export.__name__ for export in exports if callable(export) and not export.__doc__]

    assert silent == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    """What is in utils? Everything."""
    assert [shown(path) for path in CODE + TESTS if {path.stem, path.parent.name} & FORBIDDEN_NAMES] == []


def test_no_test_pauses() -> None:
    """Tests wait for conditions, with a timeout."""
    here = Path(__file__).resolve()

    assert [shown(path) for path in TESTS if path != here and PAUSE.search(path.read_text())] == []


def test_sql_is_not_written_outside_storage() -> None:
    """One package speaks SQL; the embedded servers may create and drop databases."""
    statement = re.compile(r"""["']\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH)\s""")
    allowed = {"storage", "embedded"}
    offenders = [
        shown(path)
        for path in (ROOT / "eventbus").rglob("*.py")
        if not allowed & set(path.relative_to(ROOT).parts) and statement.search(path.read_text())
    ]

    assert offenders == []


def test_the_public_exports_are_pinned() -> None:
    """What users import never goes away by accident, and nothing is added without thought."""
    if "EventBus" not in getattr(eventbus, "__all__", ()):
        pytest.skip("eventbus/__init__.py does not export EventBus yet")

    assert sorted(eventbus.__all__) == Path(__file__).with_name("public_exports.txt").read_text().split()
