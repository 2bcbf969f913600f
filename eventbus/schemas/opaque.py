"""Identity of what JSON Schema cannot express: an unchanged part is recognised and a changed one cannot hide.

A name is not enough: the body behind it may change. The identity is a digest of the source, with comments and layout
taken out, and of what the code uses: the values it closes over, the object it belongs to, constants and functions of its
module. What other modules do is not looked into, nor are classes that the code makes objects of.
"""

import enum
import functools
import hashlib
import inspect
import io
import re
import tokenize
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from types import CodeType
from typing import Any
from uuid import UUID

from marshmallow import fields

#: Tokens that change how source looks and not what it does.
_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}

#: What is known by its name alone.
_LIBRARY = frozenset({"builtins", "marshmallow", "eventbus", "decimal", "datetime", "uuid", "enum", "typing"})

#: Values that never change.
_CONSTANT = (str, int, float, bytes, Decimal, date, time, timedelta, UUID, enum.Enum, re.Pattern)

_PLACE_AND_WORDS = frozenset({"parent", "root", "error_messages"})


def describe(what: str, part: Any) -> dict[str, str]:
    """An entry for ``x-eventbus-opaque``: what it is, its name, and its identity.

    Args:
        what: The kind of part: validator, method, function, field, hook, pattern.
        part: A function, class, instance or plain value.
    """
    return {"what": what, "name": name_of(part), "identity": identity_of(part)}


def name_of(part: Any) -> str:
    """A name a reader finds in the code; for values, how they are written."""
    if isinstance(part, functools.partial):
        return name_of(part.func)
    if inspect.isfunction(part) or inspect.ismethod(part) or isinstance(part, type):
        return f"{part.__module__}.{part.__qualname__}"
    if isinstance(part, str):
        return part
    return f"{type(part).__module__}.{type(part).__qualname__}"


def identity_of(part: Any) -> str:
    """A digest that is equal exactly when *part* is unchanged as far as can be seen; never contains an address."""
    return hashlib.sha256(_text(part, _Seen()).encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True)
class _Seen:
    """What need not be looked at: parts on the way here, and functions and classes anywhere, which are told once."""

    path: frozenset[int] = frozenset()
    code: set[int] = field(default_factory=set)

    def holds(self, part: Any) -> bool:
        return id(part) in self.path or id(part) in self.code

    def beyond(self, part: Any) -> "_Seen":
        if inspect.isfunction(part) or isinstance(part, type):
            self.code.add(id(part))
        return _Seen(self.path | {id(part)}, self.code)


def _text(part: Any, seen: _Seen) -> str:
    if seen.holds(part):
        return f"…{name_of(part) if inspect.isfunction(part) or isinstance(part, type) else ''}"
    seen = seen.beyond(part)
    for matches, write in _WRITERS:
        if matches(part):
            return write(part, seen)
    return _instance_text(part, seen)


def _collection_text(part: Any, seen: _Seen) -> str:
    items = [_text(each, seen) for each in part]
    return f"{type(part).__name__}[{','.join(sorted(items) if isinstance(part, (set, frozenset)) else items)}]"


def _mapping_text(part: Mapping[Any, Any], seen: _Seen) -> str:
    return "{" + ",".join(sorted(f"{_text(k, seen)}:{_text(v, seen)}" for k, v in part.items())) + "}"


def _partial_text(part: Any, seen: _Seen) -> str:
    return f"partial({_text(part.func, seen)},{_text(part.args, seen)},{_text(part.keywords, seen)})"


def _function_text(part: Any, seen: _Seen) -> str:
    """A function that wraps another one closes over it: both count."""
    function = part.__func__ if inspect.ismethod(part) else part
    cells = [] if function.__closure__ is None else [_cell(cell) for cell in function.__closure__]
    bound = [function.__defaults__, function.__kwdefaults__, cells, *_used(function)]
    if inspect.ismethod(part):
        bound.append(part.__self__)
    return f"{_source(function)}{_place_in_line(function)}({_text(bound, seen)})"


def _used(function: Any) -> Iterator[Any]:
    """What the function finds in its module under the names that it uses: constants, and functions that are defined there."""
    for name in sorted(set(_names(function.__code__))):
        value = function.__globals__.get(name)
        is_helper = inspect.isfunction(value) and value.__module__ == function.__module__
        if is_helper or (name in function.__globals__ and _is_constant(name, value)):
            yield name, value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


