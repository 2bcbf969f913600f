"""Reports of a schema check: for people, for programs, for GitHub's annotations and for JUnit."""

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from eventbus.cli.tables import plain
from eventbus.lifecycle.schema_checking import Checked, Status
from eventbus.schemas.assessment import Conflict
from eventbus.schemas.compatibility import Problem

_REFUSED = (Status.BREAKING, Status.EDITED, Status.CANNOT_TELL)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in the code a schema is declared."""

    file: str
    line: int


def problem_as_json(problem: Problem) -> dict[str, Any]:
    """A problem under stable names."""
    return {
        "path": problem.path,
        "rule": str(problem.rule),
        "direction": str(problem.direction),
        "verdict": str(problem.verdict),
        "old": problem.old,
        "new": problem.new,
        "counterexample": problem.counterexample,
        "groups": list(problem.groups),
        "fix": problem.fix,
    }


def as_text(found: Sequence[Checked]) -> str:
    """For people: one line a version, one for each conflict below it."""
    lines = []
    for each in found:
        mode = f" ({each.assessment.mode})" if each.assessment else ""
        lines.append(f"{each.schema.type} version {each.schema.version}: {each.status}{mode}")
        if each.assessment is None:
            lines += [f"  {each.reason}"] if each.reason else []
            continue
        for conflict in each.assessment.conflicts:
            lines.append(f"  with version {conflict.other}: {conflict.problem}")
            if conflict.problem.groups:
                lines.append(f"    breaks: {', '.join(conflict.problem.groups)}")
            if conflict.accepted:
                lines.append(f"    accepted until {conflict.accepted.until}: {conflict.accepted.reason}")
        lines += [
            f"  {impact.group}: {impact.effect}, {impact.reason}"
            for impact in each.assessment.impacts
            if each.status is not Status.KNOWN
        ]
        lines += [f"  warning: {warning}" for warning in each.schema.warnings]
    return plain("\n".join([*lines, _summary(found)])) + "\n"


def as_json(found: Sequence[Checked]) -> str:
    """For programs."""
    return json.dumps({"schemas": [_checked_as_json(each) for each in found]}, indent=2, ensure_ascii=False) + "\n"


def as_github(found: Sequence[Checked]) -> str:
    """Workflow commands that GitHub shows beside the code."""
    lines = []
    for each in found:
        place = _place_of(each)
        where = f"file={_property(place.file)},line={place.line}," if place else ""
        title = f"title={_property(f'{each.schema.type} version {each.schema.version}')}"
        for level, message in _annotations(each):
            lines.append(f"::{level} {where}{title}::{_message(message)}")
    return "".join(f"{line}\n" for line in [*lines, _summary(found)])


def as_junit(found: Sequence[Checked]) -> str:
    """One test case a version."""
    refused = [each for each in found if each.status in _REFUSED]
    suite = Xml.Element("testsuite", name="eventbus schema check", tests=str(len(found)), failures=str(len(refused)))
    for each in found:
        case = Xml.SubElement(suite, "testcase", classname=each.schema.type, name=f"version {each.schema.version}")
        if each in refused:
            messages = [message for level, message in _annotations(each) if level == "error"]
            failure = Xml.SubElement(case, "failure", message=str(each.status), type=str(each.status))
            failure.text = plain("\n".join(messages))
    return Xml.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


FORMATS: dict[str, Callable[[Sequence[Checked]], str]] = {
    "text": as_text,
    "json": as_json,
    "github": as_github,
    "junit": as_junit,
}


def _summary(found: Sequence[Checked]) -> str:
    counts = {status: sum(each.status is status for each in found) for status in Status}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "no schema is declared."


def _checked_as_json(each: Checked) -> dict[str, Any]:
    told: dict[str, Any] = {"type": each.schema.type, "version": each.schema.version, "status": str(each.status)}
    if each.assessment is None:
        return {**told, "reason": each.reason}
    return {
        **told,
        "compatibility": str(each.assessment.mode),
        "conflicts": [_conflict_as_json(conflict) for conflict in each.assessment.conflicts],
        "groups": [
            {"group": impact.group, "effect": str(impact.effect), "reason": impact.reason}
            for impact in each.assessment.impacts
        ],
        "warnings": list(each.schema.warnings),
    }


def _conflict_as_json(conflict: Conflict) -> dict[str, Any]:
    accepted = conflict.accepted.as_json() if conflict.accepted else None
    return {"other": conflict.other, **problem_as_json(conflict.problem), "accepted": accepted}


def _annotations(each: Checked) -> list[tuple[str, str]]:
    if each.assessment is None:
        return [("error", each.reason)] if each.reason else []
    found = []
    for conflict in each.assessment.conflicts:
        groups = f" Breaks {', '.join(conflict.problem.groups)}." if conflict.problem.groups else ""
        accepted = f" Accepted until {conflict.accepted.until}." if conflict.accepted else ""
        level = "warning" if conflict.accepted else "error"
        found.append((level, f"with version {conflict.other}: {conflict.problem}{groups}{accepted}"))
    return found


def _place_of(each: Checked) -> Place | None:
    if each.schema.schema is None:
        return None
    declared = each.schema.schema.__class__
    try:
        file, line = inspect.getsourcefile(declared), inspect.getsourcelines(declared)[1]
    except (OSError, TypeError):  # made at run time, without a source
        return None
    if file is None:
        return None
    path = Path(file)
    return Place(file=str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path), line=line)


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
