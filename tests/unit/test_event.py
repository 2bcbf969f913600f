"""Events and drafts: what an envelope may hold."""

import string
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.delivery import FINAL_STATES, OPEN_STATES, Delivery, Run, State, current_run, running
from eventbus.errors import InvalidEvent, InvalidEventType, InvalidInput
from eventbus.event import Draft, Event, check_draft, check_type, encode_data

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def event(**metadata: Any) -> Event:
    """An event with that metadata."""
    return Event(
        id=uuid4(), type="order.created", version=1, source="orders", data={"a": 1}, metadata=metadata, created_at=NOW
    )


WORDS = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=20)


@given(st.lists(WORDS, min_size=1, max_size=8).map(".".join))
def test_one_to_eight_words_are_a_type(value: str) -> None:
    """Every type in the documented form is accepted."""
    assert check_type(value) == value


@pytest.mark.parametrize(
    "value", [None, 1, "", ".", "a..b", "a.", "a b", "order.*", "#", "ä", "a\n", "a" * 201, ".".join("abcdefghi")]
)
def test_anything_else_is_no_type(value: object) -> None:
    """A malformed type is refused before anything is recorded."""
    with pytest.raises(InvalidEventType):
        check_type(value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"version": 2**31 - 1},
        {"correlation_id": "story 1"},
        {"headers": {}},
        {"headers": MappingProxyType({"trace": "ü"})},
        {"source": "x" * 200},
    ],
)
def test_a_complete_draft_is_accepted(options: dict[str, Any]) -> None:
    """Source is all that is needed beside type and data."""
    check_draft(Draft(**{"type": "order.created", "data": 1, "source": "orders", **options}))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"type": "order created"}, "not an event type"),
        ({"source": ""}, "source='' is empty"),
        ({"source": " "}, "is empty"),
        ({"source": None}, "is not a string"),
        ({"source": "x" * 201}, "longer than 200"),
        ({"source": "a\x00"}, "cannot be printed"),
        ({"source": "\ud800"}, "cannot be printed"),
        ({"version": 0}, "version=0"),
        ({"version": "1"}, "version='1'"),
        ({"version": True}, "version=True"),
        ({"version": 2**31}, "give a whole number"),
        ({"correlation_id": ""}, "correlation_id='' is empty"),
        ({"correlation_id": 7}, "correlation_id=7 is not a string"),
        ({"headers": [("a", "b")]}, "is not a mapping"),
        ({"headers": {"a": 1}}, "not a pair of strings"),
        ({"headers": {1: "a"}}, "not a pair of strings"),
        ({"headers": {"a": "\x00"}}, r"\\u0000"),
        ({"headers": {"\ud800": "a"}}, "lone surrogate"),
    ],
)
def test_a_malformed_envelope_is_refused_with_one_sentence(options: dict[str, Any], reason: str) -> None:
    """Nothing that PostgreSQL or a log could not bear gets past the check."""
    with pytest.raises(InvalidInput, match=reason) as caught:
        check_draft(Draft(**{"type": "order.created", "data": 1, "source": "orders", **options}))

    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_data_that_is_not_json_is_an_invalid_event_naming_each_path() -> None:
    """The error says of which type, and keeps paths and sentences as facts."""
    with pytest.raises(InvalidEvent) as caught:
        encode_data("order.created", {"a": float("nan"), "b\x00\ud800": 1})

    assert caught.value.type == "order.created"
    assert list(caught.value.errors) == ["a", "data: key"]
    assert len(caught.value.errors["data: key"]) == 2


def test_an_event_answers_for_its_metadata() -> None:
    """Users need not know how metadata is laid out."""
    cause = uuid4()
    full = event(correlation_id="c", causation_id=str(cause), headers={"a": "b"})
    bare = event(correlation_id="c", causation_id=None)

    assert (full.correlation_id, full.causation_id, full.headers) == ("c", cause, {"a": "b"})
    assert (bare.causation_id, bare.headers) == (None, {})
    assert bare.timestamp == NOW


def test_an_event_as_json_holds_json_values_only() -> None:
    """What goes to the real-time channel can be written as it is."""
    shown = event(correlation_id="c").as_json()

    assert shown["created_at"] == "2026-05-01T12:00:00+00:00"
    assert UUID(shown["id"])
    assert encode_data("x", shown)[1] == shown


def test_every_state_is_either_open_or_final() -> None:
    """No delivery is forgotten between the two."""
    assert sorted([*OPEN_STATES, *FINAL_STATES]) == sorted(State)


def test_the_current_run_is_known_inside_the_handler_only() -> None:
    """What is published outside a handler inherits nothing."""
    run = Run(event=event(correlation_id="c"), delivery=Delivery(group="g", attempt=1, replay=None))

    with running(run):
        inside = current_run()

    assert inside is run
    assert current_run() is None
