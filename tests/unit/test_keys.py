"""Idempotency keys without a database: what counts as the same fact, and random ids made by hand."""

import itertools
import json
from typing import Any
from uuid import RFC_4122, UUID

from hypothesis import given

from eventbus.ids import draw_pairs, draw_uuid
from eventbus.lifecycle.drafting import digest_of
from eventbus.wire import decode, encode
from tests.support.json_values import json_values


def shuffled(value: Any) -> Any:
    """*value* with the keys of all objects the other way round."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(json_values)
def test_the_order_of_keys_makes_no_other_fact(data: Any) -> None:
    """Equal data has one digest, however it was put together."""
    assert digest_of("order.created", 1, decode(encode(data))) == digest_of(
        "order.created", 1, decode(encode(shuffled(data)))
    )


@given(json_values, json_values)
def test_other_data_has_another_digest(one: Any, other: Any) -> None:
    """Where the wire forms differ in more than the order of keys."""
    same = digest_of("a", 1, decode(encode(one))) == digest_of("a", 1, decode(encode(other)))

    assert same == (repr(ordered(one)) == repr(ordered(other)))


def ordered(value: Any) -> Any:
    """*value* as the wire carries it, with sorted keys."""
    return json.loads(json.dumps(json.loads(encode(value)), sort_keys=True))


def test_type_and_version_belong_to_the_fact() -> None:
    """And none of them can be mistaken for another."""
    facts = [("a.b", 1, b"1"), ("a.b", 2, b"1"), ("a", 1, b"1"), ("a.b", 11, b""), ("a.b", 1, b'"1"')]

    assert len({digest_of(type, version, decode(data or b"0")) for type, version, data in facts}) == len(facts)


def test_a_uuid_drawn_by_hand_is_a_random_one() -> None:
    """Version 4, RFC 4122, never the same."""
    pairs = itertools.islice(draw_pairs(), 200)
    drawn = [UUID(each) for each in (*(draw_uuid() for _ in range(100)), *itertools.chain(*pairs))]

    assert {(each.version, each.variant) for each in drawn} == {(4, RFC_4122)}
    assert len(set(drawn)) == 500
    assert {f"{each.int:0128b}"[64:66] for each in drawn} == {"10"}
    for bit in (*range(48), *range(52, 64), *range(66, 128)):
        assert {f"{each.int:0128b}"[bit] for each in drawn} == {"0", "1"}
