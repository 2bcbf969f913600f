"""How PostgreSQL finds what a replay is about: by an index, however large the log, and never by reading all of it."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from eventbus import EventBus
from eventbus.lifecycle.replay_planning import Asked
from eventbus.storage import replay_selection
from tests.integration.conftest import MakeBus
from tests.support.replays import fill_log
from tests.support.rows import Rows
from tests.support.statements import explained

LARGE = 20_000
#: A plan may read a table this small as it likes: partitions of weeks to come are empty.
SMALL = 100


def handle(event: Any) -> None: ...


@pytest.fixture
def shop(make_bus: MakeBus, rows: Rows) -> EventBus:
    """A log of many events, all delivered, with a few that a narrow filter finds; no statement hides behind a prepared one."""
    bus = make_bus(prepare=False)
    bus.subscribe("#", group="shop", handler=handle)
    bus.sync()
    fill_log(rows, LARGE, type="order.created")
    fill_log(rows, 10, type="order.paid", correlation_id="story")
    fill_log(rows, 10, type="invoice.sent", correlation_id="story")
    rows.all(
        "INSERT INTO eventbus.delivery (event_id, group_name, subscription_id, state, due_at, finished_at) "
        "SELECT id, 'shop', (SELECT id FROM eventbus.subscription), 'done', now(), now() FROM eventbus.event_log"
    )
    rows.all("ANALYZE eventbus.event_log, eventbus.delivery")
    return bus


class Explained:
    """The plan of every statement on the log or the deliveries that was sent."""

    def __init__(self) -> None:
        self.scans: list[tuple[str, str, str]] = []
        self.count = 0

    def note(self, statement: str, plan: dict[str, Any]) -> None:
        self.count += 1
        for node in nodes(plan):
            if "Seq Scan" in node["Node Type"] and "Relation Name" in node:
                self.scans.append((node["Relation Name"], statement, json.dumps(plan, indent=1)))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan and all that is below it."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.fixture
def plans(shop: EventBus) -> Iterator[Explained]:
    """Of all that the bus sends while the test runs."""
    found = Explained()
    with explained(shop.database, found.note, about=("eventbus.event_log", "eventbus.delivery")):
        yield found


def test_a_narrow_slice_is_found_without_reading_the_log(shop: EventBus, rows: Rows, plans: Explained) -> None:
    """To count it, to choose its batches, to change its deliveries: no large table is read from end to end."""
    some = [UUID(id) for (id,) in rows.all("SELECT id FROM eventbus.event_log LIMIT 3")]
    narrow: list[tuple[dict[str, Any], int | None]] = [
        ({"pattern": "order.paid"}, 10),
        ({"pattern": "*.sent"}, 10),
        ({"pattern": "order.#", "since": "80s"}, None),
        ({"correlation_id": "story"}, 20),
        ({"pattern": "order.*", "correlation_id": "story"}, 10),
        ({"event_ids": some}, 3),
    ]
    for options, count in narrow:
        before = plans.count

        replay = shop.replay(group="shop", **options)

        assert count is None or replay.count == count
        assert 0 <= replay.count < 500
        assert plans.count - before > 8
    sizes = {name: rows.value(f"SELECT count(*) FROM eventbus.{name}") for name, _, _ in plans.scans}
    assert [item for item in plans.scans if sizes[item[0]] > SMALL] == []


def test_the_next_batch_of_a_large_slice_costs_a_batch(
    shop: EventBus, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merged by type, or in one pass over the ids: the events behind the batch are not read."""
    planned = shop.replaying.plan(Asked(group="shop", pattern="#"))
    half = rows.value("SELECT id FROM eventbus.event_log ORDER BY id OFFSET %s LIMIT 1", LARGE // 2)
    parameters = replay_selection._parameters(planned.selection, after=UUID(half))
    for statement in (replay_selection.NEXT_OF_TYPES, replay_selection.NEXT_OF_MANY_TYPES):
        with shop.database.autocommit() as connection:
            [plan] = connection.value(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", limit=100, **parameters)
        read = sum(
            node["Actual Rows"] * node["Actual Loops"] for node in nodes(plan["Plan"]) if "Relation Name" in node
        )
        assert read <= 400, plan