def _is_constant(name: str, value: Any) -> bool:
    """Whether *value* says what it will always say; a collection does if its name is written as a constant's."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return name.isupper() and all(_is_constant(name, each) for each in value)
    if isinstance(value, Mapping):
        return name.isupper() and all(_is_constant(name, each) for pair in value.items() for each in pair)
    return value is None or isinstance(value, _CONSTANT)


def _place_in_line(function: Any) -> str:
    """Which of the lambdas in its line a lambda is: their source is the line, whole."""
    if function.__name__ != "<lambda>":
        return ""
    columns = [start for line, _, start, _ in function.__code__.co_positions() if start and line]
    try:
        line = inspect.getsource(function).splitlines()[0]
    except (OSError, TypeError, IndexError):
        return ""
    return f"#{line[: min(columns, default=0)].count('lambda')}"


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is bound later
        return None


def _class_text(part: type, seen: _Seen) -> str:
    if _is_library(part):
        return f"{part.__module__}.{part.__qualname__}"
    bases = [each for each in part.__mro__[1:] if not _is_library(each)]
    members = {
        name: each
        for name, each in vars(part).items()
        if not name.startswith("__") or inspect.isfunction(each)
        if inspect.isfunction(each) or _is_constant(name.upper(), each)
    }
    return f"{_source(part)}({_text([bases, members], seen)})"


def _is_library(part: type) -> bool:
    # A class that is made by calling a metaclass may be said to be of the metaclass's module.
    return part is ABC or part.__module__.split(".")[0] in _LIBRARY


def _instance_text(part: Any, seen: _Seen) -> str:
    if isinstance(part, enum.Enum):
        return f"{type(part).__qualname__}.{part.name}"
    state = _state(part)
    return f"{_text(type(part), seen)}({_text(state, seen) if state else _plain_repr(part)})"


def _state(part: Any) -> dict[str, Any]:
    """The attributes of an instance; those of a field without its place and its words."""
    slots = [name for each in type(part).__mro__ for name in _slots(each)]
    found = {**{name: getattr(part, name) for name in slots if hasattr(part, name)}, **getattr(part, "__dict__", {})}
    left_out = _PLACE_AND_WORDS if isinstance(part, fields.Field) else ()
    return {name: value for name, value in found.items() if name not in left_out}


def _slots(part: type) -> list[str]:
    names = vars(part).get("__slots__", ())
    return [names] if isinstance(names, str) else [name for name in names if name not in ("__dict__", "__weakref__")]


def _plain_repr(part: Any) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", repr(part))


def _source(part: Any) -> str:
    """The tokens of *part*; where no source can be had (a console, a C function) its byte code."""
    try:
        source = inspect.getsource(getattr(part, "__code__", part))  # of a function itself, not of what it wraps
        tokens = tokenize.generate_tokens(io.StringIO(inspect.cleandoc("\n" + source)).readline)
        return " ".join(token.string for token in tokens if token.type not in _LAYOUT)
    except (OSError, TypeError, tokenize.TokenError, IndentationError, SyntaxError):
        code = getattr(part, "__code__", None)
        return f"{name_of(part)}:{code.co_code.hex() if code else ''}:{_plain_repr(code.co_consts) if code else ''}"


def _is_plain(part: Any) -> bool:
    return part is None or (isinstance(part, (str, int, float, bytes)) and not isinstance(part, enum.Enum))


_Writer = tuple[Callable[[Any], bool], Callable[[Any, _Seen], str]]
_WRITERS: list[_Writer] = [
    (_is_plain, lambda part, seen: repr(part)),
    (lambda part: isinstance(part, re.Pattern), lambda part, seen: f"{part.pattern!r}/{part.flags}"),
    (lambda part: isinstance(part, (list, tuple, set, frozenset)), _collection_text),
    (lambda part: isinstance(part, Mapping), _mapping_text),
    (lambda part: isinstance(part, functools.partial), _partial_text),
    (lambda part: inspect.isfunction(part) or inspect.ismethod(part), _function_text),
    (lambda part: isinstance(part, type), _class_text),
]
