"""Whether a new version of an event type may be registered beside those that live.

    BACKWARD   the new version reads what older ones wrote      check(reader=new, writer=old)
    FORWARD    older versions read what the new one writes      check(reader=old, writer=new)
    FULL       both
    …_TRANSITIVE  against every version that is not retired, newest first; else only against the newest
    NONE       no check

An upcaster may stand in for BACKWARD and a downcaster for FORWARD: then the events are converted before they are read,
and each step's output is validated.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Protocol

from eventbus.errors import InvalidSchema, SchemaEditedInPlace
from eventbus.schemas.compatibility import Direction, Problem, check
from eventbus.schemas.fingerprints import wire_fingerprint


class Mode(StrEnum):
    """What a new version is checked against."""

    BACKWARD = "BACKWARD"
    FORWARD = "FORWARD"
    FULL = "FULL"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"
    NONE = "NONE"

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Which way it looks."""
        if self is Mode.NONE:
            return ()
        word = self.value.split("_")[0]
        return tuple(Direction) if word == "FULL" else (Direction(word.lower()),)

    @property
    def is_transitive(self) -> bool:
        """Whether it looks at more than the newest version."""
        return self.value.endswith("_TRANSITIVE")


def read_mode(type: str, value: object) -> Mode:
    """The mode that *value* names, for *type*.

    Raises:
        InvalidSchema: It names none.
    """
    try:
        return Mode(str(value).upper())
    except ValueError:
        raise InvalidSchema(type, f"compatibility={value!r:.60} must be one of {', '.join(Mode)}.") from None


class Conversions(Protocol):
    """Knows which versions can be converted into which."""

    def can_convert(self, type: str, from_version: int, to_version: int) -> bool:
        """Whether there is a chain of steps."""
        ...


class NoConversions:
    """There are no steps."""

    def can_convert(self, type: str, from_version: int, to_version: int) -> bool:
        """Only what needs none."""
        return from_version == to_version


def check_version(
    type: str,
    version: int,
    candidate: Mapping[str, Any],
    known: Mapping[int, Mapping[str, Any]],
    *,
    mode: Mode = Mode.FULL_TRANSITIVE,
    conversions: Conversions | None = None,
) -> dict[int, list[Problem]]:
    """Why *candidate* may not become *version* of *type*.

    Args:
        type: Event type, to look up conversions.
        version: Version number of the candidate.
        candidate: Its JSON Schema.
        known: JSON Schemas of the versions that are not retired; may hold *version* itself.
        mode: How far and which way to look.
        conversions: Upcasters and downcasters that stand in for compatibility.

    Returns:
        Problems by the known version they are with, newest first; empty if there are none.

    Raises:
        SchemaEditedInPlace: *version* is known with another wire form.
    """
    refuse_edit_in_place(type, version, candidate, known.get(version))
    others = sorted((number for number in known if number != version), reverse=True)
    checked = others if mode.is_transitive else others[:1]
    bridges = conversions or NoConversions()
    found = {other: list(_problems(type, version, candidate, other, known[other], mode, bridges)) for other in checked}
    return {other: problems for other, problems in found.items() if problems}


def refuse_edit_in_place(type: str, version: int, candidate: Any, stored: Any) -> None:
    """Make sure that a published version still has its wire form; None if it was never published.

    Raises:
        SchemaEditedInPlace: It has not.
    """
    if stored is None:
        return
    was, now = wire_fingerprint(stored), wire_fingerprint(candidate)
    if was != now:
        raise SchemaEditedInPlace(type, version, was, now)


def _problems(
    type: str, version: int, candidate: Any, other: int, schema: Any, mode: Mode, bridges: Conversions
) -> Iterator[Problem]:
    """Which of the two is older decides which way is backward, also when a version is filled in later."""
    (old, old_schema), (new, new_schema) = sorted(((version, candidate), (other, schema)), key=lambda pair: pair[0])
    if Direction.BACKWARD in mode.directions and not bridges.can_convert(type, old, new):
        yield from check(new_schema, old_schema)
    if Direction.FORWARD in mode.directions and not bridges.can_convert(type, new, old):
        yield from check(old_schema, new_schema, direction=Direction.FORWARD)
