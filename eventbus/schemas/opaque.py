"""Identity of what JSON Schema cannot express: an unchanged part is recognised and a changed one cannot hide.

A name is not enough: the body behind it may change. The identity is a digest of the source, with comments and layout
taken out, and of the values the code closes over.
"""

import enum
import functools
import hashlib
import inspect
import io
import re
import tokenize
from collections.abc import Callable, Mapping
from typing import Any

#: Tokens that change how source looks and not what it does.
_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


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
    return hashlib.sha256(_text(part, frozenset()).encode()).hexdigest()[:32]


def _text(part: Any, seen: frozenset[int]) -> str:
    if id(part) in seen:
        return "…"
    seen = seen | {id(part)}
    for matches, write in _WRITERS:
        if matches(part):
            return write(part, seen)
    return _instance_text(part, seen)


def _collection_text(part: Any, seen: frozenset[int]) -> str:
    items = [_text(each, seen) for each in part]
    return f"{type(part).__name__}[{','.join(sorted(items) if isinstance(part, (set, frozenset)) else items)}]"


def _mapping_text(part: Mapping[Any, Any], seen: frozenset[int]) -> str:
    return "{" + ",".join(sorted(f"{_text(k, seen)}:{_text(v, seen)}" for k, v in part.items())) + "}"


def _partial_text(part: Any, seen: frozenset[int]) -> str:
    return f"partial({_text(part.func, seen)},{_text(part.args, seen)},{_text(part.keywords, seen)})"


def _function_text(part: Any, seen: frozenset[int]) -> str:
    function = inspect.unwrap(part.__func__ if inspect.ismethod(part) else part)
    cells = [] if function.__closure__ is None else [_cell(cell) for cell in function.__closure__]
    bound = [function.__defaults__, function.__kwdefaults__, cells]
    return f"{_source(function)}{_place_in_line(function)}({_text(bound, seen)})"


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


def _class_text(part: type, seen: frozenset[int]) -> str:
    if part.__module__.split(".")[0] in {"builtins", "marshmallow", "decimal", "datetime", "uuid"}:
        return f"{part.__module__}.{part.__qualname__}"
    return _source(part)


def _instance_text(part: Any, seen: frozenset[int]) -> str:
    if isinstance(part, enum.Enum):
        return f"{type(part).__qualname__}.{part.name}"
    state = {k: v for k, v in getattr(part, "__dict__", {}).items() if k not in {"parent", "root", "error_messages"}}
    return f"{_text(type(part), seen)}({_text(state, seen) if state else _plain_repr(part)})"


def _plain_repr(part: Any) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", repr(part))


def _source(part: Any) -> str:
    """The tokens of *part*; where no source can be had (a console, a C function) its byte code."""
    try:
        source = inspect.getsource(part)
        tokens = tokenize.generate_tokens(io.StringIO(inspect.cleandoc("\n" + source)).readline)
        return " ".join(token.string for token in tokens if token.type not in _LAYOUT)
    except (OSError, TypeError, tokenize.TokenError, IndentationError, SyntaxError):
        code = getattr(part, "__code__", None)
        return f"{name_of(part)}:{code.co_code.hex() if code else ''}:{_plain_repr(code.co_consts) if code else ''}"


def _is_plain(part: Any) -> bool:
    return part is None or (isinstance(part, (str, int, float, bytes)) and not isinstance(part, enum.Enum))


_Writer = tuple[Callable[[Any], bool], Callable[[Any, frozenset[int]], str]]
_WRITERS: list[_Writer] = [
    (_is_plain, lambda part, seen: repr(part)),
    (lambda part: isinstance(part, re.Pattern), lambda part, seen: f"{part.pattern!r}/{part.flags}"),
    (lambda part: isinstance(part, (list, tuple, set, frozenset)), _collection_text),
    (lambda part: isinstance(part, Mapping), _mapping_text),
    (lambda part: isinstance(part, functools.partial), _partial_text),
    (lambda part: inspect.isfunction(part) or inspect.ismethod(part), _function_text),
    (lambda part: isinstance(part, type), _class_text),
]
