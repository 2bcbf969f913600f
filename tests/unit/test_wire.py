"""The wire form: what is refused, with the path to it; how values come back from PostgreSQL is tested in integration."""

import dataclasses
import datetime
import decimal
import enum
import json
import math
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.wire import NotJson, canonical, decode, encode, encode_again
from tests.support.json_values import json_values


@dataclasses.dataclass
class Point:
    """A foreign type."""

    x: int = 1


class Colour(enum.Enum):
    """A foreign type."""

    RED = "red"


def containing_itself() -> list[Any]:
    """A list whose every way down is endless."""
    endless: list[Any] = []
    endless.extend([endless, endless, endless])
    return endless


def nested(depth: int, value: Any = 1) -> Any:
    """*value* in *depth* lists in one another."""
    for _ in range(depth):
        value = [value]
    return value


@given(json_values)
def test_what_is_written_is_read_as_an_equal_value(value: Any) -> None:
    """Arbitrary JSON survives the wire."""
    assert decode(encode(value)) == value


@given(json_values)
def test_the_wire_form_is_json_and_compact(value: Any) -> None:
    """Any other reader of JSON sees the same value."""
    text = encode(value)

    assert json.loads(text) == value
    assert not text.startswith(b" ")


@given(json_values)
def test_reading_and_writing_again_changes_nothing(value: Any) -> None:
    """What a handler publishes on has the same canonical text."""
    once = decode(encode(value))

    assert canonical(decode(encode(once))) == canonical(once)


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        ({"a": {"b": [1, math.nan]}}, "a.b[1]", "nan is not a JSON number"),
        (math.inf, "data", "inf is not a JSON number"),
        ([-math.inf], "[0]", "-inf is not a JSON number"),
        ({"name": "a\x00b"}, "name", r"\u0000"),
        ({"a\x00": 1}, "data: key", r"\u0000"),
        ({"in": {"a\x00": 1}}, "in: key", r"\u0000"),
        ({"name": "\ud800"}, "name", "lone surrogate"),
        ({"\udfff": 1}, "data: key", "lone surrogate"),
        ({"a": {1: "x"}}, "a", "has the key 1, which is not a string"),
        ({None: "x"}, "data", "has the key None"),
        ({"a": 2**64}, "a", "an integer beyond 64 bits"),
        ({"a": -(2**63) - 1}, "a", "an integer beyond 64 bits"),
        ({"a": decimal.Decimal(1)}, "a", "is a Decimal, which JSON does not have"),
        ({"a": b"x"}, "a", "is a bytes"),
        ({"a": {1, 2}}, "a", "is a set"),
        ({"a": datetime.datetime.now(datetime.UTC)}, "a", "is a datetime"),
        ({"a": uuid.uuid4()}, "a", "is a UUID"),
        ({"a": Point()}, "a", "is a Point"),
        ({"a": Colour.RED}, "a", "is a Colour"),
        (object, "data", "is a type"),
    ],
)
def test_what_json_cannot_carry_is_refused_with_its_path(data: Any, path: str, reason: str) -> None:
    """The publisher learns which field to mend."""
    with pytest.raises(NotJson) as caught:
        encode(data)

    [(where, sentence)] = caught.value.problems
    assert where == path
    assert reason in sentence


def test_every_problem_is_named_up_to_twenty() -> None:
    """One refusal is enough to mend them all, and a message stays readable."""
    with pytest.raises(NotJson) as few:
        encode({"a": math.nan, "b": [2**70]})
    with pytest.raises(NotJson) as many:
        encode([math.nan] * 100)

    assert [path for path, _ in few.value.problems] == ["a", "b[0]"]
    assert len(many.value.problems) == 20


@pytest.mark.parametrize("data", [containing_itself(), nested(251), nested(100_000)])
def test_endless_and_very_deep_data_is_refused(data: Any) -> None:
    """Neither the stack nor the clock runs out."""
    with pytest.raises(NotJson, match="nested more than 250 levels deep, or contains itself"):
        encode(data)


@pytest.mark.parametrize("innermost", [1, [], {}, "x"])
def test_what_is_as_deep_as_can_be_fits_into_what_is_written_around_it(innermost: Any) -> None:
    """A notice holds data within an object; one level more is refused."""
    levels = 250 if not isinstance(innermost, list | dict) else 249
    deepest = nested(levels, innermost)

    value = decode(encode(deepest))

    assert value == deepest
    assert decode(encode_again({"event": [{"data": value}]}))["event"][0]["data"] == deepest
    with pytest.raises(NotJson, match="nested more than 250 levels deep"):
        encode([deepest])


@pytest.mark.parametrize(("base", "value"), [(tuple, (1,)), (float, 1.5)])
def test_a_type_that_only_looks_like_json_is_refused_with_its_place(base: Any, value: Any) -> None:
    """Such as a named tuple, or a number of another library's: like JSON to Python's encoder, like nothing to ours."""
    odd = type("Odd", (base,), {})

    with pytest.raises(NotJson, match=r"a\[1\]: is a Odd, which JSON does not have"):
        encode({"a": [0, odd(value)]})


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 0, True, None, "", r"\u0000", "é", {}, []])
def test_the_edges_of_json_are_accepted(value: Any) -> None:
    """What fits is not refused."""
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e16, b"10000000000000000"),
        (-1e16, b"-10000000000000000"),
        (-0.0, b"0.0"),
        (5e-324, b"5e-324"),
        ({"a": (1e16, 1.5, "1e5")}, b'{"a":[10000000000000000,1.5,"1e5"]}'),
    ],
)
def test_numbers_that_postgresql_would_rewrite_are_written_as_they_come_back(value: Any, text: bytes) -> None:
    """Publisher and handler see one number, in one form."""
    assert encode(value) == text


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=5))
def test_the_canonical_text_does_not_depend_on_the_order_of_keys(value: dict[str, int]) -> None:
    """Equal texts mean equal events."""
    assert canonical(dict(reversed(value.items()))) == canonical(value)
