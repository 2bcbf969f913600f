"""Comparing: what lies between two versions of an event type, line by line, and what either cannot read of the other."""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eventbus.schemas.compatibility import Direction, Problem, check
from eventbus.schemas.contracts import GroupContract, Impact, impact
from eventbus.schemas.versions import Conversions
from eventbus.storage.schemas import StoredSchema


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two versions of one type, side by side."""

    before: StoredSchema
    after: StoredSchema
    #: Of a unified diff of both JSON Schemas; empty if they are equal.
    lines: Sequence[str]
    #: What the newer one cannot read of the older, then what the older one cannot read of the newer.
    problems: Sequence[Problem]
    #: What becomes of each group when events of the newer one come instead of the older, those that break first.
    impacts: Sequence[Impact] = ()


def compare(
    before: StoredSchema,
    after: StoredSchema,
    *,
    groups: Iterable[GroupContract] = (),
    conversions: Conversions | None = None,
) -> Comparison:
    """What lies between *before* and *after*, as stored.

    Args:
        groups: Whoever reads the type.
        conversions: Steps that keep a group on the version it reads; problems are told without them.
    """
    was, now = (json.dumps(each.json_schema, indent=2, sort_keys=True).splitlines() for each in (before, after))
    names = f"version {before.version}", f"version {after.version}"
    return Comparison(
        before=before,
        after=after,
        lines=list(difflib.unified_diff(was, now, *names, lineterm="")),
        problems=[
            *check(after.json_schema, before.json_schema),
            *check(before.json_schema, after.json_schema, direction=Direction.FORWARD),
        ],
        impacts=impact(
            after.type,
            (before.version, before.json_schema),
            (after.version, after.json_schema),
            groups,
            conversions=conversions,
        ),
    )
