"""A JSON Schema as a choice of simple cases: one JSON type each, and all that must hold of it.

    {"type": ["string", "null"], "maxLength": 3}  ─▶  string with maxLength 3  |  null

Compatibility is decided case by case. What does not fit this form is kept as an *open condition*: a reader's counts
as broken unless the writer has the very same one, a writer's is left out, which only makes it able to write more.
Both errors are on the safe side.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from eventbus.schemas.documents import Document
from eventbus.schemas.fingerprints import TEXT_KEYWORDS, without_text
from eventbus.schemas.json_values import same, type_of

Role = Literal["reader", "writer"]

#: More alternatives than this are not compared.
MAX_ALTERNATIVES = 200

ALL_TYPES = frozenset({"null", "boolean", "number", "string", "array", "object"})

#: Keywords that the comparison understands, each about one JSON type or the values themselves.
_UNDERSTOOD = frozenset(
    [
        "type",
        "enum",
        "const",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "items",
        "prefixItems",
        "additionalItems",
        "minItems",
        "maxItems",
        "uniqueItems",
        "properties",
        "patternProperties",
        "additionalProperties",
        "required",
        "minProperties",
        "maxProperties",
        "propertyNames",
        "x-eventbus-format",
        "x-eventbus-lenient",
        "x-eventbus-places",
        "x-eventbus-minimum",
        "x-eventbus-maximum",
        "x-eventbus-exclusiveMinimum",
        "x-eventbus-exclusiveMaximum",
        "x-eventbus-defaults",
        "x-eventbus-load-only",
        "x-eventbus-prunes",
        "x-eventbus-given",
    ]
)

#: Keywords that are about something else than validity.
_SILENT = TEXT_KEYWORDS | {"definitions", "$defs", "id", "contentMediaType", "contentEncoding", "$vocabulary"}

_COMBINATORS = frozenset({"allOf", "anyOf", "oneOf", "not", "$ref", "x-eventbus-opaque"})


#: Keywords that mean something only together, so that they are one open condition.
_TOGETHER = (frozenset({"if", "then", "else"}), frozenset({"contains", "minContains", "maxContains"}))


class TooComplex(Exception):
    """There are more alternatives than anybody would compare, or a type nobody knows."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One JSON type and everything that must hold of a value of it."""

    type: str
    #: Keywords that hold together; a keyword may stand in several of them.
    parts: tuple[dict[str, Any], ...] = ()
    #: Only whole numbers.
    is_integer: bool = False
    #: The only values, if they are listed.
    values: tuple[Any, ...] | None = None
    #: Values that are none.
    excluded: tuple[Any, ...] = ()
    #: Open conditions, as JSON; equal ones mean the same.
    conditions: frozenset[str] = frozenset()

    def find(self, keyword: str) -> list[Any]:
        """All values of *keyword*."""
        return [part[keyword] for part in self.parts if keyword in part]


@dataclass(frozen=True, kw_only=True)
class _Alternative:
    parts: tuple[dict[str, Any], ...] = ()
    types: frozenset[str] = ALL_TYPES
    is_integer: bool = False
    excluded: tuple[Any, ...] = ()
    conditions: frozenset[str] = field(default_factory=frozenset)


def cases(node: Any, document: Document, role: Role) -> list[Case]:
    """The choice of cases that *node* is; empty if nothing is valid.

    Raises:
        TooComplex: There are too many.
    """
    found = [case for each in _Expansion(document, role).expand(node, ()) for case in _split(each)]
    return list({repr(case): case for case in found}.values())


