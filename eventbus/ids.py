"""Ids: random ones, drawn by publishers a few at a time for every event; ranges of them; and those that somebody asks for."""

from collections.abc import Iterable, Iterator
from os import urandom
from typing import NamedTuple
from uuid import UUID

from eventbus.errors import InvalidInput

#: Two bits of that digit say which kind of uuid it is.
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
#: Drawn at once, by whoever needs that many.
_MOST_PAIRS = 50
_DAY_MILLISECONDS = 24 * 60 * 60 * 1000
#: Weeks begin on Mondays, in UTC; the first of 1970 did on its fifth day.
_WEEK_MILLISECONDS, _FIRST_MONDAY_MILLISECONDS = 7 * _DAY_MILLISECONDS, 4 * _DAY_MILLISECONDS
_MOST_MILLISECONDS = (1 << 48) - 1


class IdRange(NamedTuple):
    """Ids of events, as text, both ends included. An event's id begins with the time at which it was published."""

    first: str
    last: str

    @classmethod
    def of(cls, ids: Iterable[str]) -> "IdRange":
        """The range from the first to the last of *ids*; of none it is empty."""
        listed = list(ids)
        return cls(min(listed), max(listed)) if listed else cls(EVERYWHERE.last, EVERYWHERE.first)

    @classmethod
    def around(cls, id: UUID) -> "IdRange":
        """The ids of the week in which *id* was published, and of the other one that is less than a day away, if one is.

        Whole weeks, for each has a table: in it, all that is due is meant, and none of it is read in vain.
        """
        if id.version != 7:
            return EVERYWHERE
        at = id.int >> 80
        first = max(0, _monday(at - _DAY_MILLISECONDS))
        last = min(_monday(at + _DAY_MILLISECONDS) + _WEEK_MILLISECONDS - 1, _MOST_MILLISECONDS)
        return cls(f"{first >> 16:08x}-{first & 0xFFFF:04x}{_LEAST}", f"{last >> 16:08x}-{last & 0xFFFF:04x}{_MOST}")


def _monday(at: int) -> int:
    return at - (at - _FIRST_MONDAY_MILLISECONDS) % _WEEK_MILLISECONDS


_LEAST, _MOST = "-0000-0000-000000000000", "-ffff-ffff-ffffffffffff"
EVERYWHERE = IdRange("00000000-0000" + _LEAST, "ffffffff-ffff" + _MOST)


def draw_uuid() -> str:
    """A random uuid (version 4) as text; takes a third of the time of ``str(uuid4())``, which bulk publishing feels."""
    return draw_uuids(1)[0]


def draw_uuids(count: int) -> list[str]:
    """That many of them: the system is asked once for all."""
    digits = urandom(16 * count).hex()
    return [
        f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-4{digits[at + 13 : at + 16]}-"
        f"{_VARIANTS[digits[at + 16]]}{digits[at + 17 : at + 20]}-{digits[at + 20 : at + 32]}"
        for at in range(0, 32 * count, 32)
    ]


def draw_pairs() -> Iterator[list[str]]:
    """Two of them at a time, for whoever may need many: the system is asked for ever more at once. Of no use across a fork."""
    pairs = 1
    while True:
        drawn = draw_uuids(2 * pairs)
        for at in range(0, 2 * pairs, 2):
            yield drawn[at : at + 2]
        pairs = min(2 * pairs, _MOST_PAIRS)


def check_id(name: str, value: object, *, of: str = "an event") -> UUID:
    """*value*, if it is an id, or the text of one.

    Raises:
        InvalidInput: It is not; the sentence says *name*.
    """
    try:
        return value if isinstance(value, UUID) else UUID(str(value))
    except ValueError:
        raise InvalidInput(
            f"{name}={value!r:.60} is not the id of {of}, such as 0198c2a4-7b3e-7c5d-9f10-2a6b8c4d0e1f."
        ) from None
