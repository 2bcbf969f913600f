"""Proofs: what a step of the story claims, and the figures that bear it out or refute it."""

from dataclasses import dataclass
from typing import Any


class StoryStopped(Exception):
    """The story cannot go on: something that had to happen did not."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Something that was read from the database, and what it had to be."""

    #: ``{}`` stands for what was found.
    text: str
    found: Any
    expected: Any

    @property
    def holds(self) -> bool:
        return bool(self.found == self.expected)

    def __str__(self) -> str:
        text = self.text.format(_shown(self.found))
        return text if self.holds else f"{text} (EXPECTED {_shown(self.expected)})"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A step that was told to its end, or to where it failed."""

    letter: str
    claim: str
    figures: tuple[Figure, ...] = ()
    #: Why it could not be told to its end.
    failure: str | None = None
    #: False if the story ended before.
    reached: bool = True

    @property
    def holds(self) -> bool:
        return self.reached and self.failure is None and all(figure.holds for figure in self.figures)


def figure(text: str, found: Any, expected: Any) -> Figure:
    """A figure that holds if *found* equals *expected*."""
    return Figure(text=text, found=found, expected=expected)


def reading(text: str, found: Any) -> Figure:
    """A figure that is worth knowing, and proves nothing."""
    return Figure(text=text, found=found, expected=found)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count:,} {name}" for name, count in sorted(value.items())) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
