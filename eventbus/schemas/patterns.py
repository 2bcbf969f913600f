r"""Regular expressions that mean the same in Python, JavaScript and JSON Schema, as a tree.

What this parser refuses is not portable: inline flags, named groups, ``\A``, ``{,3}``, ``[]a]``. Look-around, back
references and word boundaries are portable, but no regular language; they parse to a tree without one.

Outside ASCII the dialects disagree about ``\d``, ``\w`` and ``\s``. Four symbols beyond Unicode stand for "any digit
(word character, space, other character) outside ASCII", so that two patterns compare under every reading.
"""

from dataclasses import dataclass

LAST = 0x10FFFF
#: Stand for any digit, word character, space and other character outside ASCII.
DIGIT, WORD, SPACE, OTHER = (LAST + 1 + offset for offset in range(4))
_CLASSES = range(DIGIT, OTHER + 1)

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Characters:
    """One character out of these ranges."""

    ranges: Ranges


@dataclass(frozen=True)
class Sequence:
    """One part after the other."""

    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Choice:
    """One of the parts."""

    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Repeat:
    """The part, *least* to *most* times; None for no limit."""

    part: "Node"
    least: int
    most: int | None


@dataclass(frozen=True)
class Anchor:
    """The start or the end of the text."""

    at_end: bool


@dataclass(frozen=True)
class Irregular:
    """Something that no finite automaton can follow."""


Node = Characters | Sequence | Choice | Repeat | Anchor | Irregular


class NotPortable(ValueError):
    """The pattern means something else, or nothing, in another dialect."""


def is_portable(pattern: str) -> bool:
    """Whether *pattern* means the same in Python, JavaScript and JSON Schema (for ASCII texts)."""
    try:
        parse(pattern)
    except NotPortable:
        return False
    return True


def parse(pattern: str) -> Node:
    """The tree of *pattern*.

    Raises:
        NotPortable: It is not of the common subset.
    """
    parser = _Parser(pattern)
    try:
        tree = parser.choice()
    except (IndexError, RecursionError) as error:
        raise NotPortable("ends too early or nests too deeply") from error
    if parser.at < len(pattern):
        raise NotPortable(f"unbalanced at {parser.at}")
    return tree


