"""What no JSON Schema keyword says of a number in a string: its range, and how many places it keeps.

The classes are custom keywords for jsonschema_rs; a text that is no number is refused by the form beside them.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

PREFIX = "x-eventbus-"

_COMPARISONS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "minimum": lambda number, limit: number >= limit,
    "maximum": lambda number, limit: number <= limit,
    "exclusiveMinimum": lambda number, limit: number > limit,
    "exclusiveMaximum": lambda number, limit: number < limit,
}


def exact(number: Any) -> Fraction:
    """The number that is written, not the nearest binary one."""
    return Fraction(repr(number)) if isinstance(number, float) else Fraction(number)


def largest_with_places(places: int) -> Fraction:
    """The first number with too many digits: decimal arithmetic has 28, and *places* of them are right of the point."""
    return Fraction(10 ** max(28 - places, 0))


class _DigitKeyword:
    def __init__(self, parent_schema: dict[str, Any], value: Any, schema_path: list[Any]) -> None:
        self.limit = value

    def validate(self, instance: Any) -> None:
        if isinstance(instance, str):
            try:
                number = Fraction(instance)
            except (ValueError, ZeroDivisionError):
                return
            if not self.holds(number):
                raise ValueError(f"{instance} does not fit {self.limit}")

    def holds(self, number: Fraction) -> bool:
        raise NotImplementedError


class _Places(_DigitKeyword):
    def holds(self, number: Fraction) -> bool:
        return (number * 10**self.limit).denominator == 1 and abs(number) < largest_with_places(self.limit)


def _bound(name: str) -> type[_DigitKeyword]:
    def holds(self: _DigitKeyword, number: Fraction) -> bool:
        return _COMPARISONS[name](number, exact(self.limit))

    return type(name, (_DigitKeyword,), {"holds": holds})


#: Classes by keyword, for ``jsonschema_rs`` validators.
DIGIT_KEYWORDS: dict[str, type] = {PREFIX + name: _bound(name) for name in _COMPARISONS} | {f"{PREFIX}places": _Places}
