"""One event, looked at from all sides: what failed of it, in each version, in the tree of its story."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from eventbus import Event, EventBus
from eventbus.lifecycle.causality import in_causal_order
from eventbus.lifecycle.rendering import Rendering
from tests.integration.conftest import MakeBus
from tests.integration.registry.conftest import OrderV1, OrderV2, OrderV3, old_and_new
from tests.support.rows import Rows

TYPE = "order.created"
ORDER: dict[str, Any] = {"orderId": "o-1", "amount": 5}


def test_an_event_is_shown_with_what_failed_of_it(bus: EventBus, rows: Rows) -> None:
    """The failed runs of all groups, newest first, and each group's newest dead letter."""
    for group in "ab":
        bus.subscribe("#", group=group, handler=lambda event: None)
    bus.sync()
    event = bus.publish(TYPE, {}, source="tests")
    other = bus.publish(TYPE, {}, source="tests")
    for status, resolved in (("retried", "now()"), ("open", "NULL")):
        rows.all(
            "INSERT INTO eventbus.dead_letter (event_id, group_name, type, attempts, deaths, error_type, error_message, traceback, "
            f"fingerprint, status, resolved_at) VALUES (%s, 'a', %s, 1, 0, 'E', 'm', 't', 'f', '{status}', {resolved})",
            str(event.id),
            TYPE,
        )
    for id, group, number, letter in ((event.id, "a", 1, 1), (other.id, "a", 1, None), (event.id, "b", 1, None)):
        rows.all(
            "INSERT INTO eventbus.attempt (event_id, group_name, kind, number, error_type, error_message, worker, dead_letter_id) "
            "VALUES (%s, %s, 'error', %s, 'ValueError', 'no', 'w', %s)",
            str(id),
            group,
            number,
            letter,
        )

    details = bus.event_details(event.id)

    assert [(item.group, item.error_type, item.dead_letter_id) for item in details.failings] == [
        ("b", "ValueError", None),
        ("a", "ValueError", 1),
    ]
    assert [(item.group, item.id, item.status) for item in details.letters] == [("a", 2, "open")]
    assert [item.event_id for item in bus.standings([other.id, event.id])] == [event.id] * 2 + [other.id] * 2
    assert bus.standings([]) == []


def test_an_event_is_shown_in_each_version(bus: EventBus) -> None:
    """As published, and as steps make it; what a step loses is said."""
    old_and_new(bus)
    first = bus.publish(TYPE, ORDER, source="tests", version=1)
    second = bus.publish(TYPE, {**ORDER, "currency": "CHF"}, source="tests", version=2)

    assert bus.event_versions(first) == [
        Rendering(version=1, is_stored=True, data=ORDER),
        Rendering(version=2, is_stored=False, data={**ORDER, "currency": "EUR"}),
    ]
    assert bus.event_versions(second)[0] == Rendering(version=1, is_stored=False, data=ORDER, lossy=("currency",))


def test_a_version_that_cannot_be_had_says_why(bus: EventBus) -> None:
    """A missing step, and one that raises, are sentences; an unknown type has the version it was published in."""
    bus.register_schema(TYPE, 1, OrderV1)
    bus.register_schema(TYPE, 2, OrderV2)
    bus.register_schema(TYPE, 3, OrderV3, compatibility="NONE")
    event = bus.publish(TYPE, ORDER, source="tests", version=1)
    plain = bus.publish("user.seen", {}, source="tests")
    _, second, third = bus.event_versions(event)
    assert (second.data, second.reason) == (ORDER, None)
    assert third.data is None
    assert "3" in (third.reason or "")

    @bus.upcaster(TYPE, 2, 3)
    def explode(data: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("rate")

    broken = bus.event_versions(event)[2]

    assert broken.data is None
    assert "explode raised KeyError" in (broken.reason or "")
    assert bus.event_versions(plain) == [Rendering(version=1, is_stored=True, data={})]


def test_no_version_shows_what_is_redacted(make_bus: MakeBus) -> None:
    """Nor does a step that would carry it to another field."""
    bus = make_bus(redact="data.orderId,data.secret")
    bus.register_schema(TYPE, 1, OrderV1)
    bus.register_schema(TYPE, 2, OrderV3)

    @bus.upcaster(TYPE, 1, 2)
    def move(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "currency": data["orderId"]}

    bus.downcaster(TYPE, 2, 1)(lambda data: ORDER)
    event = bus.publish(TYPE, {**ORDER, "orderId": "hidden"}, source="tests", version=1)
    shown = bus.event_versions(event)

    assert "hidden" not in repr(shown)
    assert shown[1].data["currency"] == shown[1].data["orderId"] == "[redacted]"


def test_a_story_is_a_tree() -> None:
    """Effects stand below their cause, in order; a cause that is not here hides nothing."""

    def event(number: int, cause: Event | None = None, *, strange: bool = False) -> Event:
        causation = str(cause.id) if cause else str(uuid4()) if strange else None
        metadata = {"correlation_id": "c", "causation_id": causation}
        now = datetime.now(UTC)
        return Event(id=uuid4(), type="t", version=1, source="s", data=number, metadata=metadata, created_at=now)

    root = event(0)
    effect = event(1, root)
    orphan = event(2, strange=True)
    later = event(3, root)
    deepest = event(4, effect)

    found = [(depth, each.data) for depth, each in in_causal_order([root, effect, orphan, later, deepest])]

    assert found == [(0, 0), (1, 1), (2, 4), (1, 3), (0, 2)]
    assert list(in_causal_order([])) == []


def test_no_failure_of_an_event_shows_what_is_redacted(make_bus: MakeBus, rows: Rows) -> None:
    """Handlers write what they got into their errors."""
    bus = make_bus(redact="data.email")
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    event = bus.publish("user.seen", {"email": "ann@example.org"}, source="tests")
    rows.all("UPDATE eventbus.delivery SET last_error = 'no mail for ann@example.org'")
    rows.all(
        "INSERT INTO eventbus.attempt (event_id, group_name, kind, number, error_type, error_message) "
        "VALUES (%s, 'a', 'error', 1, 'ValueError', 'no mail for ann@example.org')",
        str(event.id),
    )

    shown = [bus.event_details(event.id), bus.standings([event.id])]

    assert repr(shown).count("no mail for [redacted]") == 3
    assert "ann@" not in repr(shown)
    assert bus.standings([]) == []
