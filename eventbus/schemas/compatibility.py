"""Whether every payload one schema can emit loads, without loss, in another one; with a payload that does not.

    check(reader, writer) ─▶ projections ─▶ comparison ─▶ findings ─▶ payloads tried ─▶ problems

What cannot be shown to be compatible is a problem and says so. A counterexample is given only if it was tried: valid to
the writer, refused by the reader. The rules for JSON Schemas from elsewhere are in projection.py.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

import jsonschema_rs

from eventbus.schemas.alternatives import TooComplex
from eventbus.schemas.containment import Comparison
from eventbus.schemas.documents import Document
from eventbus.schemas.findings import Finding, Rule
from eventbus.schemas.fingerprints import wire_fingerprint
from eventbus.schemas.fixes import fix_for
from eventbus.schemas.given import annotated
from eventbus.schemas.projection import reader_projection, writer_projection
from eventbus.schemas.samples import Samples

#: Payloads tried for each finding.
MAX_TRIALS = 120


class Direction(StrEnum):
    """Which of two versions reads."""

    #: The new version reads what the old one wrote.
    BACKWARD = "backward"
    #: The old version reads what the new one writes.
    FORWARD = "forward"


class Verdict(StrEnum):
    """How sure a problem is."""

    #: The reader refuses the counterexample.
    BREAKS = "breaks"
    #: The reader loads the counterexample, and some of it is gone or changed.
    LOSES = "loses"
    #: Nobody has shown that it works, and no counterexample was found.
    UNPROVEN = "unproven"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One reason why a change is not compatible, for the person who has to do something about it."""

    #: Wire path (``lines[].sku``); empty for the event as a whole.
    path: str
    rule: Rule
    direction: Direction
    verdict: Verdict
    #: What the older and the newer version say at this place, as JSON Schema keywords.
    old: Any
    new: Any
    #: A payload that the writer can emit and that the reader refuses or loses part of; None if none was found.
    counterexample: Any
    #: What to do instead.
    fix: str
    #: Consumer groups that it breaks; filled in by whoever knows them.
    groups: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = "" if self.verdict is Verdict.UNPROVEN else f" Tried: {json.dumps(self.counterexample)[:200]}."
        return f"{self.path or 'event'}: {self.rule} ({self.direction}, {self.verdict}).{shown} {self.fix}"


def check(reader: Any, writer: Any, *, direction: Direction = Direction.BACKWARD) -> list[Problem]:
    """Why *reader* may refuse or lose what *writer* can emit; empty if it is shown that it does not.

    Args:
        reader: A JSON Schema: of ours, or of anybody.
        writer: Another one.
        direction: Which of the two is the newer version; only decides what is called old and new.

    Returns:
        Problems, outermost first. Never raises: what cannot be compared is a problem of its own.
    """
    try:
        if wire_fingerprint(reader) == wire_fingerprint(writer):
            return []
        reads, writes = reader_projection(annotated(reader)), writer_projection(annotated(writer))
        return _check(Document(reads), Document(writes), direction)
    except jsonschema_rs.ValidationError as error:
        reason = f"one of the two is no valid JSON Schema: {error.message}"
    except TooComplex:
        reason = "they have more alternatives than can be compared"
    # The promise is an answer for whatever comes in, and any failure to compare means the same: not shown to be safe.
    except Exception as error:  # noqa: BLE001 - as above
        reason = f"they cannot be compared: {type(error).__name__}: {error}"
    return [_cannot_tell(reason, reader, writer, direction)]


