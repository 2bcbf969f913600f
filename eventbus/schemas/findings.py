"""What the comparison finds, before anybody has tried a payload; and the vocabulary of its rules."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Rule(StrEnum):
    """Why a change breaks. The ids are stable: they are accepted by name in CI."""

    REQUIRED_MISSING = "required-missing"
    TYPE_REFUSED = "type-refused"
    NULL_REFUSED = "null-refused"
    VALUE_REFUSED = "value-refused"
    RANGE_NARROWED = "range-narrowed"
    MULTIPLE_CHANGED = "multiple-changed"
    LENGTH_NARROWED = "length-narrowed"
    PATTERN_NARROWED = "pattern-narrowed"
    FORM_CHANGED = "form-changed"
    SIZE_NARROWED = "size-narrowed"
    ITEMS_NOT_UNIQUE = "items-not-unique"
    KEY_REFUSED = "key-refused"
    LOSSY_COERCION = "lossy-coercion"
    RENAMED = "looks-like-rename"
    ENTRIES_PRUNED = "entries-pruned"
    READ_FIELD_DROPPED = "read-field-dropped"
    CANNOT_TELL = "cannot-tell"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step from the payload's root to a value: a key, a position, any position, or any other key."""

    key: str | None = None
    index: int | None = None
    is_entry: bool = False
    #: Keys of an entry that are no entries, being named by the writer.
    taken: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """How the step is written in a path."""
        if self.is_entry:
            return ".*"
        if self.key is not None:
            return f".{self.key}"
        return "[]" if self.index is None else f"[{self.index}]"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A place where the reader may refuse what the writer can emit."""

    rule: Rule
    steps: tuple[Step, ...]
    #: What the writer says and what the reader says there, as keywords.
    writer: Any
    reader: Any
    #: The writer's schema of the place.
    node: Any
    #: Values worth trying there, likeliest first.
    candidates: tuple[Any, ...] = field(default=())
    #: A key to leave out of the object at the place, instead of a value.
    omitted: str | None = None
    #: What could not be told, for CANNOT_TELL.
    reason: str = ""

    @property
    def path(self) -> str:
        """Wire path of the field that it is about, empty for the whole event."""
        left_out = "" if self.omitted is None else f".{self.omitted}"
        return ("".join(step.text for step in self.steps) + left_out).removeprefix(".")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A writer's and a reader's schema of one value."""

    writer: Any
    reader: Any
    steps: tuple[Step, ...]

    def finding(self, rule: Rule, *, writer: Any, reader: Any, **more: Any) -> Finding:
        """A finding here; *writer* and *reader* are the keywords that do not go together."""
        return Finding(rule=rule, steps=self.steps, writer=writer, reader=reader, node=self.writer, **more)
