"""Assessment: what a new version of an event type would break, against which versions, and whom.

candidate, the versions that live, the groups that read ─▶ assess ─▶ problems by version, impacts by group
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from eventbus.schemas.acceptance import Acceptance, accepts
from eventbus.schemas.compatibility import Direction, Problem, Verdict
from eventbus.schemas.contracts import Effect, GroupContract, Impact, impact
from eventbus.schemas.examples import example
from eventbus.schemas.findings import Rule
from eventbus.schemas.fixes import fix_for_rule
from eventbus.schemas.versions import Conversions, Mode, check_version


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A problem between the candidate and one version that lives."""

    other: int
    problem: Problem
    #: Why it does not count; None if it does.
    accepted: Acceptance | None = None


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What is known of a candidate."""

    type: str
    version: int
    mode: Mode
    #: The candidate is registered, with this very wire form.
    is_known: bool
    conflicts: tuple[Conflict, ...] = ()
    #: What becomes of each group when events of the candidate come.
    impacts: tuple[Impact, ...] = ()

    @property
    def breaking(self) -> tuple[Conflict, ...]:
        """The conflicts that nobody accepted."""
        return tuple(each for each in self.conflicts if each.accepted is None)

    @property
    def is_provable(self) -> bool:
        """Whether some conflict that counts has a witness; else nobody can tell."""
        return any(each.problem.verdict is not Verdict.UNPROVEN for each in self.breaking)

    def groups(self, effect: Effect) -> list[str]:
        """The groups to which the candidate does *effect*, by name."""
        return sorted(each.group for each in self.impacts if each.effect is effect)


def assess(
    type: str,
    version: int,
    candidate: Mapping[str, Any],
    living: Mapping[int, Mapping[str, Any]],
    *,
    mode: Mode,
    conversions: Conversions,
    groups: Iterable[GroupContract] = (),
    acceptances: Iterable[Acceptance] = (),
    today: date,
) -> Assessment:
    """What *candidate* would break as *version* of *type*.

    Args:
        type: Event type.
        version: Of the candidate.
        candidate: Its JSON Schema.
        living: JSON Schemas of the versions that are not retired; may hold *version* itself.
        mode: How far and which way to look.
        conversions: Steps that stand in for compatibility.
        groups: Whoever subscribes to the type.
        acceptances: What somebody answers for.
        today: Acceptances that ended before do not count.

    Raises:
        SchemaEditedInPlace: *version* lives with another wire form.
    """
    found = check_version(type, version, candidate, living, mode=mode, conversions=conversions)
    older = [number for number in living if number < version]
    newest = max(older, default=0)
    impacts: list[Impact] = []
    if older:
        impacts = impact(type, (newest, living[newest]), (version, candidate), groups, conversions=conversions)
    answers = list(acceptances)
    problems = [(other, _with_groups(problem, impacts)) for other, each in found.items() for problem in each]
    if older and Direction.FORWARD in mode.directions:
        told = {problem.path for _, problem in problems if problem.groups}
        problems += [(newest, each) for each in _contract_problems(impacts, candidate) if each.path not in told]
    conflicts = [
        Conflict(other=other, problem=problem, accepted=accepts(answers, type, problem, today))
        for other, problem in problems
    ]
    return Assessment(
        type=type,
        version=version,
        mode=mode,
        is_known=version in living,
        conflicts=tuple(conflicts),
        impacts=tuple(impacts),
    )


def _with_groups(problem: Problem, impacts: Iterable[Impact]) -> Problem:
    """*problem*, if it is about what readers of today get, with the groups that it breaks."""
    if problem.direction is not Direction.FORWARD:
        return problem
    broken = [each.group for each in impacts if each.effect is Effect.BREAKS and _is_about(each, problem.path)]
    return replace(problem, groups=tuple(sorted(broken)))


def sentence(found: Assessment) -> str:
    """Why the candidate is refused, and the way out, for the person who declared it."""
    parts = [f"{found.type} version {found.version} is not compatible ({found.mode})."]
    for each in found.breaking:
        groups = f" Breaks {', '.join(each.problem.groups)}." if each.problem.groups else ""
        parts.append(f"With version {each.other}: {each.problem}{groups}")
    for effect, words in ((Effect.BREAKS, "break"), (Effect.AFFECTS, "may be affected"), (Effect.SAFE, "are safe")):
        if names := found.groups(effect):
            parts.append(f"Groups that {words}: {', '.join(names)}.")
    return " ".join(parts)


def _contract_problems(impacts: Iterable[Impact], candidate: Mapping[str, Any]) -> Iterator[Problem]:
    """What the versions do not say, and the groups do: it is missing to whoever came for it."""
    for each in impacts:
        if each.effect is not Effect.BREAKS:
            continue
        for problem in each.problems:
            yield replace(problem, groups=(each.group,))
        if each.paths and not each.problems and each.paths != ("",):
            shown = example(candidate)
            yield Problem(
                path=each.paths[0],
                rule=Rule.READ_FIELD_DROPPED,
                direction=Direction.FORWARD,
                verdict=Verdict.LOSES if shown else Verdict.UNPROVEN,
                old={"group": each.group, "reads": each.paths[0]},
                new=None,
                counterexample=shown[0] if shown else None,
                fix=fix_for_rule(Rule.READ_FIELD_DROPPED),
                groups=(each.group,),
            )


def _is_about(each: Impact, path: str) -> bool:
    return any(_meet(found, path) for found in each.paths)


def _meet(one: str, other: str) -> bool:
    """Whether one of two wire paths lies on the other's."""
    shorter, longer = sorted((one, other), key=len)
    return not shorter or longer == shorter or longer.startswith((f"{shorter}.", f"{shorter}["))
