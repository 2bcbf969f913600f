"""Numbers and strings: whether one case's values all fit into another's."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from eventbus.schemas.alternatives import Case
from eventbus.schemas.digits import exact, largest_with_places
from eventbus.schemas.findings import Finding, Place, Rule
from eventbus.schemas.languages import Undecided, find_text, length_pattern
from eventbus.schemas.lexical import FORMAT, FORMS, form_reads, is_text_of, own_pattern

PLACES = "x-eventbus-places"
LENIENT = "x-eventbus-lenient"


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The numbers between two ends; None for no end."""

    low: Fraction | None = None
    high: Fraction | None = None
    low_is_open: bool = False
    high_is_open: bool = False

    def is_within(self, other: "Bounds") -> bool:
        """Whether every number here is there."""
        return _end_fits(self.low, self.low_is_open, other.low, other.low_is_open, 1) and _end_fits(
            self.high, self.high_is_open, other.high, other.high_is_open, -1
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is no number in between."""
        if self.low is None or self.high is None:
            return False
        return self.low > self.high or (self.low == self.high and (self.low_is_open or self.high_is_open))


def _end_fits(own: Fraction | None, own_open: bool, other: Fraction | None, other_open: bool, sign: int) -> bool:
    if other is None:
        return True
    if own is None:
        return False
    return own * sign > other * sign or (own == other and (own_open or not other_open))


def bounds(case: Case, prefix: str = "") -> Bounds:
    """The range of a case; whole numbers have closed ends."""
    lows = [(exact(each), False) for each in case.find(f"{prefix}minimum")]
    highs = [(exact(each), False) for each in case.find(f"{prefix}maximum")]
    for part in case.parts:
        for name, ends, partner in (("Minimum", lows, "minimum"), ("Maximum", highs, "maximum")):
            limit = part.get(f"{prefix}exclusive{name}")
            if limit is True and partner in part:  # as draft-04 writes it
                ends.append((exact(part[partner]), True))
            elif limit is not None and not isinstance(limit, bool):
                ends.append((exact(limit), True))
    if case.is_integer or "integer" in case.find(FORMAT):
        lows = [(Fraction(math.floor(e) + 1 if open else math.ceil(e)), False) for e, open in lows]
        highs = [(Fraction(math.ceil(e) - 1 if open else math.floor(e)), False) for e, open in highs]
    low, low_open = max(lows, default=(None, False))
    high, high_open = min(((end, not open) for end, open in highs), default=(None, True))
    return Bounds(low=low, low_is_open=low_open, high=high, high_is_open=not high_open)


def compare_numbers(case: Case, take: Case, place: Place) -> list[Finding]:
    """Where numbers of *case* are none of *take*."""
    found = []
    own, other = bounds(case), bounds(take)
    if own.is_empty:
        return []
    if take.is_integer and not _is_whole(case):
        lossy = any(take.find(LENIENT))
        rule = Rule.LOSSY_COERCION if lossy else Rule.TYPE_REFUSED
        told = {"type": "integer"}
        found.append(place.finding(rule, writer={"type": "number"}, reader=told, candidates=_fractions(own)))
    if not own.is_within(other):
        beyond = tuple(_beyond(other, case.is_integer))
        found.append(place.finding(Rule.RANGE_NARROWED, writer=_told(own), reader=_told(other), candidates=beyond))
    found += _compare_multiples(case, take, place)
    units = set(take.find(FORMAT))
    if (units - set(case.find(FORMAT)) and not case.is_integer) or (set(case.find(FORMAT)) - units and units):
        found.append(place.finding(Rule.FORM_CHANGED, writer=case.find(FORMAT), reader=sorted(units)))
    return found


def _is_whole(case: Case) -> bool:
    return case.is_integer or any(exact(each).denominator == 1 for each in case.find("multipleOf"))


def _compare_multiples(case: Case, take: Case, place: Place) -> list[Finding]:
    own = [exact(each) for each in case.find("multipleOf")] + ([Fraction(1)] if case.is_integer else [])
    for wanted in map(exact, take.find("multipleOf")):
        if not any((each / wanted).denominator == 1 for each in own):
            told = {"multipleOf": float(wanted)}
            return [place.finding(Rule.MULTIPLE_CHANGED, writer={"multipleOf": list(map(float, own))}, reader=told)]
    return []


def _fractions(own: Bounds) -> tuple[Any, ...]:
    ends = [float(end) for end in (own.low, own.high) if end is not None]
    return (*(end + shift for end in (1.0, *ends) for shift in (0.123456789, -0.123456789)), 1.5, 0.5, *ends)


def _beyond(other: Bounds, whole: bool) -> list[Any]:
    """Numbers just outside of some bounds."""
    shifts = (Fraction(0), Fraction(1), Fraction(1, 2), Fraction(1, 1000), Fraction(10))
    ends = [(end, sign) for end, sign in ((other.low, -1), (other.high, 1)) if end is not None]
    numbers = [end + sign * shift for shift in shifts for end, sign in ends]
    return [
        int(each) if each.denominator == 1 else float(each) for each in numbers if each.denominator == 1 or not whole
    ]


def _told(own: Bounds) -> dict[str, Any]:
    names = {
        "exclusiveMinimum" if own.low_is_open else "minimum": own.low,
        "exclusiveMaximum" if own.high_is_open else "maximum": own.high,
    }
    return {name: int(end) if end.denominator == 1 else float(end) for name, end in names.items() if end is not None}


def compare_strings(case: Case, take: Case, place: Place) -> list[Finding]:
    """Where texts of *case* are none of *take*."""
    own, other = lengths(case), lengths(take, with_forms=False)
    if own[1] is not None and own[0] > own[1]:
        return []
    found = _compare_forms(case, take, place)
    patterns = case_patterns(case, own)
    is_longer = other[1] is not None and (own[1] is None or own[1] > other[1])
    if (own[0] < other[0] or is_longer) and not _implied(patterns, length_pattern(*other)):
        sizes = (other[0] - 1, None if other[1] is None else other[1] + 1)
        texts = tuple("a" * size for size in sizes if size is not None and 0 <= size < 10_000)
        told = {"minLength": other[0], "maxLength": other[1]}
        mine = {"minLength": own[0], "maxLength": own[1]}
        found.append(place.finding(Rule.LENGTH_NARROWED, writer=mine, reader=told, candidates=texts))
    for pattern in take.find("pattern"):
        if pattern not in case.find("pattern") and not _is_own_pattern(take, pattern):
            found += _compare_pattern(patterns, pattern, case, place)
    return found


def lengths(case: Case, *, with_forms: bool = True) -> tuple[int, int | None]:
    """Fewest and most characters of a text."""
    lows, highs = [0, *case.find("minLength")], case.find("maxLength")
    for form in (*case.find("format"), *case.find(FORMAT)) if with_forms else ():
        if form in FORMS:
            lows.append(FORMS[form].shortest)
            highs = [*highs, FORMS[form].longest] if FORMS[form].longest is not None else highs
    return int(max(lows)), int(min(highs)) if highs else None


def case_patterns(case: Case, own: tuple[int, int | None]) -> list[str]:
    """Patterns that every text of the case matches, its length among them."""
    limits = [length_pattern(*own)] if own != (0, None) and own[0] <= 300 and (own[1] or 0) <= 300 else []
    return [*map(str, case.find("pattern")), *limits]


def _implied(patterns: list[str], wanted: str) -> bool:
    try:
        return find_text(patterns, [wanted]) is None
    except Undecided:
        return False


def _is_own_pattern(take: Case, pattern: str) -> bool:
    """Whether the pattern only repeats what the form beside it says."""
    return any(pattern == own_pattern(form) for form in take.find(FORMAT))


def _compare_pattern(patterns: list[str], wanted: str, case: Case, place: Place) -> list[Finding]:
    told = {"pattern": wanted}
    mine = {"pattern": case.find("pattern")}
    try:
        text = find_text(patterns, [wanted])
    except Undecided:
        reason = "neither pattern can be shown to contain the other"
        return [place.finding(Rule.CANNOT_TELL, writer=mine, reader=told, reason=reason)]
    if text is None:
        return []
    return [place.finding(Rule.PATTERN_NARROWED, writer=mine, reader=told, candidates=(text,))]


def _compare_forms(case: Case, take: Case, place: Place) -> list[Finding]:
    written = [*case.find("format"), *case.find(FORMAT)]
    for wanted in (*take.find("format"), *take.find(FORMAT)):
        if not any(form_reads(wanted, form) for form in written):
            return [place.finding(Rule.FORM_CHANGED, writer={"format": written}, reader={"format": wanted})]
    return _compare_digits(case, take, place)


def _compare_digits(case: Case, take: Case, place: Place) -> list[Finding]:
    """Numbers in text: their range, and how many places they keep."""
    own, other = bounds(case, "x-eventbus-"), bounds(take, "x-eventbus-")
    found = []
    if not own.is_within(other):
        texts = tuple(str(each) for each in _beyond(other, "integer" in case.find(FORMAT)))
        told = _told(other)
        found.append(place.finding(Rule.RANGE_NARROWED, writer=_told(own), reader=told, candidates=texts))
    for kept in take.find(PLACES):
        written = 0 if "integer" in case.find(FORMAT) else min(case.find(PLACES), default=None)
        if written is None or written > kept:
            sample = "0." + "1" * (kept + 1)
            told = {PLACES: kept}
            found.append(
                place.finding(Rule.LOSSY_COERCION, writer={PLACES: written}, reader=told, candidates=(sample,))
            )
        elif written < kept or "integer" in case.find(FORMAT):
            found += _compare_magnitude(own, kept, place)
    return found


def _compare_magnitude(own: Bounds, kept: int, place: Place) -> list[Finding]:
    """Decimal arithmetic has 28 digits: more places leave fewer for the whole part."""
    limit = largest_with_places(kept)
    if own.is_within(Bounds(low=-limit, high=limit, low_is_open=True, high_is_open=True)):
        return []
    told = {PLACES: kept}
    return [place.finding(Rule.RANGE_NARROWED, writer=_told(own), reader=told, candidates=("1" + "0" * (28 - kept),))]


def form_accepts(take: Case, value: Any) -> bool:
    """Whether a single value has the form that *take* demands, as far as validators do not see it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return not take.find(FORMAT) or value == int(value)
    if not isinstance(value, str):
        return True
    standard = [form for form in take.find("format") if form in FORMS]
    if not all(is_text_of(form, value) for form in (*standard, *take.find(FORMAT))):
        return False
    if not {"decimal", "integer", "float"} & set(take.find(FORMAT)):
        return True
    number = Fraction(value)
    places = min(take.find(PLACES), default=None)
    fits = places is None or (number * 10**places).denominator == 1
    return fits and Bounds(low=number, high=number).is_within(bounds(take, "x-eventbus-"))
