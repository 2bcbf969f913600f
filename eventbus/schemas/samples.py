"""Values that a schema allows, telling ones first: ends of ranges, shortest texts, one item, no optional field.

Used to look for counterexamples and to give examples. Whatever comes out has been validated.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from eventbus.schemas.alternatives import Case, cases
from eventbus.schemas.collections_containment import all_of, item, required, sizes
from eventbus.schemas.documents import Document
from eventbus.schemas.findings import Step
from eventbus.schemas.json_values import same
from eventbus.schemas.languages import texts
from eventbus.schemas.lexical import FORMAT, FORMS
from eventbus.schemas.scalar_containment import bounds, case_patterns, form_accepts, lengths

#: Nested deeper than this, only what is required is filled in.
MAX_DEPTH = 6

_NUMBERS = (1, 0, -1, 1.5, 2, 10, 100, -100, 0.25, 12.34, 1e20)
_TEXTS = ("a", "", "abc", "12", "1.5", "2024-02-29", "A", "x" * 20, "a b", "red", "true")


class Samples:
    """Values of one writer's document."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def of(self, node: Any, *, depth: int = 0, most: int = 12) -> list[Any]:
        """Up to *most* valid values of *node*, each once."""
        found: list[Any] = []
        for value in islice(self._candidates(node, depth), 80):
            if not any(same(value, each) for each in found) and self.allows(node, value):
                found.append(value)
            if len(found) == most:
                break
        return found

    def allows(self, node: Any, value: Any) -> bool:
        """Whether *value* is valid against *node*, also in what validators do not know."""
        if not self.document.accepts(node, value):
            return False
        told = cases(node, self.document, "writer") if isinstance(value, str) else []
        return not told or any(form_accepts(case, value) for case in told if case.type == "string")

    def first(self, node: Any, depth: int = 0) -> list[Any]:
        """One valid value of *node*, or none."""
        return self.of(node, depth=depth, most=1)

    def around(self, steps: tuple[Step, ...], value: Any, *, omitted: str | None = None) -> Iterator[Any]:
        """Payloads with *value* at the place that *steps* lead to; with *omitted*, its object lacks that key."""
        yield from self._around(self.document.root, steps, value, omitted, 0)

    def _around(self, node: Any, steps: tuple[Step, ...], value: Any, omitted: str | None, depth: int) -> Iterator[Any]:
        if not steps:
            yield value if omitted is None else {key: each for key, each in value.items() if key != omitted}
            return
        step, rest = steps[0], steps[1:]
        is_object = step.key is not None or step.is_entry
        for case in cases(node, self.document, "writer"):
            if case.type != ("object" if is_object else "array"):
                continue
            fill = self._with_key if is_object else self._with_item
            yield from fill(case, step, rest, value, omitted, depth)

    def _with_key(
        self, case: Case, step: Step, rest: tuple[Step, ...], value: Any, omitted: str | None, depth: int
    ) -> Iterator[Any]:
        key = step.key if step.key is not None else self._free_key(case, step)
        for inner in self._around(value_of(case, key), rest, value, omitted, depth + 1):
            for base in self._objects(case, depth):
                yield {**base, key: inner}

    def _with_item(
        self, case: Case, step: Step, rest: tuple[Step, ...], value: Any, omitted: str | None, depth: int
    ) -> Iterator[Any]:
        at = step.index or 0
        for inner in self._around(item(case, at), rest, value, omitted, depth + 1):
            before = [each for index in range(at) for each in self.first(item(case, index), depth + 1)]
            least = sizes(case, "minItems", "maxItems")[0]
            after = [
                each for index in range(at + 1, min(least, 50)) for each in self.first(item(case, index), depth + 1)
            ]
            yield [*before, inner, *after]

    def _free_key(self, case: Case, step: Step) -> str:
        names = all_of(case.find("propertyNames"))
        patterns = [pattern for told in case.find("patternProperties") for pattern in told]
        found = self.of(all_of([{"type": "string"}, names])) if names is not True else ["k", "x"]
        named = [text for pattern in patterns for text in texts([pattern])]
        free = [key for key in (*named, *found) if isinstance(key, str) and key not in step.taken]
        return free[0] if free else "k"

    def _candidates(self, node: Any, depth: int) -> Iterator[Any]:
        for case in sorted(cases(node, self.document, "writer"), key=lambda case: case.type == "null"):
            if case.values is not None:
                yield from case.values
            elif case.type == "number":
                yield from _numbers(case)
            elif case.type == "string":
                yield from _strings(case)
            elif case.type == "array":
                yield from self._arrays(case, depth)
            else:
                yield from self._objects(case, depth)

    def _arrays(self, case: Case, depth: int) -> Iterator[Any]:
        least = min(sizes(case, "minItems", "maxItems")[0], 50)
        for wanted in sorted({least, max(least, 1) if depth < MAX_DEPTH else least, least + 1}):
            if wanted > least and depth >= MAX_DEPTH:
                return
            pools = [self.of(item(case, index), depth=depth + 1, most=wanted + 1) for index in range(wanted)]
            if all(pools):
                yield [pool[0] for pool in pools]
                yield [pool[index % len(pool)] for index, pool in enumerate(pools)]

    def _objects(self, case: Case, depth: int) -> Iterator[Any]:
        """The smallest one, the fullest one, and one with a key that nobody names."""
        always = {key: each for key in required(case) for each in self.first(value_of(case, key), depth + 1)}
        always |= self._fill(case, always, depth)
        yield always
        if depth < MAX_DEPTH:
            named = [key for properties in case.find("properties") for key in properties]
            rest = {key: each for key in named for each in self.first(value_of(case, key), depth + 1)}
            yield {**always, **rest}
            yield from ({**always, key: each} for key, each in islice(rest.items(), 20) if key not in always)
        key = self._free_key(case, Step(taken=tuple(always)))
        for each in self.first(value_of(case, key), depth + 1) if depth < MAX_DEPTH else ():
            yield {**always, key: each}

    def _fill(self, case: Case, always: dict[str, Any], depth: int) -> dict[str, Any]:
        """More entries, where there must be more of them than have names."""
        missing = min(sizes(case, "minProperties", "maxProperties")[0], 50) - len(always)
        if missing <= 0:
            return {}
        names = all_of(case.find("propertyNames"))
        keys = self.of(names, most=missing + 5) if names is not True else [f"k{number}" for number in range(missing)]
        free = [key for key in keys if isinstance(key, str) and key not in always][:missing]
        return {key: each for key in free for each in self.first(value_of(case, key), depth + 1)}


