"""Sameness: whether two handlers of one name are one that was declared twice, or two.

    a function of a module ──▶ its name: whoever loads the module again means the new one
    what is made by running code, as by a factory or a partial ──▶ its code and all that it holds

Only a difference that shows makes two of them: a setup that runs again makes new objects, equal to those before.
"""

import functools
from collections.abc import Mapping, Sequence
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any

#: So many values are looked into at most; what holds more cannot be told apart by it.
_MOST = 1_000


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
                return self._any(one.func, one.args, one.keywords, others=(other.func, other.args, other.keywords))
        return _place(type(one)) != _place(type(other)) or self._values_differ(one, other)

    def _functions_differ(self, one: FunctionType, other: FunctionType) -> bool:
        if "<" not in one.__code__.co_qualname:
            return _place(one) != _place(other)
        return one.__code__ != other.__code__ or self._any(*_held(one), others=_held(other))

    def _values_differ(self, one: Any, other: Any) -> bool:
        has_equality = type(one).__eq__ is not vars(object)["__eq__"]
        if has_equality and bool(one == other):
            return False
        if isinstance(one, Mapping):
            return list(one) != list(other) or self._any(*one.values(), others=tuple(other.values()))
        if isinstance(one, list | tuple):
            return len(one) != len(other) or self._any(*one, others=other)
        state = object.__getstate__(one)
        # Values such as texts have no state, and are what they equal.
        return has_equality if state is None else self.differ(state, object.__getstate__(other))

    def _any(self, *values: object, others: Sequence[object]) -> bool:
        return any(self.differ(value, other) for value, other in zip(values, others, strict=True))


def _place(target: Any) -> tuple[object, object]:
    return getattr(target, "__module__", None), getattr(target, "__qualname__", None) or target.__name__


def _held(function: FunctionType) -> tuple[object, ...]:
    """The values that *function* brings along."""
    return function.__defaults__, function.__kwdefaults__, [cell.cell_contents for cell in function.__closure__ or ()]