def normalise(ranges: list[tuple[int, int]]) -> Ranges:
    """Sorted and merged; a set that holds all of ASCII and every class outside it is everything."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    if merged and merged[0][0] == 0 and merged[0][1] >= 127 and merged[-1][0] <= DIGIT and merged[-1][1] == OTHER:
        return ((0, OTHER),)
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """Everything else, as far as all dialects agree that it is."""
    has_class = any(high >= DIGIT for _, high in ranges)
    has_foreign = any(high > 127 and low <= LAST for low, high in ranges)
    result, start = [], 0
    for low, high in (*ranges, (OTHER + 1, OTHER + 1)):
        if start < low:
            result.append((start, low - 1))
        start = high + 1
    if has_foreign:
        result = [(low, min(high, LAST)) for low, high in result if low <= LAST]
    if has_class:
        result = [
            piece
            for low, high in result
            for piece in ((low, min(high, 127)), (max(low, DIGIT), high))
            if piece[0] <= piece[1]
        ]
    return normalise(result)


_DIGITS = ((48, 57), (DIGIT, DIGIT))
_WORDS = ((48, 57), (65, 90), (95, 95), (97, 122), (DIGIT, WORD))
_SPACES = ((9, 13), (28, 32), (SPACE, SPACE))
_ESCAPED_CLASSES: dict[str, Ranges] = {
    "d": _DIGITS,
    "w": _WORDS,
    "s": _SPACES,
    "D": complement(_DIGITS),
    "W": complement(_WORDS),
    "S": complement(_SPACES),
}
_ESCAPED_CHARACTERS = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11}
_ANY = complement(((10, 10),))


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    def peek(self) -> str:
        return self.pattern[self.at] if self.at < len(self.pattern) else ""

    def take(self, text: str) -> bool:
        if text and self.pattern.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def next(self) -> str:
        self.at += 1
        return self.pattern[self.at - 1]

    def choice(self) -> Node:
        parts = [self.sequence()]
        while self.take("|"):
            parts.append(self.sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def sequence(self) -> Node:
        parts: list[Node] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated())
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def repeated(self) -> Node:
        part = self.atom()
        while self.peek() and self.peek() in "*+?{":
            least, most = self.bounds()
            if isinstance(part, (Anchor, Repeat)) or (most is not None and least > most):
                raise NotPortable("a repeated anchor or repetition")
            part = Repeat(part, least, most)
            self.take("?")  # lazy: the same language
        return part

    def bounds(self) -> tuple[int, int | None]:
        sign = self.next()
        if sign != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        least = self.number()
        if not self.take(","):
            most: int | None = least
        else:
            most = None if self.peek() == "}" else self.number()
        if not self.take("}"):
            raise NotPortable("a brace that is no repetition")
        return least, most

    def number(self) -> int:
        start = self.at
        while self.peek() in "0123456789" and self.peek():
            self.at += 1
        if start == self.at:
            raise NotPortable("a brace that is no repetition")
        return int(self.pattern[start : self.at])

    def atom(self) -> Node:
        character = self.next()
        if character == "(":
            return self.group()
        if character == "[":
            return self.bracket()
        if character == "\\":
            return self.escape()
        if character in "^$":
            return Anchor(at_end=character == "$")
        if character in "*+?{}]":
            raise NotPortable(f"{character} that stands for itself")
        return Characters(_ANY if character == "." else ((ord(character), ord(character)),))

    def group(self) -> Node:
        irregular = self.take("?=") or self.take("?!")
        if not irregular and not self.take("?:") and self.peek() == "?":
            raise NotPortable("an extension of Python's")
        inside = self.choice()
        if not self.take(")"):
            raise NotPortable("a group that is not closed")
        return Irregular() if irregular else inside

    def escape(self) -> Node:
        character = self.peek()
        if character and character in "bB123456789":
            self.at += 1
            return Irregular()
        return Characters(self.escaped())

    def escaped(self) -> Ranges:
        character = self.next()
        if character in _ESCAPED_CLASSES:
            return _ESCAPED_CLASSES[character]
        if character in "xu":
            digits = self.pattern[self.at : self.at + (2 if character == "x" else 4)]
            self.at += len(digits)
            try:
                code = int(digits, 16)
            except ValueError as error:
                raise NotPortable("an escape without its digits") from error
        elif character in _ESCAPED_CHARACTERS:
            code = _ESCAPED_CHARACTERS[character]
        elif character.isascii() and character.isalnum():
            raise NotPortable(f"the escape \\{character}")
        else:
            code = ord(character)
        return ((code, code),)

    def bracket(self) -> Node:
        negated = self.take("^")
        ranges: list[tuple[int, int]] = []
        if self.peek() == "]":
            raise NotPortable("a bracket that starts with ]")
        while not self.take("]"):
            low = self.bracket_item()
            if self.peek() == "-" and self.pattern[self.at + 1] != "]":
                self.at += 1
                high = self.bracket_item()
                if len(low) != 1 or len(high) != 1 or low[0][0] != low[0][1] or high[0][0] != high[0][1] or low > high:
                    raise NotPortable("a range of classes")
                ranges.append((low[0][0], high[0][0]))
            else:
                ranges.extend(low)
        found = normalise(ranges)
        return Characters(complement(found) if negated else found)

    def bracket_item(self) -> Ranges:
        character = self.next()
        if character != "\\":
            if character == "[":
                raise NotPortable("a bracket inside a bracket")
            return ((ord(character), ord(character)),)
        if self.take("b"):
            return ((8, 8),)
        return self.escaped()