def value_of(case: Case, key: str) -> Any:
    """What must hold of the value at *key*."""
    from_parts = []
    for part in case.parts:
        if key in part.get("properties", {}):
            from_parts.append(part["properties"][key])
        elif part.get("patternProperties"):
            from_parts += list(part["patternProperties"].values())[:1]
        else:
            from_parts.append(part.get("additionalProperties", True))
    return all_of(from_parts)


def _numbers(case: Case) -> Iterator[Any]:
    own = bounds(case)
    ends = [end for end in (own.low, own.high) if end is not None]
    for end in ends:
        for shift in (0, 1, -1):
            number = end + shift
            yield int(number) if number.denominator == 1 else float(number)
        yield float(end) + 0.5
        yield float(end) - 0.5
    yield from _NUMBERS
    for step in case.find("multipleOf"):
        yield from (step, 0, step * 2, step * 3)


def _strings(case: Case) -> Iterator[str]:
    for form in (*case.find("format"), *case.find(FORMAT)):
        yield from FORMS[form].samples if form in FORMS else ()
    own = bounds(case, "x-eventbus-")
    yield from (str(int(end) + shift) for end in (own.low, own.high) if end is not None for shift in (0, 1, -1))
    least, most = lengths(case)
    if case.find("pattern"):
        yield from texts(case_patterns(case, (least, most)))
    yield from _TEXTS
    for size in (least, most):
        if size is not None and size < 10_000:
            yield "a" * size
