"""Whether every text of some patterns is a text of another one, with a text that is not.

Each pattern becomes a finite automaton; the search walks them side by side, one class of characters at a time, and
stops at the first text that all of one side accept and the other side does not. It gives up rather than take long.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from eventbus.schemas.patterns import (
    DIGIT,
    OTHER,
    SPACE,
    WORD,
    Anchor,
    Characters,
    Choice,
    Irregular,
    Node,
    NotPortable,
    Ranges,
    Repeat,
    parse,
)
from eventbus.schemas.patterns import Sequence as Row

#: More states than this, or steps than that, and the question is left open.
MAX_STATES = 2_000
MAX_STEPS = 20_000

_ANYTHING: Ranges = ((0, OTHER),)
#: What the symbols for classes outside ASCII look like in an example.
_EXAMPLES = {DIGIT: "٣", WORD: "é", SPACE: "\u2003", OTHER: "€"}


class Undecided(Exception):
    """The patterns are not regular, not portable, or too large."""


@dataclass(kw_only=True)
class Automaton:
    """States are numbers; 0 starts. Edges without characters carry the anchor they need, or None."""

    moves: list[list[tuple[Ranges, int]]] = field(default_factory=lambda: [[]])
    jumps: list[list[tuple[Anchor | None, int]]] = field(default_factory=lambda: [[]])
    final: int = 0

    def state(self) -> int:
        """A new state."""
        if len(self.moves) > MAX_STATES:
            raise Undecided
        self.moves.append([])
        self.jumps.append([])
        return len(self.moves) - 1

    def closure(self, states: frozenset[int], *, at_start: bool, at_end: bool) -> frozenset[int]:
        """All states reachable without reading a character."""
        found, waiting = set(states), list(states)
        while waiting:
            for anchor, target in self.jumps[waiting.pop()]:
                open = anchor is None or (at_end if anchor.at_end else at_start)
                if open and target not in found:
                    found.add(target)
                    waiting.append(target)
        return frozenset(found)

    def step(self, states: frozenset[int], code: int) -> frozenset[int]:
        """The states after reading one character."""
        return frozenset(
            target
            for state in states
            for ranges, target in self.moves[state]
            if any(low <= code <= high for low, high in ranges)
        )

    def accepts(self, states: frozenset[int], *, at_start: bool) -> bool:
        """Whether the text may end here."""
        return self.final in self.closure(states, at_start=at_start, at_end=True)


def length_pattern(least: int, most: int | None) -> str:
    """The pattern of all texts of such a length."""
    return f"^[\\s\\S]{{{least},{'' if most is None else most}}}$"


def find_text(inside: Sequence[str], outside: Sequence[str] = ()) -> str | None:
    """A shortest text that matches every pattern of *inside* and not every pattern of *outside*; None if there is none.

    With nothing outside: any text that matches everything inside.

    Raises:
        Undecided: It cannot be told.
    """
    automata = [compile_pattern(pattern) for pattern in (*inside, *outside)]
    return _search(automata, len(inside), any_outside=not outside)


def _search(automata: list[Automaton], inside: int, *, any_outside: bool) -> str | None:
    alphabet = _alphabet(automata)
    start = tuple(each.closure(frozenset({0}), at_start=True, at_end=False) for each in automata)
    waiting: deque[tuple[tuple[frozenset[int], ...], str]] = deque([(start, "")])
    seen = {(start, True)}
    steps = 0
    while waiting:
        states, text = waiting.popleft()
        verdicts = [a.accepts(s, at_start=not text) for a, s in zip(automata, states, strict=True)]
        if all(verdicts[:inside]) and (any_outside or not all(verdicts[inside:])):
            return text
        for code in alphabet:
            steps += 1
            if steps > MAX_STEPS:
                raise Undecided
            following = tuple(
                a.closure(a.step(s, code), at_start=False, at_end=False) for a, s in zip(automata, states, strict=True)
            )
            if all(following[:inside]) and (following, False) not in seen:
                seen.add((following, False))
                waiting.append((following, text + (_EXAMPLES[code] if code in _EXAMPLES else chr(code))))
    return None


def _alphabet(automata: list[Automaton]) -> list[int]:
    """One character of each kind that no automaton tells apart; letters and digits first, they read best."""
    borders = {0, DIGIT, WORD, SPACE, OTHER}
    for automaton in automata:
        for moves in automaton.moves:
            for ranges, _ in moves:
                for low, high in ranges:
                    borders.update((low, high + 1))
    ordered = sorted(border for border in borders if border <= OTHER)
    kinds = [_readable(low, high - 1) for low, high in zip(ordered, [*ordered[1:], OTHER + 1], strict=True)]
    return sorted(kinds, key=lambda code: (not (code < 128 and chr(code).isalnum()), not 32 <= code < 127, code))


def _readable(low: int, high: int) -> int:
    """A character of the range that prints well and is no surrogate."""
    for wanted in (ord("a"), ord("0"), ord("A"), ord("-"), ord(" ")):
        if low <= wanted <= high:
            return wanted
    if low <= 32 < high:
        return 33
    return 0xE000 if 0xD800 <= low <= 0xDFFF and high >= 0xE000 else low


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Automaton:
    """The automaton that searches for *pattern* anywhere in a text.

    Raises:
        Undecided: It is not regular, not portable, or too large.
    """
    try:
        tree = parse(pattern)
    except NotPortable as error:
        raise Undecided from error
    automaton = Automaton()
    automaton.moves[0].append((_ANYTHING, 0))
    begin = automaton.state()
    automaton.jumps[0].append((None, begin))
    automaton.final = _add(automaton, tree, begin)
    automaton.moves[automaton.final].append((_ANYTHING, automaton.final))
    return automaton


def _add(automaton: Automaton, node: Node, begin: int) -> int:
    """Append *node* after the state *begin*; the state in which it ends."""
    match node:
        case Characters(ranges):
            end = automaton.state()
            automaton.moves[begin].append((ranges, end))
            return end
        case Row(parts):
            for part in parts:
                begin = _add(automaton, part, begin)
            return begin
        case Choice(parts):
            end = automaton.state()
            for part in parts:
                fork = automaton.state()
                automaton.jumps[begin].append((None, fork))
                automaton.jumps[_add(automaton, part, fork)].append((None, end))
            return end
        case Anchor():
            end = automaton.state()
            automaton.jumps[begin].append((node, end))
            return end
        case Repeat():
            return _repeat(automaton, node, begin)
        case Irregular():
            raise Undecided


def _repeat(automaton: Automaton, node: Repeat, begin: int) -> int:
    for _ in range(node.least):
        begin = _add(automaton, node.part, begin)
    end = automaton.state()
    automaton.jumps[begin].append((None, end))
    if node.most is None:
        loop = automaton.state()
        automaton.jumps[begin].append((None, loop))
        last = _add(automaton, node.part, loop)
        automaton.jumps[last].extend([(None, loop), (None, end)])
        return end
    for _ in range(node.most - node.least):
        begin = _add(automaton, node.part, begin)
        automaton.jumps[begin].append((None, end))
    return end


def texts(patterns: Sequence[str]) -> Iterator[str]:
    """A few texts that match every pattern, shortest first; none if it cannot be told."""
    shortest = 0
    for _ in range(3):
        try:
            text = find_text([*patterns, length_pattern(shortest, None)])
        except Undecided:
            return
        if text is None:
            return
        yield text
        shortest = len(text) + 1
