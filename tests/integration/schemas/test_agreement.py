"""The JSON Schema of a marshmallow schema says what its load says."""

import random

import jsonschema_rs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventbus.errors import InvalidSchema
from eventbus.schemas.canonical import CanonicalForm, canonical
from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.documents import Document
from eventbus.schemas.projection import writer_projection
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
