"""The wire form: the JSON of an event, such that publisher, log and every handler see the same value.

    data ──encode──▶ JSON text ──PostgreSQL jsonb──▶ JSON text ──decode──▶ equal data

PostgreSQL keeps numbers as decimals, so `encode` writes the few floats that would change their form on the way (1e16, -0.0)
as the number that comes back. Everything that is not JSON is refused with the path to it.
"""

import json
import math
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeGuard

import orjson

#: An exponent as orjson writes it, or a negative zero: such text *may* be a float that jsonb would rewrite. Found by its letter,
#: which is rarer than the digit before it.
_EXPONENT, _NEGATIVE_ZERO = re.compile(rb"e[+-]?[0-9]"), b"-0.0"
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_INTEGER_LIMIT = 1 << 64
#: Lists and objects within one another. orjson writes a few more, which what is written around data can use, such as a notice.
_MAX_DEPTH = 250
_STRICT = json.JSONEncoder(allow_nan=False)


class NotJson(ValueError):
    """A value has no wire form; ``problems`` holds (path, sentence) pairs."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{path}: {sentence}" for path, sentence in problems))


def encode(data: Any) -> bytes:
    """*data* as compact UTF-8 JSON that PostgreSQL stores and returns unchanged in value.

    Raises:
        NotJson: With each offending path: NaN, infinity, keys that are no strings, lone surrogates, NUL characters,
            integers beyond 64 bits, values of types that JSON lacks, and what is nested too deep.
    """
    return encode_and_decode(data)[0]


def encode_and_decode(data: Any) -> tuple[bytes, Any]:
    """What `encode` makes of *data*, and what `decode` makes of that.

    Raises:
        NotJson: As `encode`.
    """
    try:
        # Four levels around it, and orjson refuses what is nested too deep: to look for that would take longer than to write it.
        text = orjson.dumps([[[[data]]]], option=_OPTIONS)[4:-4]
        value = orjson.loads(text)
        if value != data:
            # orjson writes more than JSON has, NaN as null for one; what it wrote differently may be just a tuple.
            _STRICT.encode(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(_problems(data) or [("data", f"cannot be written as JSON ({error})")]) from None
    if b"\\u0000" in text and (problems := _problems(data)):
        raise NotJson(problems)
    if _NEGATIVE_ZERO in text or _EXPONENT.search(text):
        text = json.dumps(_stable(value), ensure_ascii=False, separators=(",", ":")).encode()
        value = orjson.loads(text)
    return text, value


def is_written_as(value: Any, text: bytes) -> bool:
    """Whether *value* is what `encode` wrote as *text*, with its keys in the same order; False where that is not plain."""
    try:
        return orjson.dumps(value, option=_OPTIONS) == text
    except (TypeError, ValueError, RecursionError):
        return False


def decode(text: str | bytes) -> Any:
    """The value of a JSON *text* that `encode` wrote or PostgreSQL returned."""
    return orjson.loads(text)


def encode_again(value: Any) -> bytes:
    """*value*, whose parts came from `decode` or are plain, as JSON: without the search for what is not JSON.

    Uuids and aware times are written as Python writes them, in a tenth of the time.
    """
    return orjson.dumps(value)


def canonical(data: Any) -> str:
    """*data* as JSON with sorted keys and no white space: equal texts mean equal events."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _stable(value: Any) -> Any:
    """*value* with each float replaced by the number that jsonb will return for it."""
    if isinstance(value, dict):
        return {key: _stable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_stable(item) for item in value]
    if isinstance(value, float):
        if value == 0:
            return 0.0
        if value.is_integer() and abs(value) >= 1e16:
            return int(value)
    return value


def _problems(data: Any) -> list[tuple[str, str]]:
    # Not one more: there may be as many as two to the power of the depth.
    return list(islice(_walk(data, "", 0), 20))


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every place in *value* that JSON cannot carry."""
    here = path or "data"
    if depth >= _MAX_DEPTH and isinstance(value, dict | list | tuple):
        yield here, f"is nested more than {_MAX_DEPTH} levels deep, or contains itself."
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield here, f"has the key {key!r:.60}, which is not a string."
                continue
            yield from _text_problems(key, f"{here}: key")
            yield from _walk(item, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, list) or type(value) is tuple:
        for index, item in enumerate(value):
            yield from _walk(item, f"{path}[{index}]", depth + 1)
    else:
        yield from _scalar_problems(value, here)


def _scalar_problems(value: Any, here: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield from _text_problems(value, here)
    elif type(value) is float:
        if not math.isfinite(value):
            yield here, f"{value} is not a JSON number."
    elif isinstance(value, int):
        if not -(_INTEGER_LIMIT >> 1) <= value < _INTEGER_LIMIT:
            yield here, "is an integer beyond 64 bits; send it as a string."
    elif value is not None:
        yield here, f"is a {type(value).__name__}, which JSON does not have; convert it first."


def is_text(value: object) -> TypeGuard[str]:
    """Whether *value* is a text that PostgreSQL can store: without NUL characters and lone surrogates."""
    return isinstance(value, str) and not any(_text_problems(value, ""))


def _text_problems(text: str, here: str) -> Iterator[tuple[str, str]]:
    if "\x00" in text:
        yield here, r"contains the character \u0000, which PostgreSQL cannot store."
    try:
        text.encode()
    except UnicodeEncodeError:
        yield here, "contains a lone surrogate, which is not Unicode text."
