"""Declared changes of data."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.schemas.rewriting import Rewrite, compose, default, drop, rename, wrap


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (rename("a", "b"), {"a": 1}, {"b": 1}),
        (rename("a.x", "a.y"), {"a": {"x": 1}}, {"a": {"y": 1}}),
        (default("a", 1), {}, {"a": 1}),
        (default("a", 1), {"a": 2}, {"a": 2}),
        (default("a.x", []), {"a": {}}, {"a": {"x": []}}),
        (default("a.x", 1), {}, {}),
        (drop("a"), {"a": 1, "b": 2}, {"b": 2}),
        (wrap("a", "amount"), {"a": 5}, {"a": {"amount": 5}}),
        (compose(rename("a", "b"), wrap("b", "x")), {"a": 1}, {"b": {"x": 1}}),
        (rename("a", "b"), {}, {}),
        (drop("a.x"), {"a": None}, {"a": None}),
    ],
)
def test_a_change_gives_new_data(change: Rewrite, before: dict[str, Any], after: dict[str, Any]) -> None:
    """What it is given stays as it was."""
    given_data = {**before}

    assert change(given_data) == after
    assert given_data == before


def test_an_inverse_says_what_it_loses() -> None:
    """Dropping loses the value; the way back can only restore a fixed one."""
    change = drop("a", restore=0)

    assert (change.lossy, change.inverse.lossy) == (("a",), ())
    assert change.inverse(change({"a": 5})) == {"a": 0}
    assert default("a", 1).inverse.lossy == ("a",)


@given(st.dictionaries(st.sampled_from(["a", "x"]), st.integers() | st.dictionaries(st.just("k"), st.integers())))
def test_lossless_changes_come_back(data: dict[str, Any]) -> None:
    """There and back is where it was."""
    change = compose(rename("a", "b"), wrap("b", "inner"), wrap("x", "value"))

    assert change.inverse(change(data)) == data
