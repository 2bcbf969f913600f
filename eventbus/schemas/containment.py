"""Whether every value one schema can write is a value another one reads: the comparison itself.

    cases of the writer ─▶ each must fit into one case of the reader ─▶ findings where none can be shown to

Sound by construction: whatever is not shown to fit is found. A pair of schemas that is met again while it is being
compared is taken to fit; that is what makes recursive schemas end.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from eventbus.schemas.alternatives import Case, cases
from eventbus.schemas.collections_containment import compare_arrays, compare_objects
from eventbus.schemas.documents import Document
from eventbus.schemas.findings import Finding, Place, Rule, Step
from eventbus.schemas.fingerprints import without_text
from eventbus.schemas.given import GIVEN, differences
from eventbus.schemas.json_values import same, type_of
from eventbus.schemas.lexical import FORMAT
from eventbus.schemas.scalar_containment import compare_numbers, compare_strings, form_accepts

#: Deeper than this, two schemas are not compared.
MAX_DEPTH = 60

#: Open conditions of the writer that make its whole wire form uncertain.
_HOOK = '"what": "hook'

_Steps = tuple[Step, ...]


@dataclass(kw_only=True)
class Comparison:
    """One comparison of two projections."""

    reader: Document
    writer: Document
    _met: set[str] = field(default_factory=set)

    def compare(self, writer: Any, reader: Any, steps: _Steps = ()) -> list[Finding]:
        """Where the reader may refuse what the writer can emit; empty if it is shown to take everything."""
        place = Place(writer=writer, reader=reader, steps=steps)
        key = json.dumps([without_text(writer), without_text(reader)], sort_keys=True)
        if key in self._met or reader is True or reader == {}:
            return []
        if len(steps) > MAX_DEPTH:
            return [place.finding(Rule.CANNOT_TELL, writer=writer, reader=reader, reason="it nests too deeply")]
        before = set(self._met)
        self._met.add(key)
        found = self._compare_cases(place)
        if found:
            self._met = before
        return found

    def _compare_cases(self, place: Place) -> list[Finding]:
        takes = cases(place.reader, self.reader, "reader")
        found: list[Finding] = []
        for case in cases(place.writer, self.writer, "writer"):
            found += self._compare_case(case, takes, place)
        return list({(each.rule, each.steps, repr(each.reader)): each for each in found}.values())

    def _compare_case(self, case: Case, takes: list[Case], place: Place) -> list[Finding]:
        unlike = self._hooks_differ(case, takes, place)
        if unlike:
            return unlike
        if case.values is not None:
            return self._compare_values(case, case.values, takes, place)
        same_type = [each for each in takes if each.type == case.type]
        if not same_type:
            return [self._refused_type(case, takes, place)]
        attempts = []
        for each in same_type:
            attempts.append(self._fit(case, each, place))
            if not attempts[-1]:
                return []
        return min(attempts, key=len)

    def _hooks_differ(self, case: Case, takes: list[Case], place: Place) -> list[Finding]:
        """Hooks may do anything, so they must be the same code on both sides."""
        own = {condition for condition in case.conditions if _HOOK in condition}
        for each in takes:
            if each.type == case.type and own == {condition for condition in each.conditions if _HOOK in condition}:
                return []
        if not own or not any(each.type == case.type for each in takes):
            return []
        reason = "a hook of the schema was changed, added or removed"
        return [place.finding(Rule.CANNOT_TELL, writer=sorted(own), reader=None, reason=reason)]

    def _compare_values(self, case: Case, values: tuple[Any, ...], takes: list[Case], place: Place) -> list[Finding]:
        bad = [
            value
            for value in values
            if self.writer.accepts(place.writer, value) and not self._reads(value, takes, place)
        ]
        if bad and not any(each.type == case.type for each in takes):
            return [self._refused_type(case, takes, place, tuple(bad))]
        if bad:
            listed = [value for each in takes if each.values is not None for value in each.values]
            return [place.finding(Rule.VALUE_REFUSED, writer=bad, reader=listed, candidates=tuple(bad))]
        coded = [each for each in takes if each.type == case.type and _code(each)]
        unlike = [each for each in coded if not _code(each) <= case.conditions]
        return [self._condition(case, unlike[0], place)] if unlike else self._same_form(case, coded, place)

    def _reads(self, value: Any, takes: list[Case], place: Place) -> bool:
        """Whether one value loads: valid to a validator, and to what no validator knows."""
        if not self.reader.accepts(place.reader, value):
            return False
        return any(form_accepts(each, value) for each in takes if each.type == type_of(value))

    def _refused_type(self, case: Case, takes: list[Case], place: Place, candidates: tuple[Any, ...] = ()) -> Finding:
        kinds = sorted({each.type for each in takes})
        if {"decimal", "integer"} & set(case.find(FORMAT)):
            candidates = (*candidates, "1" + "0" * 400)
        rule = Rule.NULL_REFUSED if case.type == "null" else Rule.TYPE_REFUSED
        return place.finding(rule, writer={"type": case.type}, reader={"type": kinds}, candidates=candidates)

    def _fit(self, case: Case, take: Case, place: Place) -> list[Finding]:
        if not take.conditions <= case.conditions:
            return [self._condition(case, take, place)]
        found = self._same_form(case, [take], place)
        if take.values is not None:
            return [*found, place.finding(Rule.VALUE_REFUSED, writer=case.type, reader=list(take.values))]
        found += self._excluded(case, take, place)
        if case.type == "number":
            found += compare_numbers(case, take, place)
        elif case.type == "string":
            found += compare_strings(case, take, place)
        elif case.type == "array":
            found += compare_arrays(case, take, place, self.compare)
        elif case.type == "object":
            found += compare_objects(case, take, place, self)
        return found

    def _condition(self, case: Case, take: Case, place: Place) -> Finding:
        missing = sorted(take.conditions - case.conditions)
        reason = f"the reader also demands {_shorten(missing[0])}"
        return place.finding(Rule.CANNOT_TELL, writer=None, reader=missing, reason=reason)

    def _same_form(self, case: Case, takes: list[Case], place: Place) -> list[Finding]:
        """A validator or hook that is unchanged says the same only of values that load alike."""
        unlike = [take for take in takes if _has_validator(take) and _form(case) != _form(take)]
        if unlike:
            reason = "its validator is unchanged, but the values it is asked about are not"
            return [place.finding(Rule.CANNOT_TELL, writer=_form(case), reader=_form(unlike[0]), reason=reason)]
        for take in takes:
            names = differences(case.find(GIVEN), take.find(GIVEN))
            if names:
                reason = f"its validators and hooks are unchanged, but what they are given is not ({', '.join(names)})"
                return [place.finding(Rule.CANNOT_TELL, writer=None, reader=names, reason=reason)]
        return []

    def _excluded(self, case: Case, take: Case, place: Place) -> list[Finding]:
        bad = [
            value
            for value in take.excluded
            if type_of(value) == case.type
            and not any(same(value, each) for each in case.excluded)
            and self.writer.accepts(place.writer, value)
        ]
        told = {"not": {"enum": list(take.excluded)}}
        return [place.finding(Rule.VALUE_REFUSED, writer=bad, reader=told, candidates=tuple(bad))] if bad else []


def _code(case: Case) -> frozenset[str]:
    """The conditions that are code, which no validator can check."""
    return frozenset(condition for condition in case.conditions if "x-eventbus-opaque" in condition)


def _has_validator(case: Case) -> bool:
    return any('"what": "validator' in condition for condition in case.conditions)


def _form(case: Case) -> tuple[Any, ...]:
    forms = sorted({*case.find("format"), *case.find(FORMAT)})
    return case.type, case.is_integer, tuple(forms)


def _shorten(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."
