"""Random schemas, random edits of them, random events: the check beside marshmallow."""

import random
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import Schema

from eventbus.errors import InvalidSchema
from eventbus.schemas.compatibility import Problem, check
from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.findings import Rule
from eventbus.schemas.refusal import DataRefused
from tests.schema_edits import Specs, edit, random_specs
from tests.schema_oracle import happens, publish
from tests.schema_specs import build_event_schema, build_schema, draw_payload

EVENTS_PER_PAIR = 30


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**48))
def test_no_problem_means_that_everything_loads(seed: int) -> None:
    """Sound: one or two edits that are called compatible lose no event and no value, in either direction."""
    rng = random.Random(seed)

    for specs, writer, reader in _pairs(rng):
        if not check(to_json_schema(reader), to_json_schema(writer)):
            for _ in range(EVENTS_PER_PAIR):
                wire = _publish(writer, draw_payload(specs, rng))
                assert wire is None or happens(reader, wire) == "loads", wire


def test_nearly_every_problem_is_one() -> None:
    """Precise: at least 95 % of the problems come with an event that really fails."""
    rng = random.Random(20)
    seen: Counter[bool] = Counter()

    for _ in range(500):
        for _, writer, reader in _pairs(rng):
            for problem in check(to_json_schema(reader), to_json_schema(writer)):
                seen[_is_real(problem, writer, reader)] += 1

    assert seen[True] > 300
    assert seen[True] >= 0.95 * seen.total()


def _is_real(problem: Problem, writer: Schema, reader: Schema) -> bool:
    if problem.verdict == "unproven":
        return False
    wire = _publish(writer, problem.counterexample)
    return wire is not None and (problem.rule is Rule.RENAMED or happens(reader, wire) != "loads")


def _pairs(rng: random.Random) -> list[tuple[Specs, Schema, Schema]]:
    """A schema and an edit of it, each as the writer once; nothing if one of them is no event schema."""
    old = random_specs(rng)
    new = edit(old, rng)
    new = edit(new, rng) if new and rng.random() < 0.4 else new
    build = rng.choice((build_schema, build_event_schema))
    if not new:
        return []
    one, two = build(old)(), build(new)()
    try:
        to_json_schema(one), to_json_schema(two)
    except InvalidSchema:
        return []
    return [(old, one, two), (new, two, one)]


def _publish(writer: Schema, payload: object) -> object:
    try:
        return publish(writer, payload)
    except DataRefused:
        return None