def _check(reader: Document, writer: Document, direction: Direction) -> list[Problem]:
    for document in (reader, writer):
        document.accepts(document.root, None)
    comparison = Comparison(reader=reader, writer=writer)
    trial = _Trial(reader=reader, writer=writer, samples=Samples(writer))
    found = sorted(comparison.compare(writer.root, reader.root), key=lambda each: len(each.steps))
    problems = [_problem(each, trial, direction) for each in found]
    return list({(each.path, each.rule, repr(each.new), repr(each.old)): each for each in problems}.values())


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """Tries payloads on both sides."""

    reader: Document
    writer: Document
    samples: Samples

    def counterexample(self, finding: Finding) -> tuple[Any] | None:
        """A payload in a tuple, so that null is one too."""
        for payload in islice(self._payloads(finding), MAX_TRIALS):
            if self.writer.accepts(self.writer.root, payload) and self._fails(finding, payload):
                return (payload,)
        return None

    def _fails(self, finding: Finding, payload: Any) -> bool:
        return finding.rule in (Rule.RENAMED, Rule.ENTRIES_PRUNED) or not self.reader.accepts(self.reader.root, payload)

    def _payloads(self, finding: Finding) -> Iterator[Any]:
        likely = [value for value in finding.candidates if self.samples.allows(finding.node, value)]
        leaves = [*likely, *self.samples.of(finding.node, depth=len(finding.steps), most=20)]
        if finding.rule is Rule.RENAMED:
            leaves = [leaf for leaf in leaves if isinstance(leaf, dict) and leaf.get(finding.omitted) is not None]
        elif finding.rule is Rule.ENTRIES_PRUNED:
            named = set(finding.reader["properties"])
            leaves = [leaf for leaf in _with_any_key(leaves) if isinstance(leaf, dict) and set(leaf) - named]
        elif finding.omitted is not None:
            for leaf in (leaf for leaf in leaves if isinstance(leaf, dict)):
                yield from self.samples.around(finding.steps, leaf, omitted=finding.omitted)
        leaves += _grown(leaves, finding)
        for leaf in leaves:
            yield from self.samples.around(finding.steps, leaf)


def _with_any_key(leaves: list[Any]) -> list[Any]:
    """Objects with one more key of no meaning, its value one that the object has or nothing much."""
    objects = [leaf for leaf in leaves if isinstance(leaf, dict)]
    return objects + [{**leaf, "k": value} for leaf in objects for value in (*leaf.values(), "", 0, None, {}, [], True)]


def _grown(leaves: list[Any], finding: Finding) -> list[Any]:
    """Arrays and objects of just the wrong size, and with a key of just the wrong name."""
    grown: list[Any] = []
    limits = finding.reader if isinstance(finding.reader, dict) else {}
    most = limits.get("maxItems") if limits.get("maxItems") is not None else limits.get("maxProperties")
    for leaf in leaves:
        if isinstance(leaf, list) and leaf:
            grown += [leaf + leaf[-1:], leaf * ((most or 0) + 1), leaf[:1] * ((most or 0) + 1), leaf[:1]]
        if isinstance(leaf, dict) and leaf:
            value = next(iter(leaf.values()))
            grown += [{**leaf, key: value} for key in finding.candidates if isinstance(key, str)]
            grown.append({f"k{number}": value for number in range((most or 0) + 1)})
    return grown


def _problem(finding: Finding, trial: _Trial, direction: Direction) -> Problem:
    tried = trial.counterexample(finding)
    sides = finding.writer, finding.reader
    old, new = sides if direction is Direction.BACKWARD else sides[::-1]
    verdict = Verdict.UNPROVEN if tried is None else Verdict.LOSES if finding.rule in _LOSSES else Verdict.BREAKS
    return Problem(
        path=finding.path,
        rule=finding.rule,
        direction=direction,
        verdict=verdict,
        old=old,
        new=new,
        counterexample=None if tried is None else tried[0],
        fix=fix_for(finding),
    )


_LOSSES = frozenset({Rule.RENAMED, Rule.LOSSY_COERCION, Rule.ENTRIES_PRUNED})


def _cannot_tell(reason: str, reader: Any, writer: Any, direction: Direction) -> Problem:
    finding = Finding(rule=Rule.CANNOT_TELL, steps=(), writer=writer, reader=reader, node=writer, reason=reason)
    old, new = (writer, reader) if direction is Direction.BACKWARD else (reader, writer)
    return Problem(
        path="",
        rule=Rule.CANNOT_TELL,
        direction=direction,
        verdict=Verdict.UNPROVEN,
        old=old,
        new=new,
        counterexample=None,
        fix=fix_for(finding),
    )
