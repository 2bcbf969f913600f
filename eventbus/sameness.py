"""Sameness: whether two handlers of one name are one that was declared twice, or two.

    a function of a module ──▶ its name: whoever loads the module again means the new one
    what is made by running code, as by a factory or a partial ──▶ its code and all that it holds

Only a difference that shows makes two of them: a setup that runs again makes new objects, such as clients, as it made those before.
"""

import functools
import re
from collections.abc import Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any
from uuid import UUID

#: So many values are looked into at most; what holds more cannot be told apart by it.
_MOST = 1_000
#: What is nothing but what it equals.
_VALUES = (str, bytes, int, float, complex, Decimal, date, time, timedelta, UUID, PurePath, re.Pattern)


def are_same(one: object, other: object) -> bool:
    """Whether nothing shows that they are two: no other code, and no other value that they hold."""
    try:
        return not _Comparison().differ(one, other)
    except Exception:  # noqa: BLE001 - values are the user's: one that cannot be looked into shows no difference
        return True


class _Comparison:
    """Two handlers, value by value."""

    def __init__(self) -> None:
        #: Values that are, or were, looked at; held, so that no other gets the id of one.
        self._seen: dict[tuple[int, int], tuple[object, object]] = {}
        #: Whether the handler itself was looked into: what it holds may be anything, such as clients and pools.
        self._is_inside = False

    def differ(self, one: Any, other: Any) -> bool:
        pair = id(one), id(other)
        if one is other or pair in self._seen or len(self._seen) >= _MOST:
            return False
        self._seen[pair] = one, other
        match one, other:
            case (type(), type()) | (ModuleType(), ModuleType()):
                return _place(one) != _place(other)
            case FunctionType(), FunctionType():
                return self._functions_differ(one, other)
            case MethodType(), MethodType():
                return self.differ(one.__func__, other.__func__) or self.differ(one.__self__, other.__self__)
            case BuiltinMethodType(), BuiltinMethodType():
                return one.__name__ != other.__name__ or self.differ(one.__self__, other.__self__)
            case functools.partial(), functools.partial():
                held = (one.args, one.keywords), (other.args, other.keywords)
                return self.differ(one.func, other.func) or self._holdings_differ(*held)
        return _place(type(one)) != _place(type(other)) or self._values_differ(one, other)

    def _functions_differ(self, one: FunctionType, other: FunctionType) -> bool:
        if "<" not in one.__code__.co_qualname:
            return _place(one) != _place(other)
        return one.__code__ != other.__code__ or self._holdings_differ(_held(one), _held(other))

    def _values_differ(self, one: Any, other: Any) -> bool:
        if isinstance(one, _VALUES):
            return bool(one != other)
        if isinstance(one, Enum):
            return bool(one.name != other.name)
        if isinstance(one, list | tuple):
            return len(one) != len(other) or self._any(*one, others=other)
        if isinstance(one, set | frozenset):
            return any(isinstance(item, _VALUES) for item in one ^ other)
        if isinstance(one, dict):
            strange = any(isinstance(key, _VALUES) for key in one.keys() ^ other.keys())
            return strange or any(self.differ(one[key], other[key]) for key in one.keys() & other.keys())
        is_handler = not self._is_inside
        return self._holdings_differ(_state(one, whole=is_handler), _state(other, whole=is_handler))

    def _holdings_differ(self, one: object, other: object) -> bool:
        self._is_inside = True
        return self.differ(one, other)

    def _any(self, *values: object, others: Sequence[object]) -> bool:
        return any(self.differ(value, other) for value, other in zip(values, others, strict=True))


def _place(target: Any) -> tuple[object, object]:
    return getattr(target, "__module__", None), getattr(target, "__qualname__", None) or target.__name__


def _state(value: object, *, whole: bool) -> dict[str, object]:
    """The attributes of *value*; those that are its own business only if *whole*."""
    state = object.__getstate__(value)
    parts = state if isinstance(state, tuple) else (state,)
    return {name: part[name] for part in parts if part for name in part if whole or not name.startswith("_")}


def _held(function: FunctionType) -> tuple[object, ...]:
    """The values that *function* brings along."""
    return function.__defaults__, function.__kwdefaults__, [cell.cell_contents for cell in function.__closure__ or ()]
