"""Sameness: whether two handlers of one name are one that was declared twice, or two.

    a function of a module ──▶ its name: whoever loads the module again means the new one
    what is made by running code, as by a factory or a partial ──▶ its code and all that it holds when it is declared

Only a difference that shows makes two of them: a setup that runs again makes new objects, such as clients, as it made those before.
What a handler counts or keeps while it is used is no difference, nor is the moment at which it was made. Two functions that are
written in the very code that runs are two, though: nobody has loaded that again.
"""

import functools
import inspect
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any
from uuid import UUID

#: So many values are looked into at most; what holds more cannot be told apart by it.
_MOST = 1_000
#: What is nothing but what it equals. Moments are none, and neither are floats, which may be one.
_VALUES = (str, bytes, int, Decimal, timedelta, UUID, PurePath, re.Pattern)


def signature(handler: object) -> object:
    """What tells *handler* from others of its name; None if it cannot be looked into.

    Equal for two of which nothing shows that they are two: no other code, and no other value that they hold at this moment.
    """
    try:
        return _Reading().of(handler)
    except Exception:  # noqa: BLE001 - values are the user's: one that cannot be looked into shows no difference
        return None


def are_written_apart(one: object, other: object) -> bool:
    """Whether two functions are both written in code that is running now, such as that of a module on its import.

    A module that is loaded again has other code, in which the function of before is not, whatever was changed.
    """
    functions = [inspect.unwrap(each) for each in (one, other) if isinstance(each, FunctionType)]
    # What a decorator has wrapped may be no function.
    codes = [each.__code__ for each in functions if isinstance(each, FunctionType)]
    if len(codes) < 2 or codes[0] is codes[1]:
        return False
    frame = inspect.currentframe()
    while frame is not None:
        if all(any(code is each for each in frame.f_code.co_consts) for code in codes):
            return True
        frame = frame.f_back
    return False


class _Reading:
    """One handler, value by value."""

    def __init__(self) -> None:
        #: Values that were looked at; held, so that no other gets the id of one.
        self._seen: dict[int, object] = {}
        #: Whether the handler itself was looked into: what it holds may be anything, such as clients and pools.
        self._is_inside = False

    def of(self, value: Any) -> object:
        if isinstance(value, (*_VALUES, Enum)):
            return repr(value)
        if id(value) in self._seen or len(self._seen) >= _MOST:
            return None
        self._seen[id(value)] = value
        match value:
            case type() | ModuleType():
                return _place(value)
            case FunctionType():
                return self._of_function(value)
            case MethodType():
                return self.of(value.__func__), self.of(value.__self__)
            case BuiltinMethodType():
                return value.__name__, self.of(value.__self__)
            case functools.partial():
                return self.of(value.func), self._held(value.args, value.keywords)
        return _place(type(value)), self._of_content(value)

    def _of_function(self, function: FunctionType) -> object:
        if "<" not in function.__code__.co_qualname:
            return _place(function)
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        return function.__code__, self._held(function.__defaults__, function.__kwdefaults__, cells)

    def _of_content(self, value: Any) -> object:
        if isinstance(value, list | tuple):
            return tuple(self.of(item) for item in value)
        if isinstance(value, set | frozenset):
            return frozenset(repr(item) for item in value if isinstance(item, _VALUES))
        if isinstance(value, Mapping):
            return {repr(key): self.of(item) for key, item in value.items() if isinstance(key, _VALUES)}
        is_handler = not self._is_inside
        return self._held(_state(value, whole=is_handler))

    def _held(self, *values: object) -> tuple[object, ...]:
        self._is_inside = True
        return tuple(self.of(value) for value in values)


def _place(target: Any) -> tuple[object, object]:
    return getattr(target, "__module__", None), getattr(target, "__qualname__", None) or target.__name__


def _state(value: object, *, whole: bool) -> dict[str, object]:
    """The attributes of *value*; those that are its own business only if *whole*."""
    state = object.__getstate__(value)
    parts = state if isinstance(state, tuple) else (state,)
    return {name: part[name] for part in parts if part for name in part if whole or not name.startswith("_")}
