"""Arrays and objects: whether one case's members all fit into another's.

What each key or position may hold is the conjunction of everything said about it; ``allOf`` writes that down, and the
comparison goes on from there.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from eventbus.schemas.alternatives import Case
from eventbus.schemas.documents import Document
from eventbus.schemas.findings import Finding, Place, Rule, Step
from eventbus.schemas.fingerprints import without_text
from eventbus.schemas.languages import Undecided, find_text
from eventbus.schemas.projection import PRUNES

_Compare = Callable[[Any, Any, tuple[Step, ...]], list[Finding]]


class _Comparison(Protocol):
    reader: Document
    writer: Document

    def compare(self, writer: Any, reader: Any, steps: tuple[Step, ...] = ()) -> list[Finding]: ...


def all_of(nodes: Iterable[Any]) -> Any:
    """One schema that demands what all of them demand."""
    told = [node for node in nodes if node is not True and node != {}]
    if any(node is False for node in told):
        return False
    return True if not told else told[0] if len(told) == 1 else {"allOf": told}


def compare_arrays(case: Case, take: Case, place: Place, compare: _Compare) -> list[Finding]:
    """Where arrays of *case* are none of *take*."""
    own, other = sizes(case, "minItems", "maxItems"), sizes(take, "minItems", "maxItems")
    most = reachable_length(case, own[1])
    if most is not None and own[0] > most:
        return []
    found = _compare_sizes((own[0], most), other, "Items", place)
    if True in take.find("uniqueItems") and True not in case.find("uniqueItems") and (most is None or most > 1):
        told = {"uniqueItems": True}
        found.append(place.finding(Rule.ITEMS_NOT_UNIQUE, writer={"uniqueItems": False}, reader=told))
    positions = max([0, *(len(_prefix(part)) for part in (*case.parts, *take.parts))])
    for index in range(positions if most is None else min(positions, most)):
        step = Step(index=index)
        found += compare(item(case, index), item(take, index), (*place.steps, step))
    if most is None or most > positions:
        step = Step() if positions == 0 else Step(index=positions)
        found += compare(item(case, positions), item(take, positions), (*place.steps, step))
    return found


def _compare_sizes(
    own: tuple[int, int | None], other: tuple[int, int | None], what: str, place: Place
) -> list[Finding]:
    if own[0] >= other[0] and (other[1] is None or (own[1] is not None and own[1] <= other[1])):
        return []
    told = {f"min{what}": other[0], f"max{what}": other[1]}
    return [place.finding(Rule.SIZE_NARROWED, writer={f"min{what}": own[0], f"max{what}": own[1]}, reader=told)]


def sizes(case: Case, least: str, most: str) -> tuple[int, int | None]:
    """Fewest and most members."""
    highs = case.find(most)
    return int(max([0, *case.find(least)])), int(min(highs)) if highs else None


def reachable_length(case: Case, most: int | None) -> int | None:
    """The most items there can be, given that some position may hold nothing."""
    positions = max([0, *(len(_prefix(part)) for part in case.parts)])
    for index in range(positions + 1):
        if item(case, index) is False:
            return index if most is None else min(index, most)
    return most


def item(case: Case, index: int) -> Any:
    """What the item at *index* must be."""
    return all_of(_item(part, index) for part in case.parts)


def _prefix(part: dict[str, Any]) -> list[Any]:
    if isinstance(part.get("prefixItems"), list):
        return list(part["prefixItems"])
    return list(part["items"]) if isinstance(part.get("items"), list) else []


def _item(part: dict[str, Any], index: int) -> Any:
    prefix = _prefix(part)
    if index < len(prefix):
        return prefix[index]
    if isinstance(part.get("items"), list):
        return part.get("additionalItems", True)
    return part.get("items", True)


def compare_objects(case: Case, take: Case, place: Place, comparison: _Comparison) -> list[Finding]:
    """Where objects of *case* are none of *take*."""
    if any(_value_of(case, key) is False for key in required(case)):
        return []
    found = [
        place.finding(
            Rule.REQUIRED_MISSING, writer={"required": required(case)}, reader={"required": [key]}, omitted=key
        )
        for key in required(take)
        if key not in required(case)
    ]
    found += _compare_counts(case, take, place)
    found += _compare_names(case, take, place, comparison)
    for key in sorted({*_named(case), *_named(take)}):
        step = Step(key=key)
        found += comparison.compare(_value_of(case, key), _value_of(take, key), (*place.steps, step))
    found += _compare_entries(case, take, place, comparison)
    return found + _renamed(case, take, place) + _pruned(case, take, place)


def required(case: Case) -> list[str]:
    """Keys that are always there."""
    return sorted({key for keys in case.find("required") if isinstance(keys, list) for key in keys})


def _named(case: Case) -> list[str]:
    return [key for properties in case.find("properties") for key in properties]


def _patterns(case: Case) -> list[tuple[str, Any]]:
    return [pair for patterns in case.find("patternProperties") for pair in patterns.items()]


def _value_of(case: Case, key: str) -> Any:
    """What must hold of the value at *key*; False if the key cannot be there."""
    return all_of(node for part in case.parts for node in _values_in(part, key))


def _values_in(part: dict[str, Any], key: str) -> list[Any]:
    told = [node for pattern, node in part.get("patternProperties", {}).items() if re.search(pattern, key)]
    if key in part.get("properties", {}):
        told.append(part["properties"][key])
    return told or [part.get("additionalProperties", True)]


def is_closed(case: Case) -> bool:
    """Whether only named keys can be there."""
    return any(
        part.get("additionalProperties", True) is False and not part.get("patternProperties") for part in case.parts
    )


def _compare_counts(case: Case, take: Case, place: Place) -> list[Finding]:
    least, most = sizes(case, "minProperties", "maxProperties")
    if is_closed(case):
        possible = len({key for key in _named(case) if _value_of(case, key) is not False})
        most = possible if most is None else min(most, possible)
    own = max(least, len(required(case))), most
    return _compare_sizes(own, sizes(take, "minProperties", "maxProperties"), "Properties", place)


def _compare_names(case: Case, take: Case, place: Place, comparison: _Comparison) -> list[Finding]:
    """The names of keys; those that the writer does not list are compared as any text."""
    found: list[Finding] = []
    own = all_of(case.find("propertyNames"))
    for wanted in take.find("propertyNames"):
        bad = [
            key
            for key in _named(case)
            if _value_of(case, key) is not False
            and comparison.writer.accepts(own, key)
            and not comparison.reader.accepts(wanted, key)
        ]
        told = {"propertyNames": wanted}
        if bad:
            found.append(place.finding(Rule.KEY_REFUSED, writer=bad, reader=told))
        if is_closed(case):
            continue
        unlike = comparison.compare(all_of([{"type": "string"}, own]), wanted, ())
        if unlike:
            keys = tuple(each for finding in unlike for each in finding.candidates if isinstance(each, str))
            found.append(place.finding(Rule.KEY_REFUSED, writer={"propertyNames": own}, reader=told, candidates=keys))
    return found


def _compare_entries(case: Case, take: Case, place: Place, comparison: _Comparison) -> list[Finding]:
    """Keys that the writer does not list: any that fits one of its patterns, and any other."""
    entry = Step(is_entry=True, taken=tuple(_named(case)))
    steps = (*place.steps, entry)
    found: list[Finding] = []
    for pattern, node in _patterns(case):
        for part in take.parts:
            told = part.get("patternProperties", {})
            others = [] if pattern in told else [part.get("additionalProperties", True)]
            for inner in (*(inner for wanted, inner in told.items() if _can_meet(pattern, wanted)), *others):
                found += comparison.compare(node, inner, steps)
    others = [part.get("additionalProperties", True) for part in case.parts]
    if False not in others:
        for part in take.parts:
            for inner in (part.get("additionalProperties", True), *part.get("patternProperties", {}).values()):
                found += comparison.compare(all_of(others), inner, steps)
    return found


def _can_meet(one: str, two: str) -> bool:
    """Whether some key matches both patterns."""
    try:
        return find_text([one, two]) is not None
    except Undecided:
        return True


def _renamed(case: Case, take: Case, place: Place) -> list[Finding]:
    """One optional field gone and one of the same type come: both load, and the value is lost on the way."""
    if not is_closed(case):
        return []
    gone = {key: _meaning(case, key) for key in _optional(case) if key not in _named(take)}
    come = {key: _meaning(take, key) for key in _optional(take) if key not in _named(case)}
    found = []
    for old, told in gone.items():
        twins = [key for key, other in come.items() if other == told]
        if len(twins) == 1 and list(gone.values()).count(told) == 1:
            one = place.finding(Rule.RENAMED, writer={"properties": [old]}, reader={"properties": twins}, omitted=old)
            found.append(one)
    return found


def _pruned(case: Case, take: Case, place: Place) -> list[Finding]:
    """Any key may come, on purpose, and the reader leaves out all that it does not name."""
    others = [part.get("additionalProperties", True) for part in case.parts]
    read = {pattern for pattern, _ in _patterns(take)}
    may_come = False not in others or any(node is not False and key not in read for key, node in _patterns(case))
    if not may_come or not any(PRUNES in part for part in take.parts):
        return []
    told = {"properties": sorted(set(_named(take)))}
    return [place.finding(Rule.ENTRIES_PRUNED, writer={"additionalProperties": all_of(others)}, reader=told)]


def _optional(case: Case) -> list[str]:
    always = {key for part in case.parts for key in part.get("required", [])}
    defaults = {key for part in case.parts for key in part.get("x-eventbus-defaults", [])}
    return [key for key in _named(case) if key not in always - defaults]


def _meaning(case: Case, key: str) -> Any:
    told = without_text(_value_of(case, key))
    if isinstance(told, dict) and isinstance(told.get("anyOf"), list) and told["anyOf"] and set(told) == {"anyOf"}:
        return told["anyOf"][0] if len(told["anyOf"]) == 2 else told
    return told
