"""Registering a version beside others."""

from typing import Any

import pytest

from eventbus.errors import SchemaEditedInPlace
from eventbus.schemas.upcasting import Upcasters
from eventbus.schemas.versions import Mode, check_version


def schema(*required: str) -> dict[str, Any]:
    """An object with these required integers."""
    properties = {name: {"type": "integer"} for name in required}
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


ONE, TWO, THREE = schema("a"), schema("a", "b"), schema("a", "b", "c")


@pytest.mark.parametrize(
    ("mode", "against"),
    [
        (Mode.BACKWARD, [2]),
        (Mode.BACKWARD_TRANSITIVE, [2, 1]),
        (Mode.FORWARD, []),
        (Mode.FORWARD_TRANSITIVE, []),
        (Mode.FULL, [2]),
        (Mode.FULL_TRANSITIVE, [2, 1]),
        (Mode.NONE, []),
    ],
)
def test_a_mode_says_how_far_and_which_way_to_look(mode: Mode, against: list[int]) -> None:
    """A new required field breaks reading what older versions wrote, and nothing else."""
    found = check_version("t", 3, THREE, {1: ONE, 2: TWO}, mode=mode)

    assert list(found) == against
    assert all(problem.direction == "backward" for problems in found.values() for problem in problems)


def test_full_transitive_is_the_default() -> None:
    """Old events live in the log, and old consumers run beside new ones."""
    assert list(check_version("t", 3, ONE, {1: ONE, 2: TWO})) == [2]


def test_an_upcaster_stands_in_for_backward() -> None:
    """What is converted before it is read need not load as it is."""
    upcasters = Upcasters()
    upcasters.upcaster("t", 1, 2)(lambda data: {**data, "b": 1})

    assert check_version("t", 2, TWO, {1: ONE}, conversions=upcasters) == {}
    assert check_version("other", 2, TWO, {1: ONE}, conversions=upcasters) != {}


def test_a_downcaster_stands_in_for_forward() -> None:
    """What old consumers get is converted for them."""
    upcasters = Upcasters()

    assert check_version("t", 2, ONE, {1: TWO}, conversions=upcasters) != {}
    upcasters.downcaster("t", 2, 1)(lambda data: {**data, "b": 1})
    assert check_version("t", 2, ONE, {1: TWO}, conversions=upcasters) == {}


def test_a_version_that_is_filled_in_later_is_compared_by_its_number() -> None:
    """Backward means that the higher number reads the lower one."""
    (problems,) = check_version("t", 1, ONE, {2: TWO}).values()

    assert [problem.direction for problem in problems] == ["backward"]


def test_a_version_is_never_edited_in_place() -> None:
    """Words may change; what is written and read may not."""
    assert check_version("t", 1, {**ONE, "description": "x"}, {1: ONE}) == {}
    with pytest.raises(SchemaEditedInPlace, match="declare version 2"):
        check_version("t", 1, TWO, {1: ONE})
