"""What compatibility says of 88 changes, beside what marshmallow really does with them."""

import random
from typing import Any

import pytest
from marshmallow import Schema

from eventbus.errors import InvalidSchema
from eventbus.schemas.compatibility import Verdict, check
from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.refusal import DataRefused
from tests.schema_changes import CHANGES, YES, Change
from tests.schema_oracle import happens, publish
from tests.schema_specs import NUMBERS, OTHERS, TEXTS

#: The value is lost on the way although everything loads, so this verdict is our own.
RENAMED = "rename field (optional)"
REFUSED = {"add dump_only field", "field becomes dump_only"}
COMPARED = [change for change in CHANGES if change.name not in REFUSED]
POOL: list[Any] = [*TEXTS, *NUMBERS, *OTHERS, None, {"x": 1, "y": "q"}, {"x": None}, [None], [{"x": 1}], [{}]]


def test_there_are_88_changes() -> None:
    """None of them got lost."""
    assert len(CHANGES) == 88


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_dump_only_is_refused(name: str) -> None:
    """A schema that cannot read what it writes is no event schema."""
    change = next(each for each in CHANGES if each.name == name)

    with pytest.raises(InvalidSchema, match="dump_only"):
        to_json_schema(change.new)


@pytest.mark.parametrize("change", COMPARED, ids=lambda change: change.name)
def test_the_verdict_is_what_happens(change: Change) -> None:
    """No problem is reported exactly where every event loads without loss, in both directions."""
    old, new = to_json_schema(change.old), to_json_schema(change.new)

    backward, forward = check(new, old), check(old, new)

    if change.name == RENAMED:
        assert [problem.rule for problem in backward + forward] == ["looks-like-rename"] * 2
    else:
        assert (not backward) == (change.backward == YES)
        assert (not forward) == (change.forward == YES)


@pytest.mark.parametrize("change", COMPARED, ids=lambda change: change.name)
def test_every_problem_has_a_counterexample_that_fails(change: Change) -> None:
    """What is called broken is shown by an event that one version publishes and the other one does not read."""
    pairs = ((change.old(), change.new()), (change.new(), change.old()))

    for writer, reader in pairs:
        for problem in check(to_json_schema(reader), to_json_schema(writer)):
            assert problem.verdict is not Verdict.UNPROVEN
            wire = publish(writer, problem.counterexample)
            assert happens(reader, wire) != "loads" or problem.rule == "looks-like-rename"


@pytest.mark.parametrize("change", COMPARED, ids=lambda change: change.name)
def test_compatible_changes_lose_nothing(change: Change) -> None:
    """Where no problem is reported, everything that can be published loads and stays what it is."""
    pairs = ((change.old(), change.new()), (change.new(), change.old()))

    for writer, reader in pairs:
        if not check(to_json_schema(reader), to_json_schema(writer)):
            for wire in _published(writer):
                assert happens(reader, wire) == "loads", wire


def _published(writer: Schema) -> list[object]:
    """Whatever of the pool this schema publishes, field by field and mixed."""
    rng = random.Random(1)
    names = [each.data_key or name for name, each in writer.fields.items()]
    found = []
    for _ in range(120):
        payload = {name: rng.choice(POOL) for name in names if rng.random() < 0.8}
        try:
            found.append(publish(writer, payload))
        except DataRefused:
            continue
    return found
