"""Patterns: which events they claim, which of them could claim one event together, and how malformed ones are refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.errors import InvalidGroup, InvalidPattern
from eventbus.subscription import candidates, check_group, check_pattern, matches, overlap

WORDS = ("a", "b")
#: Every type of up to three words, and every pattern of up to three words, over two words.
TYPES = [".".join(words) for length in (1, 2, 3) for words in itertools.product(WORDS, repeat=length)]
PATTERNS = [
    ".".join([*body, *tail])
    for length in (0, 1, 2, 3)
    for body in itertools.product((*WORDS, "*"), repeat=length)
    for tail in ((), ("#",))
    if 1 <= length + len(tail) <= 3
]

words = st.text("ab_-Z9", min_size=1, max_size=4)
types = st.lists(words, min_size=1, max_size=8).map(".".join)


def claims(pattern: str, type: str) -> bool:
    """What a pattern means, written without regard for speed."""
    wanted, given = pattern.split("."), type.split(".")
    if wanted[-1] == "#":
        wanted, given = wanted[:-1], given[: len(wanted) - 1]
    return len(wanted) == len(given) and all(one in ("*", other) for one, other in zip(wanted, given, strict=True))


@st.composite
def patterns_near(draw: st.DrawFn, type: str) -> str:
    """A pattern that may or may not claim *type*."""
    body = [draw(st.sampled_from([word, "*", "x"])) for word in type.split(".")]
    body = body[: draw(st.integers(0, len(body)))]
    tail = ["#"] if not body or draw(st.booleans()) else []
    return ".".join([*body, *tail][:8])


@pytest.mark.parametrize("type", TYPES)
def test_the_candidates_of_a_type_are_all_patterns_that_claim_it(type: str) -> None:
    """A publish finds every subscription, and none that does not want the event."""
    found = set(candidates(type)) & set(PATTERNS)

    assert found == {pattern for pattern in PATTERNS if claims(pattern, type)}


@given(st.data(), types)
def test_a_pattern_is_a_candidate_exactly_if_it_claims_the_type(data: st.DataObject, type: str) -> None:
    """The look-up agrees with matching one by one, whatever the length of the type."""
    pattern = data.draw(patterns_near(type))

    assert (pattern in candidates(type)) == claims(pattern, type) == matches(pattern, type)


@given(types)
def test_candidates_are_few_distinct_and_well_formed(type: str) -> None:
    """The look-up costs about three times two to the power of the number of words, whatever is subscribed."""
    found = candidates(type)

    assert len(set(found)) == len(found) <= 3 * 2 ** len(type.split("."))
    assert [check_pattern(pattern) for pattern in found if len(pattern) <= 200]


def test_two_patterns_overlap_exactly_if_some_type_is_claimed_by_both() -> None:
    """What is refused as a conflict is what could make one event two deliveries, and nothing else."""
    claimed = {pattern: {type for type in TYPES if claims(pattern, type)} for pattern in PATTERNS}

    wrong = [
        (one, other)
        for one, other in itertools.product(PATTERNS, repeat=2)
        if overlap(one, other) != bool(claimed[one] & claimed[other])
    ]

    assert wrong == []


@given(st.data(), types)
def test_overlap_does_not_depend_on_the_order(data: st.DataObject, type: str) -> None:
    """Whoever is declared first, the conflict is the same."""
    one, other = data.draw(patterns_near(type)), data.draw(patterns_near(type))

    assert overlap(one, other) == overlap(other, one)
    assert overlap(one, one)


@pytest.mark.parametrize(
    "pattern", ["order.created", "order.*", "*.created", "*.*", "order.#", "#", "*", "a.b.c.d.e.f.g.#"]
)
def test_a_pattern_of_words_stars_and_a_last_hash_is_accepted(pattern: str) -> None:
    """The patterns that the documentation names are patterns."""
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (None, "not a text"),
        (7, "not a text"),
        ("", "it is empty"),
        ("order..created", "a word is empty"),
        (".order", "a word is empty"),
        ("order.", "a word is empty"),
        ("#.created", "'#' may only be its last word"),
        ("order.#.#", "'#' may only be its last word"),
        ("order.cre*", "'cre\\*' is not a word"),
        ("order.**", "is not a word"),
        ("order created", "is not a word"),
        ("ordér.created", "is not a word"),
        ("order.created\n", "is not a word"),
        ("a.b.c.d.e.f.g.h.#", "more than 8 words"),
        ("a" * 201, "200 characters"),
    ],
)
def test_a_malformed_pattern_is_refused_with_the_reason(pattern: object, reason: str) -> None:
    """A typing error is found where it is made, not by an event that never comes."""
    with pytest.raises(InvalidPattern, match=reason):
        check_pattern(pattern)


@pytest.mark.parametrize("group", ["a", "inventory", "0-_x", "a" * 63])
def test_a_group_name_fits_a_queue_name(group: str) -> None:
    """Lower-case letters, digits, '_' and '-', at most 63 characters."""
    assert check_group(group) == group


@pytest.mark.parametrize("group", [None, 3, "", "A", "-a", "_a", "a b", "a.b", "a" * 64, "a\n", "gruppe-ü"])
def test_a_malformed_group_name_is_refused(group: object) -> None:
    """A name that no queue could carry never reaches the database."""
    with pytest.raises(InvalidGroup):
        check_group(group)
