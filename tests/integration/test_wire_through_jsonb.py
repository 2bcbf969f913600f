"""The wire form through a real jsonb column: what a handler receives is what was published."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from eventbus import EventBus
from eventbus.storage import event_log
from eventbus.wire import canonical
from tests.support.json_values import json_values


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=json_values)
@example(value=1e16)
@example(value=1e22)
@example(value=-0.0)
@example(value=5e-324)
@example(value=1.7976931348623157e308)
@example(value=[123456789012345680.0, 1e22, 1e23, 2**64 - 1, -(2**63)])
@example(value={"b": 1, "a": {"": 2}, "é\u2028": "\x7f\x01"})
def test_arbitrary_json_is_received_as_it_was_published(bus: EventBus, value: Any) -> None:
    """Equal in value to what was given, and equal byte for byte in canonical form to what publish() returned."""
    event = bus.publish("thing.happened", value, source="test", headers={"name": "\x7f é"})

    with bus.database.autocommit() as connection:
        received = event_log.find(connection, event.id)

    assert received == event
    assert received.data == value
    assert canonical(received.data) == canonical(event.data)


@pytest.mark.parametrize("value", [float("nan"), "\x00", "\ud800", {1: 1}, 2**64, object()])
def test_what_postgresql_could_not_store_never_reaches_it(bus: EventBus, value: Any) -> None:
    """The refusal is ours, and names the field."""
    with pytest.raises(ValueError, match=r"thing\.happened was refused: a"):
        bus.publish("thing.happened", {"a": value}, source="test")
