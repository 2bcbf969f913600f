"""The JSON Schema of a marshmallow schema says what its load says."""

import random
from typing import Any

import jsonschema_rs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventbus.errors import InvalidSchema
from eventbus.schemas.canonical import CanonicalForm, canonical
from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.documents import Document
from eventbus.schemas.json_values import to_json
from eventbus.schemas.loading import Trial, TriedForm
from eventbus.schemas.projection import writer_projection
from eventbus.schemas.reading import read
from eventbus.schemas.refusal import DataRefused
from eventbus.schemas.stored import StoredForm
from tests.schema_edits import random_specs
from tests.schema_specs import build_event_schema, build_schema, draw_payload

UNHURRIED = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**48)


@UNHURRIED
@given(seed=SEEDS)
def test_what_is_published_is_valid(seed: int) -> None:
    """The canonical form of every event is valid against the JSON Schema, which is itself valid."""
    rng = random.Random(seed)
    specs = random_specs(rng)
    schema = build_schema(specs)()
    try:
        json_schema = to_json_schema(schema)
    except InvalidSchema:
        return
    document = Document(writer_projection(json_schema))
    assert jsonschema_rs.meta.is_valid(json_schema)

    for _ in range(15):
        try:
            wire = canonical(schema, draw_payload(specs, rng))
        except DataRefused:
            continue
        assert document.accepts(document.root, wire), wire


@UNHURRIED
@given(seed=SEEDS)
def test_what_is_valid_can_be_published(seed: int) -> None:
    """An event of the strict kinds that is valid against the JSON Schema loads, and is stored the same either way."""
    rng = random.Random(seed)
    specs = random_specs(rng)
    schema = build_event_schema(specs)()
    try:
        stored = StoredForm(to_json_schema(schema))
    except InvalidSchema:
        return

    for _ in range(15):
        payload = draw_payload(specs, rng)
        try:
            wire = stored(payload)
        except DataRefused:
            continue
        canonical(schema, wire)


@UNHURRIED
@given(seed=SEEDS)
def test_the_fast_path_agrees_with_marshmallow(seed: int) -> None:
    """Compiled or not: the same canonical form, or both refuse."""
    rng = random.Random(seed)
    specs = random_specs(rng)
    schema = rng.choice((build_schema, build_event_schema))(specs)()
    form = CanonicalForm(schema)

    for _ in range(20):
        payload = draw_payload(specs, rng)
        try:
            expected = repr(canonical(schema, payload))
        except DataRefused as error:
            expected = repr(error.errors)
        try:
            found = repr(form(payload))
        except DataRefused as error:
            found = repr(error.errors)
        assert found == expected


#: What stands where something else belongs.
MISFITS = (None, True, 0, 1.0, 1.5, -(2**40), "", "1", "x" * 300, [], [1], {}, {"value": 1}, "2024-02-29")


def damaged(data: Any, rng: random.Random) -> Any:
    """*data* with some of its places taken out or changed, at any depth."""
    if rng.random() < 0.15:
        return rng.choice(MISFITS)
    if isinstance(data, dict):
        return {key: damaged(value, rng) for key, value in data.items() if rng.random() > 0.1}
    return [damaged(value, rng) for value in data] if isinstance(data, list) else data


@UNHURRIED
@given(seed=SEEDS)
def test_a_trial_says_what_reading_says(seed: int) -> None:
    """Field by field or whole, for the first time or again: what loads, and else the same messages under the same paths."""
    rng = random.Random(seed)
    specs = random_specs(rng)
    schema = rng.choice((build_schema, build_event_schema))(specs)()
    try:
        trial = Trial(schema, to_json_schema(schema))
    except InvalidSchema:
        return

    for _ in range(15):
        try:
            data = damaged(to_json(draw_payload(specs, rng)), rng)
        except DataRefused:
            continue
        expected: dict[str, list[str]] = {}
        try:
            read(schema, data)
        except DataRefused as error:
            expected = error.errors
        assert [trial.errors(data) for _ in range(2)] == [expected] * 2, data


@UNHURRIED
@given(seed=SEEDS)
def test_a_tried_form_is_the_canonical_form(seed: int) -> None:
    """Of what comes from JSON and of what comes from Python: the same form, or the same messages under the same paths."""
    rng = random.Random(seed)
    specs = random_specs(rng)
    schema = rng.choice((build_schema, build_event_schema))(specs)()
    try:
        form = TriedForm(CanonicalForm(schema), to_json_schema(schema))
    except InvalidSchema:
        return

    for _ in range(15):
        payload = draw_payload(specs, rng)
        data = payload if rng.random() < 0.2 else damaged(payload, rng)
        assert outcome(form, data) == outcome(lambda data: canonical(schema, data), data)


def outcome(form: Any, data: Any) -> Any:
    """What a form makes of *data*, to the letter, or why it refuses it, in any order."""
    try:
        return repr(form(data))
    except DataRefused as error:
        return error.errors
