"""Identity of what JSON Schema cannot express: an unchanged part is recognised and a changed one cannot hide.

A name is not enough: the body behind it may change. The identity is a digest of the source, with comments and layout
taken out, and of what the code uses (code.py): the values it closes over, the object it belongs to, constants and functions
of its module. What other modules do is not looked into, nor are classes that the code makes objects of.
"""

import enum
import functools
import hashlib
import inspect
import io
import re
import tokenize
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any

from marshmallow import fields, validate

from eventbus.schemas.code import Hook, functions_of, is_immutable, is_library, used_attributes, used_globals

#: Tokens that change how source looks and not what it does.
_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}

#: Of fields and validators of marshmallow's: where they are, what they say, and what they have looked up.
_PLACE_AND_WORDS = frozenset(
    {"parent", "root", "error_messages", "_schema", "choices_text", "labels_text", "values_text"}
)


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
    if isinstance(part, Hook):
        return name_of(part.function)
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
    is_bound = inspect.ismethod(part)
    function: FunctionType = part.__func__ if is_bound else part
    # What `super()` needs is the class itself, of which only what is used counts.
    cells = [
        _cell(cell)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        if name != "__class__"
    ]
    bound: list[Any] = [function.__defaults__, function.__kwdefaults__, cells, *used_globals(function)]
    if is_bound:
        bound.append(part.__self__)
    return f"{_source(function)}{_place_in_line(function)}({_text(bound, seen)})"


def _hook_text(part: Hook, seen: _Seen) -> str:
    if seen.holds(part.function):
        return f"…{name_of(part)}"
    return f"{_text(part.function, seen)}({_text(list(used_attributes(part)), seen)})"


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
    if is_library(part):
        return f"{part.__module__}.{part.__qualname__}"
    if issubclass(part, enum.Enum):
        return f"{part.__qualname__}({_text([(name, each.value) for name, each in part.__members__.items()], seen)})"
    bases = [each for each in part.__mro__[1:] if not is_library(each)]
    members: dict[str, Any] = dict(functions_of(part))
    source = _source(part)
    if not source:  # its text would say what else is in it
        members |= {name: each for name, each in vars(part).items() if name[0] != "_" and is_immutable(each)}
    return f"{part.__qualname__}:{source}({_text([bases, members], seen)})"


def _instance_text(part: Any, seen: _Seen) -> str:
    if isinstance(part, enum.Enum):
        return f"{type(part).__qualname__}.{part.name}"
    state = _state(part)
    return f"{_text(type(part), seen)}({_text(state, seen) if state else _plain_repr(part)})"


def _state(part: Any) -> dict[str, Any]:
    """The attributes of an instance; those of a field without its place and its words."""
    slots = [name for each in type(part).__mro__ for name in _slots(each)]
    found = {**{name: getattr(part, name) for name in slots if hasattr(part, name)}, **getattr(part, "__dict__", {})}
    left_out = _PLACE_AND_WORDS if isinstance(part, (fields.Field, validate.Validator)) else ()
    return {name: value for name, value in found.items() if name not in left_out}


def _slots(part: type) -> list[str]:
    names = vars(part).get("__slots__", ())
    return [names] if isinstance(names, str) else [name for name in names if name not in ("__dict__", "__weakref__")]


def _plain_repr(part: Any) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", repr(part))


def _source(part: Any) -> str:
    """The tokens of *part*; where no source can be had (a console) the byte code of a function, and nothing of a class."""
    try:
        source = inspect.getsource(getattr(part, "__code__", part))  # of a function itself, not of what it wraps
        tokens = tokenize.generate_tokens(io.StringIO(inspect.cleandoc("\n" + source)).readline)
        return " ".join(token.string for token in tokens if token.type not in _LAYOUT)
    except (OSError, TypeError, tokenize.TokenError, IndentationError, SyntaxError):
        code = getattr(part, "__code__", None)
        return "" if code is None else f"{name_of(part)}:{_code_text(code)}"


def _code_text(part: Any) -> str:
    """Byte code and its constants, in which neither addresses nor the order of a set count."""
    if isinstance(part, CodeType):
        return f"{part.co_code.hex()}({','.join(_code_text(each) for each in part.co_consts)})"
    if isinstance(part, (tuple, frozenset)):
        items = [_code_text(each) for each in part]
        return f"[{','.join(sorted(items) if isinstance(part, frozenset) else items)}]"
    return repr(part)


def _is_plain(part: Any) -> bool:
    return part is None or (isinstance(part, (str, int, float, bytes)) and not isinstance(part, enum.Enum))


_Writer = tuple[Callable[[Any], bool], Callable[[Any, _Seen], str]]
_WRITERS: list[_Writer] = [
    (_is_plain, lambda part, seen: repr(part)),
    (lambda part: isinstance(part, re.Pattern), lambda part, seen: f"{part.pattern!r}/{part.flags}"),
    (lambda part: isinstance(part, (list, tuple, set, frozenset)) and not callable(part), _collection_text),
    (lambda part: isinstance(part, Mapping), _mapping_text),
    (lambda part: isinstance(part, functools.partial), _partial_text),
    (lambda part: inspect.isfunction(part) or inspect.ismethod(part), _function_text),
    (lambda part: isinstance(part, type), _class_text),
    (lambda part: isinstance(part, Hook), _hook_text),
]
