"""Unrolled: the loop over an object's fields, written out as Python for each schema, as `dataclasses` does for its classes.

    slots ─▶ source of one function ─▶ compiled once ─▶ called for each event, in half the time of the loop

Nothing of a schema gets into the source but numbers: keys and functions are the values of names.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from marshmallow import ValidationError, missing

from eventbus.schemas.compiled_scalars import PLAIN, Convert, Unusual
from eventbus.schemas.refusal import DataRefused

#: What converting data may raise that only marshmallow can explain.
_REASONS = (
    ValidationError,
    DataRefused,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
)
_HEAD = """
def convert(data):
    if type(data) is not dict:
        raise Unusual
    result = {}
    seen = 0
    try:
"""
_TAIL = """
    except reasons as error:
        raise Unusual from error
    if seen < len(data):
        raise Unusual
    return result
"""


class Slot(NamedTuple):
    """One field of an object."""

    key: str
    convert: Convert
    allow_none: bool
    required: bool
    #: Makes the written value where the field is missing; None: nothing is written.
    default: Callable[[], Any] | None
    written: bool


def unroll(slots: Sequence[Slot]) -> Convert:
    """A function from an object's data to its canonical form.

    Raises, when called:
        Unusual: A key is missing or not known, or some value is not plainly right.
    """
    names: dict[str, Any] = {"Unusual": Unusual, "missing": missing, "reasons": _REASONS}
    lines = ["        pass"]
    for number, slot in enumerate(slots):
        names |= {f"key{number}": slot.key, f"convert{number}": slot.convert, f"default{number}": slot.default}
        lines += [f"        {line}" for line in _lines(number, slot)]
    exec(_HEAD + "\n".join(lines) + _TAIL, names)  # noqa: S102 - of numbers and of our own text, nothing else
    convert: Convert = names["convert"]
    return convert


def _lines(number: int, slot: Slot) -> list[str]:
    """What is done with one field, likeliest case first."""
    write = f"result[key{number}] = " if slot.written else ""
    found = f"convert{number}(value)"
    plain = PLAIN.get(slot.convert)
    null = f"seen += 1; {write}None" if slot.allow_none else "raise Unusual"
    default = "pass" if slot.default is None else f"result[key{number}] = default{number}()"
    return [
        f"value = data.get(key{number}, missing)",
        *([f"if {plain}: seen += 1; {write}value"] if plain else []),
        f"{'elif' if plain else 'if'} value is missing: {'raise Unusual' if slot.required else default}",
        f"elif value is None: {null}",
        f"else: seen += 1; {write}{found}",
    ]