@dataclass(frozen=True)
class _Expansion:
    document: Document
    role: Role

    def expand(self, node: Any, references: tuple[str, ...]) -> list[_Alternative]:
        """The alternatives of *node*; *references* are those on the way, so that a circle ends."""
        if isinstance(node, bool) or node == {}:
            return [] if node is False else [_Alternative()]
        if not isinstance(node, dict):
            return self.unknown({"schema": node})
        if "$ref" in node and not self.document.reads_siblings_of_references and self.role == "writer":
            return self.reference(node["$ref"], references)
        return self.combined(node, references)

    def combined(self, node: dict[str, Any], references: tuple[str, ...]) -> list[_Alternative]:
        found = _simple({key: value for key, value in node.items() if key in _UNDERSTOOD})
        for together in _TOGETHER:
            if together & set(node):
                found = _both(found, self.unknown({key: node[key] for key in together & set(node)}))
        if any(key.startswith("unevaluated") for key in node):  # its meaning depends on all that stands beside it
            found = _both(found, self.unknown({key: node[key] for key in node if key not in _SILENT}))
        for key, value in node.items():
            if not _is_settled(key):
                found = _both(found, self.member(key, value, references))
        return found

    def member(self, key: str, value: Any, references: tuple[str, ...]) -> list[_Alternative]:
        """The alternatives that one combining keyword leaves."""
        if key == "$ref":
            return self.reference(value, references)
        if key == "allOf" and isinstance(value, list):
            found = [_Alternative()]
            for each in value:
                found = _both(found, self.expand(each, references))
            return found
        if key in ("anyOf", "oneOf") and isinstance(value, list):
            return self.choice(key, value, references)
        if key == "not":
            return self.negation(value, references)
        if key == "x-eventbus-opaque" and isinstance(value, list):
            return [_Alternative(conditions=frozenset(_json({key: each}) for each in value))]
        if key.startswith("depend") and isinstance(value, dict):
            told = [self.unknown({key: {name: each}})[0].conditions for name, each in value.items()]
            return [_Alternative(conditions=frozenset().union(*told))]
        return self.unknown({key: value})

    def choice(self, key: str, value: list[Any], references: tuple[str, ...]) -> list[_Alternative]:
        """anyOf and oneOf: "exactly one" is "any" where no two can hold, and else a condition to a reader."""
        groups = [self.expand(each, references) for each in value]
        found = [alternative for group in groups for alternative in group]
        if key == "anyOf" or _are_disjoint(groups):
            return found
        condition = self.unknown({key: value})
        return _both(found, condition) if self.role == "writer" else condition

    def reference(self, target: Any, references: tuple[str, ...]) -> list[_Alternative]:
        node = self.document.resolve(target)
        if node is None or target in references:
            return self.unknown({"$ref": target})
        return self.expand(node, (*references, target))

    def negation(self, value: Any, references: tuple[str, ...]) -> list[_Alternative]:
        if isinstance(value, bool) or value == {}:
            return [_Alternative()] if value is False else []
        if isinstance(value, dict):
            told = set(value) - _SILENT
            if told == {"enum"} and isinstance(value["enum"], list):
                return [_Alternative(excluded=tuple(value["enum"]))]
            if told == {"const"}:
                return [_Alternative(excluded=(value["const"],))]
            if told == {"type"}:
                return [*self.other_types(value["type"])]
        return self.unknown({"not": value})

    def other_types(self, value: Any) -> list[_Alternative]:
        kinds = {value} if isinstance(value, str) else set(value)
        if "integer" in kinds and "number" not in kinds and self.role == "writer":
            kinds.discard("integer")
        return [_Alternative(types=ALL_TYPES - {"number" if kind == "integer" else kind for kind in kinds})]

    def unknown(self, condition: dict[str, Any]) -> list[_Alternative]:
        """A condition that is not looked into; where it refers to definitions, they are part of it."""
        text = _json(without_text(condition))
        return [_Alternative(conditions=frozenset({text + (self.document.text if '"$ref"' in text else "")}))]


def _is_settled(key: str) -> bool:
    """Whether a keyword says nothing, or has been looked at with others."""
    if key in _UNDERSTOOD or key in _SILENT or key.startswith("unevaluated"):
        return True
    return any(key in together for together in _TOGETHER) or (key.startswith("x-") and key not in _COMBINATORS)


def _simple(keywords: dict[str, Any]) -> list[_Alternative]:
    kinds = keywords.get("type")
    if kinds is None:
        return [_Alternative(parts=(keywords,) if keywords else ())]
    named = {kinds} if isinstance(kinds, str) else set(kinds)
    if named - ALL_TYPES - {"integer"}:
        raise TooComplex
    found = []
    if named - {"integer"}:
        found.append(_Alternative(parts=(keywords,), types=frozenset(named - {"integer"}) & ALL_TYPES))
    if "integer" in named and "number" not in named:
        found.append(_Alternative(parts=(keywords,), types=frozenset({"number"}), is_integer=True))
    return found


def _both(left: Sequence[_Alternative], right: Sequence[_Alternative]) -> list[_Alternative]:
    if len(left) * len(right) > MAX_ALTERNATIVES:
        raise TooComplex
    pairs = [
        _Alternative(
            parts=(*one.parts, *two.parts),
            types=one.types & two.types,
            is_integer=one.is_integer or two.is_integer,
            excluded=(*one.excluded, *two.excluded),
            conditions=one.conditions | two.conditions,
        )
        for one in left
        for two in right
    ]
    return [pair for pair in pairs if pair.types]


def _are_disjoint(groups: Sequence[Sequence[_Alternative]]) -> bool:
    """Whether no value can fit two of the groups."""
    split = [[(case.type, case.values) for each in group for case in _split(each)] for group in groups]
    for index, one in enumerate(split):
        for other in split[index + 1 :]:
            if any(_may_meet(left, right) for left in one for right in other):
                return False
    return True


def _may_meet(left: tuple[str, Any], right: tuple[str, Any]) -> bool:
    if left[0] != right[0]:
        return False
    if left[1] is None or right[1] is None:
        return True
    return any(same(one, two) for one in left[1] for two in right[1])


def _split(alternative: _Alternative) -> list[Case]:
    lists = [part["enum"] for part in alternative.parts if "enum" in part]
    lists += [[part["const"]] for part in alternative.parts if "const" in part]
    found = []
    for kind in sorted(alternative.types):
        values: tuple[Any, ...] | None = None
        if lists:
            values = tuple(each for each in lists[0] if type_of(each) == kind and _is_in_all(each, lists[1:]))
            values = tuple(v for v in values if not any(same(v, x) for x in alternative.excluded))
        elif kind in ("null", "boolean"):
            values = (None,) if kind == "null" else (False, True)
        if values == ():
            continue
        case = Case(
            type=kind,
            parts=alternative.parts,
            is_integer=alternative.is_integer and kind == "number",
            values=values,
            excluded=alternative.excluded,
            conditions=alternative.conditions,
        )
        found.append(case if values is None else replace(case, values=_whole(case, values)))
    return [case for case in found if case.values != ()]


def _whole(case: Case, values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(v for v in values if not case.is_integer or not isinstance(v, float) or v.is_integer())


def _is_in_all(value: Any, lists: Sequence[Sequence[Any]]) -> bool:
    return all(any(same(value, each) for each in values) for values in lists)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
