"""Patterns as languages."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.schemas.languages import Undecided, find_text, length_pattern, texts
from eventbus.schemas.patterns import is_portable


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ("^[0-9]+$", "^(0|1|2|3|4|5|6|7|8|9)+$"),
        (r"^\d{4}-\d{2}$", r"^[\d\-]+"),
        (r"^\w+$", r"^\S*$"),
        ("^a{2,3}$", "^a*$"),
        ("^(?:ab)?$", "^(|ab)$"),
        ("abc", "b"),
        (r"^[\s\S]$", r"^[\w\W]$"),
    ],
)
def test_what_is_contained_is_seen(inner: str, outer: str) -> None:
    """However differently it is spelled."""
    assert find_text([inner], [outer]) is None


@pytest.mark.parametrize(
    ("inner", "outer"),
    [("^[a-z]+", "^[a-z]+$"), ("a*", "a+"), ("^.$", "^[a-z]$"), ("^a{2,4}$", "^a{2,3}$"), ("^[^a]$", "^[^b]$")],
)
def test_what_is_not_contained_is_shown(inner: str, outer: str) -> None:
    """By a text that matches one and not the other."""
    text = find_text([inner], [outer])

    assert text is not None
    assert re.search(inner, text)
    assert not re.search(outer, text)


@pytest.mark.parametrize(("inner", "outer"), [(r"^\w$", "^[^é]$"), ("^é$", r"^\W$"), (r"^\d$", "^[^٣]$")])
def test_what_dialects_disagree_about_is_not_contained(inner: str, outer: str) -> None:
    r"""Outside ASCII nobody knows what \d, \w and \s match."""
    assert find_text([inner], [outer]) is not None


@pytest.mark.parametrize(
    "pattern", ["(?i)a", "(?P<x>a)", r"\Aa", "[]a]", "a{,3}", "(a", "a**", "[b-a]", r"\p{L}", "a++"]
)
def test_what_is_of_one_dialect_is_not_portable(pattern: str) -> None:
    """Or no pattern at all."""
    assert not is_portable(pattern)


@pytest.mark.parametrize("pattern", ["^(?=a)b", r"(a)\1", r"\bword"])
def test_what_is_no_regular_language_is_left_open(pattern: str) -> None:
    """It is portable, and cannot be compared."""
    assert is_portable(pattern)
    with pytest.raises(Undecided):
        find_text([pattern])


def test_lengths_are_patterns() -> None:
    """So that a pattern can imply a length."""
    assert find_text(["^[A-Z]{3}$"], [length_pattern(1, 10)]) is None
    assert find_text(["^[A-Z]{3}$"], [length_pattern(4, None)]) is not None


_ATOMS = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", "a*", "b+", "(a|b)", "(ab)?", "a{1,2}"])
_PATTERNS = st.tuples(st.sampled_from(["", "^"]), st.lists(_ATOMS, min_size=1, max_size=4), st.sampled_from(["", "$"]))


@given(one=_PATTERNS, two=_PATTERNS, tried=st.lists(st.text("abc", max_size=5), max_size=20))
def test_answers_agree_with_re(
    one: tuple[str, list[str], str], two: tuple[str, list[str], str], tried: list[str]
) -> None:
    """Whatever is called contained is, for every text that is tried."""
    # JSON Schema's dollar is the very end, Python's may stand before a last line feed.
    inner, outer = (start + "".join(middle) + end for start, middle, end in (one, two))
    as_python = {inner: inner.replace("$", r"\Z"), outer: outer.replace("$", r"\Z")}

    found = find_text([inner], [outer])

    if found is None:
        assert all(re.search(as_python[outer], text) for text in tried if re.search(as_python[inner], text))
    else:
        assert re.search(as_python[inner], found)
        assert not re.search(as_python[outer], found)


def test_texts_match() -> None:
    """Shortest first, for examples."""
    found = list(texts(["^[A-Z]{2}[0-9]{1,2}$"]))

    assert found == sorted(found, key=len)
    assert all(re.search("^[A-Z]{2}[0-9]{1,2}$", text) for text in found)
