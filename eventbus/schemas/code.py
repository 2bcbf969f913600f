"""What code uses beside its own text: constants and functions of its module, attributes of the schema whose hook it is.

Only what says the same in each process and at any time: a name that the code itself binds, or that holds a collection without being
written as a constant, may be a cache or a counter.
"""

import dis
import enum
import functools
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from types import CodeType, FunctionType
from typing import Any
from uuid import UUID

from marshmallow import validate

#: Packages whose classes are known by their names alone.
_LIBRARY = frozenset({"builtins", "marshmallow", "eventbus", "decimal", "datetime", "uuid", "enum", "typing", "abc"})

#: Values that never change.
_CONSTANT = (str, int, float, bytes, Decimal, date, time, timedelta, UUID, enum.Enum, re.Pattern)


@dataclass(frozen=True)
class Hook:
    """A function of a schema class, with the class that it runs for."""

    owner: type
    function: FunctionType


def is_library(part: type) -> bool:
    """Whether *part* is of a package that is known by its name, and no class that somebody made there by a call."""
    package = part.__module__.split(".")[0]
    return package in _LIBRARY and (package != "abc" or part.__qualname__ == "ABC")


def used_globals(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Constants of the function's module that it names, and functions that are defined there."""
    bound = set(_names(function.__code__, "STORE_GLOBAL"))
    for name in sorted(set(_names(function.__code__, "LOAD_GLOBAL")) - bound):
        value = function.__globals__.get(name)
        helper = inspect.unwrap(value) if callable(value) else value
        if isinstance(helper, FunctionType) and helper.__module__ == function.__module__:
            yield name, helper
        elif isinstance(value, (validate.Validator, functools.partial)) or is_constant(name, value):
            yield name, value


def used_attributes(hook: Hook) -> Iterator[tuple[str, Any]]:
    """What the hook finds in its schema, or in a class above it, under names of attributes: constants and other functions."""
    for name in sorted(set(_names(hook.function.__code__, "LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"))):
        for each in hook.owner.__mro__:
            value = vars(each).get(name)
            value = getattr(value, "__func__", value)
            if is_library(each):
                continue
            if isinstance(value, FunctionType):
                yield name, Hook(hook.owner, value)
            elif is_immutable(value) or is_constant(name, value):
                yield name, value


def is_immutable(value: Any) -> bool:
    """Whether *value* cannot change; None may stand for what is not there yet."""
    return isinstance(value, _CONSTANT)


def is_constant(name: str, value: Any) -> bool:
    """Whether *value* says what it will always say: it cannot change, and its name is written as a constant's."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return name.isupper() and all(is_constant(name, each) for each in value)
    if isinstance(value, Mapping):
        return name.isupper() and all(is_constant(name, each) for pair in value.items() for each in pair)
    return name.isupper() and is_immutable(value)


def functions_of(part: type) -> dict[str, FunctionType]:
    """The functions that somebody wrote for a class; not those that something like dataclass has made."""
    found = {name: getattr(each, "__func__", each) for name, each in vars(part).items()}
    return {name: each for name, each in found.items() if isinstance(each, FunctionType) and not _is_made(each)}


def _is_made(function: FunctionType) -> bool:
    module = str(function.__globals__.get("__name__"))
    return function.__code__.co_filename == "<string>" or module.split(".", maxsplit=1)[0] in sys.stdlib_module_names


def _names(code: CodeType, *operations: str) -> Iterator[str]:
    for each in dis.get_instructions(code):
        if each.opname in operations:
            yield str(each.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner, *operations)
