"""What a consumer group reads of an event, and whom a change touches.

A contract is a partial reader schema: a JSON Schema of the fields that the group reads, or their wire paths alone. It
is plain JSON, stored with the subscription.

    breaks    the new version's events do not load in what the group reads, or a field that it reads is gone
    affects   nobody knows: the group reads the field that changes, or says nothing about what it reads
    safe      it reads none of what changes, or reads a version that the events are converted to
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from marshmallow import Schema

from eventbus.errors import InvalidSchema
from eventbus.schemas.compatibility import Direction, Problem, check
from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.fingerprints import wire_fingerprint
from eventbus.schemas.projection import resolve
from eventbus.schemas.versions import Conversions, NoConversions
from eventbus.wording import shown

Json = dict[str, Any]


class Effect(StrEnum):
    """What a change does to one group."""

    BREAKS = "breaks"
    AFFECTS = "affects"
    SAFE = "safe"


@dataclass(frozen=True, kw_only=True)
class GroupContract:
    """What one group reads of one event type."""

    group: str
    #: A contract of :func:`contract`; None if the group does not say.
    reads: Mapping[str, Any] | None = None
    #: The version its handler reads; None for whatever is published.
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Impact:
    """What a change does to one group, and why."""

    group: str
    effect: Effect
    reason: str
    problems: tuple[Problem, ...] = ()
    #: The wire paths that it is about: what the group reads and what becomes of it.
    paths: tuple[str, ...] = ()


def contract(reads: Schema | type[Schema] | Sequence[str]) -> Json:
    """The JSON form of what a group reads.

    Args:
        reads: A schema of the fields that it reads, or their wire paths: ``["orderId", "lines[].sku", "prices.*"]``.

    Raises:
        InvalidSchema: The schema cannot describe an event, or a path is none.
    """
    if isinstance(reads, Schema) or (isinstance(reads, type) and issubclass(reads, Schema)):
        return {"schema": to_json_schema(reads)}
    for path in reads:
        if not path or not all(_steps(path)):
            raise InvalidSchema(path, "not a wire path: write lines[].sku, prices.* or customer.name.")
    return {"paths": sorted(set(reads))}


def reads_of(reads: Any) -> Json | None:
    """The same of what `subscribe` is given, which may be anything; None for nothing.

    Raises:
        InvalidSchema: It is neither a schema nor a list of wire paths.
    """
    if reads is None:
        return None
    is_schema = isinstance(reads, type) and issubclass(reads, Schema)
    is_paths = isinstance(reads, (list, tuple, set, frozenset)) and all(isinstance(each, str) for each in reads)
    if not (is_schema or (is_paths and reads)):
        raise InvalidSchema("reads", f"{shown(reads)} is neither a marshmallow Schema class nor a list of wire paths.")
    return contract(reads)


def impact(
    type: str,
    old: tuple[int, Mapping[str, Any]],
    new: tuple[int, Mapping[str, Any]],
    groups: Iterable[GroupContract],
    *,
    conversions: Conversions | None = None,
) -> list[Impact]:
    """What it does to each group when events of version *new* come instead of *old*.

    Args:
        type: Event type.
        old: Version number and JSON Schema of what the groups get now.
        new: Version number and JSON Schema of what they are to get.
        groups: Whoever subscribes.
        conversions: Downcasters that keep a group on the version it reads.

    Returns:
        One for each group, those that break first, then by name.
    """
    bridges = conversions or NoConversions()
    found = [_impact(type, old, new, each, bridges) for each in groups]
    order = list(Effect)
    return sorted(found, key=lambda each: (order.index(each.effect), each.group))


def _impact(
    type: str, old: tuple[int, Any], new: tuple[int, Any], group: GroupContract, bridges: Conversions
) -> Impact:
    if group.version not in (None, new[0]):
        return _impact_on_version(type, new[0], group, bridges)
    if group.reads is None:
        problems = check(old[1], new[1], direction=Direction.FORWARD)
        effect = Effect.AFFECTS if problems or _differ(old[1], new[1], old[1], new[1]) else Effect.SAFE
        reason = "does not say what it reads" if effect is Effect.AFFECTS else "nothing on the wire changes"
        return Impact(group=group.group, effect=effect, reason=reason, problems=tuple(problems))
    if "schema" in group.reads:
        return _impact_on_schema(old[1], new[1], group.group, group.reads["schema"])
    return _impact_on_paths(old[1], new[1], group.group, group.reads.get("paths", []))


def _impact_on_version(type: str, new: int, group: GroupContract, bridges: Conversions) -> Impact:
    """A handler that asks for its own version gets that or nothing."""
    if bridges.can_convert(type, new, group.version or 0):
        reason = f"reads version {group.version}, to which events are converted"
        return Impact(group=group.group, effect=Effect.SAFE, reason=reason)
    reason = f"reads version {group.version}, to which no way leads: its deliveries would be parked"
    return Impact(group=group.group, effect=Effect.BREAKS, reason=reason, paths=("",))


def _impact_on_schema(old: Any, new: Any, group: str, reads: Any) -> Impact:
    problems = check(reads, new, direction=Direction.FORWARD)
    if problems:
        return Impact(
            group=group,
            effect=Effect.BREAKS,
            reason=f"{', '.join(each.path or 'the event' for each in problems)} would not load any more",
            problems=tuple(problems),
            paths=tuple(each.path for each in problems),
        )
    return _impact_on_paths(old, new, group, paths_of(reads))


def _impact_on_paths(old: Any, new: Any, group: str, paths: Iterable[str]) -> Impact:
    """A path that is gone breaks its readers although everything loads: the value is what they came for."""
    changed = []
    for path in paths:
        before, after = find(old, path), find(new, path)
        if before is not None and after is None:
            reason = f"reads {path}, which is gone"
            return Impact(group=group, effect=Effect.BREAKS, reason=reason, paths=(path,))
        if (before is not None and _differ(before, after, old, new)) or _presence(old, path) != _presence(new, path):
            changed.append(path)
    if changed:
        reason = f"reads {', '.join(changed)}, which changes"
        return Impact(group=group, effect=Effect.AFFECTS, reason=reason, paths=tuple(changed))
    return Impact(group=group, effect=Effect.SAFE, reason="reads nothing that changes")


def paths_of(schema: Any, *, depth: int = 8) -> list[str]:
    """Wire paths of the fields that a JSON Schema names, innermost ones only; a recursive one to a depth."""
    return sorted(_paths(schema, schema, "", depth))


def _paths(node: Any, root: Any, path: str, depth: int) -> set[str]:
    node = _plain(node, root)
    found: set[str] = set()
    if isinstance(node, dict) and depth > 0:
        for key, each in (node.get("properties") or {}).items():
            found |= _paths(each, root, f"{path}.{key}" if path else key, depth - 1)
        if isinstance(node.get("items"), dict):
            found |= _paths(node["items"], root, f"{path}[]", depth - 1)
        if isinstance(node.get("additionalProperties"), dict) and node["additionalProperties"]:
            found |= _paths(node["additionalProperties"], root, f"{path}.*", depth - 1)
    return found or ({path} if path else set())


def find(schema: Any, path: str) -> Any:
    """What a JSON Schema says at a wire path; None if it names no such field."""
    node = schema
    for step in _steps(path):
        node = _plain(node, schema)
        if not isinstance(node, dict):
            return None
        if step == "[]":
            node = node.get("items")
        elif step == "*":
            node = node.get("additionalProperties") or None
        else:
            node = (node.get("properties") or {}).get(step, node.get("additionalProperties") or None)
    return _plain(node, schema)


def _presence(schema: Any, path: str) -> bool:
    """Whether a field is always there where its object is."""
    *outer, last = _steps(path)
    parent = find(schema, _join(outer)) if outer else _plain(schema, schema)
    return last in ("[]", "*") or (isinstance(parent, dict) and last in parent.get("required", []))


def _plain(node: Any, root: Any) -> Any:
    """*node* itself behind references and "or null"."""
    for _ in range(20):
        if not isinstance(node, dict):
            break
        if "$ref" in node:
            node = resolve(root, node["$ref"])
        elif len(node.get("allOf", [])) == 1 and "properties" not in node:
            node = node["allOf"][0]
        else:
            choices = [each for each in node.get("anyOf", []) if each != {"type": "null"}]
            if len(choices) != 1:
                break
            node = choices[0]
    return node


def _steps(path: str) -> list[str]:
    return [
        step for part in path.split(".") for step in part.replace("[]", "\0[]").split("\0") if step or "[]" not in part
    ]


def _join(steps: Sequence[str]) -> str:
    return "".join(step if step == "[]" else f".{step}" for step in steps).removeprefix(".")


def _differ(one: Any, two: Any, old: Any, new: Any) -> bool:
    """Whether two parts of two documents say something else, definitions that they refer to included."""
    return wire_fingerprint(_with_definitions(one, old)) != wire_fingerprint(_with_definitions(two, new))


def _with_definitions(node: Any, document: Any) -> Any:
    return {"allOf": [node], "$defs": document.get("$defs", {}), "definitions": document.get("definitions", {})}
