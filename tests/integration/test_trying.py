"""Retrying a few first: the others follow only if these succeed."""

from uuid import UUID

import pytest

from eventbus import EventBus
from eventbus.errors import InvalidInput, TrialNotPassed
from eventbus.lifecycle import trying
from eventbus.storage.overview import causes
from tests.support.rows import Rows

FAILED = """
INSERT INTO eventbus.dead_letter (event_id, group_name, type, attempts, deaths, error_type, error_message, traceback, fingerprint,
                                  status, resolved_at, note, failed_at)
VALUES (%s, 'stock', 'order.created', 1, 0, 'ValueError', 'no', 'tb', %s, %s, %s, 'n', now() - %s::interval) RETURNING id
"""
GONE = UUID(int=7)


@pytest.fixture
def shop(bus: EventBus) -> EventBus:
    """One group that wants everything."""
    bus.subscribe("#", group="stock", handler=lambda event: None)
    bus.sync()
    return bus


def letter(
    shop: EventBus, rows: Rows, *, status: str = "retried", state: str | None = None, cause: str = "f", ago: str = "0 h"
) -> int:
    """A dead letter, and the delivery that it is about in *state*; None for one that is gone."""
    event = GONE if state is None else shop.publish("order.created", {}, source="tests").id
    change = {
        "done": "state = 'done', finished_at = now()",
        "dead": "state = 'dead', finished_at = now()",
        "cancelled": "state = 'cancelled', finished_at = now()",
        "retrying": "state = 'retrying', attempts = 1",
        "parked": "state = 'parked', due_at = 'infinity'",
    }.get(state or "")
    if change:
        rows.all(f"UPDATE eventbus.delivery SET {change} WHERE event_id = %s", str(event))
    resolved = None if status == "open" else "2026-05-01T12:00:00Z"
    return int(rows.value(FAILED, str(event), cause, status, resolved, ago))


@pytest.mark.parametrize(
    ("status", "state", "outcome"),
    [
        ("retried", "done", "succeeded"),
        ("retried", "pending", "waiting"),
        ("retried", "retrying", "waiting"),
        ("retried", "dead", "failed"),
        ("retried", "cancelled", "failed"),
        ("retried", "parked", "failed"),
        ("retried", None, "failed"),
        ("open", "dead", "failed"),
        ("discarded", "cancelled", "failed"),
    ],
)
def test_what_became_of_each_is_known(shop: EventBus, rows: Rows, status: str, state: str | None, outcome: str) -> None:
    """From its delivery, which alone knows whether the handler is content now."""
    id = letter(shop, rows, status=status, state=state)

    trial = trying.look(shop.database, [id, id])

    assert getattr(trial, outcome) == (id,)
    assert len(trial.succeeded + trial.waiting + trial.failed) == 1
    assert trial.is_passed is (outcome == "succeeded")


def test_the_others_follow_only_after_a_success(shop: EventBus, rows: Rows) -> None:
    """One that waits, one that failed and one that nobody knows stand in the way."""
    good, waits, bad = (letter(shop, rows, state=state) for state in ("done", "pending", "dead"))

    trying.require_passed(shop.database, [good])
    for ids, says in (
        ([good, waits], "1 are not done yet"),
        ([waits, bad], "1 failed again"),
        ([good, 4711], "1 failed"),
    ):
        with pytest.raises(TrialNotPassed, match=says):
            trying.require_passed(shop.database, ids)


@pytest.mark.parametrize("ids", [[], range(trying.MOST_TRIED + 1)])
def test_a_trial_is_of_a_few(shop: EventBus, ids: list[int]) -> None:
    """Nobody succeeds by trying nothing."""
    with pytest.raises(InvalidInput, match="a trial is of 1 to 100"):
        trying.require_passed(shop.database, list(ids))


def test_a_trend_counts_each_hour(shop: EventBus, rows: Rows) -> None:
    """The last 24, oldest first; what a clock has put into the future counts as now."""
    for ago in ("0 h", "30 min", "90 min", "23.5 h", "25 h", "-2 h"):
        letter(shop, rows, cause="a", ago=ago)
    letter(shop, rows, cause="b", ago="3.5 h")

    with shop.database.autocommit() as connection:
        trends = causes.read_trends(connection, ["a", "b", "never"])

    assert trends["a"] == [1, *[0] * 21, 1, 3]
    assert trends["b"] == [*[0] * 20, 1, 0, 0, 0]
    assert trends["never"] == [0] * causes.HOURS
