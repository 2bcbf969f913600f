"""The compatibility check over every field kind, edit and place; and what it would miss without each of its rules."""

from collections import Counter
from typing import Any

import pytest

from eventbus.errors import InvalidSchema
from eventbus.schemas.compatibility import Problem, check
from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.findings import Rule
from tests.schema_sweep import SweepCase, contradictions, sweep_cases

#: Rules about keywords that our schemas do not have (tests/unit/schemas/test_compatibility.py fires them), about groups, and
#: about entries of a Dict, which to the oracle are keys like any others.
FOREIGN = {Rule.MULTIPLE_CHANGED, Rule.ITEMS_NOT_UNIQUE, Rule.READ_FIELD_DROPPED, Rule.ENTRIES_PRUNED}


@pytest.fixture(scope="module")
def cases() -> list[SweepCase]:
    """The whole sweep."""
    return list(sweep_cases())


@pytest.fixture(scope="module")
def problems(cases: list[SweepCase]) -> dict[str, list[Problem]]:
    """What the check says of each case, by the text of its two schemas."""
    found: dict[str, list[Problem]] = {}
    for case in cases:
        try:
            reader, writer = to_json_schema(case.reader), to_json_schema(case.writer)
        except InvalidSchema:
            continue
        found[_key(reader, writer)] = check(reader, writer)
    return found


def test_nothing_that_is_called_safe_breaks(cases: list[SweepCase], problems: dict[str, list[Problem]]) -> None:
    """Sound: wherever no problem is reported, every event loads without loss."""
    wrong = {case.name: events for case in cases if (events := contradictions(case, _without(None, problems)))}

    assert wrong == {}


def test_every_rule_fires(problems: dict[str, list[Problem]]) -> None:
    """No rule is dead."""
    fired = Counter(problem.rule for found in problems.values() for problem in found)

    assert set(Rule) - FOREIGN - set(fired) == set()


def test_nearly_every_problem_has_a_counterexample(problems: dict[str, list[Problem]]) -> None:
    """Precise: at least 95 % of what can be decided is shown by an event."""
    told = [problem for found in problems.values() for problem in found if problem.rule is not Rule.CANNOT_TELL]

    assert sum(problem.verdict != "unproven" for problem in told) >= 0.95 * len(told)


@pytest.mark.parametrize("rule", sorted(set(Rule) - FOREIGN))
def test_the_sweep_notices_when_a_rule_is_missing(
    rule: Rule, cases: list[SweepCase], problems: dict[str, list[Problem]]
) -> None:
    """A check that forgets one rule calls something safe that the sweep shows to break."""
    forgetful = _without(rule, problems)

    assert any(contradictions(case, forgetful) for case in cases if _is_all(rule, case, problems))


def _without(rule: Rule | None, problems: dict[str, list[Problem]]) -> Any:
    def forgetful(reader: Any, writer: Any) -> list[Problem]:
        return [problem for problem in problems[_key(reader, writer)] if problem.rule is not rule]

    return forgetful


def _is_all(rule: Rule, case: SweepCase, problems: dict[str, list[Problem]]) -> bool:
    """Whether nothing but *rule* speaks against a case."""
    try:
        found = problems[_key(to_json_schema(case.reader), to_json_schema(case.writer))]
    except InvalidSchema:
        return False
    return bool(found) and all(problem.rule is rule for problem in found)


def _key(reader: Any, writer: Any) -> str:
    return f"{reader}|{writer}"
