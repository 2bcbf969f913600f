"""Notices: an event that was PUBLISHed is read back as it was; nothing else passes for one."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from eventbus import Event
from eventbus.notice import MalformedNotice, read_notice, write_notice

EVENT = Event(
    id=UUID("01980000-0000-7000-8000-000000000001"),
    type="order.created",
    version=2,
    source="orders",
    data={"secret": "s3cr3t"},
    metadata={"correlation_id": "c", "causation_id": None, "headers": {}},
    created_at=datetime(2026, 5, 1, 12, 0, 0, 123, tzinfo=UTC),
)


@pytest.mark.parametrize("microsecond", [0, 123, 120_000])
def test_a_notice_says_what_the_event_says_of_itself(microsecond: int) -> None:
    """Ids and times as everywhere else, whoever writes them."""
    event = replace(EVENT, created_at=EVENT.created_at.replace(microsecond=microsecond))

    assert json.loads(write_notice(event, names_only=False)) == event.as_json()
    assert json.loads(write_notice(event, names_only=True)) == {"id": str(event.id), "type": event.type}


def test_a_whole_event_is_read_as_it_was() -> None:
    """Every field survives."""
    assert read_notice(json.dumps(EVENT.as_json()), type="order.created") == EVENT


def test_fields_of_a_later_version_are_passed_over() -> None:
    """Publishers may be newer than listeners."""
    assert read_notice(json.dumps({**EVENT.as_json(), "key": 1}).encode(), type="order.created") == EVENT


def test_a_notice_may_name_its_event_only() -> None:
    """As EVENTBUS_REALTIME=ids has it."""
    text = json.dumps({"id": str(EVENT.id), "type": EVENT.type})

    assert read_notice(text, type="order.created") == EVENT.id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "order.paid"}, "not that of its channel"),
        ({"id": "s3cr3t"}, "no uuid"),
        ({"id": 7}, "no proper 'id'"),
        ({"version": "s3cr3t"}, "no proper 'version'"),
        ({"version": True}, "no proper 'version'"),
        ({"source": None}, "no proper 'source'"),
        ({"metadata": []}, "no proper 'metadata'"),
        ({"created_at": "s3cr3t"}, "created_at is no time"),
        ({"created_at": "2026-05-01T12:00:00"}, "no offset"),
    ],
)
def test_what_is_wrong_is_named_without_the_payload(change: dict[str, Any], reason: str) -> None:
    """The reason goes into a log, where no data belong."""
    with pytest.raises(MalformedNotice, match=reason) as refused:
        read_notice(json.dumps({**EVENT.as_json(), **change}), type="order.created")

    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("text", [b"", b"s3cr3t", b"\xff", b"[]", b"7", b"{}", b'{"id": "7"}', b"null"])
def test_other_texts_are_no_notices(text: bytes) -> None:
    """Whoever may write to Redis may PUBLISH anything."""
    with pytest.raises(MalformedNotice) as refused:
        read_notice(text, type="order.created")

    assert "s3cr3t" not in str(refused.value)


def test_an_event_without_data_is_malformed() -> None:
    """Data may be null, but not missing."""
    body = EVENT.as_json()
    del body["data"]

    with pytest.raises(MalformedNotice, match="no 'data'"):
        read_notice(json.dumps(body), type="order.created")
