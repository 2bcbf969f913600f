"""Summaries of groups: what the console says of one, from the figures of a pulse."""

from datetime import UTC, datetime, timedelta

import pytest

from eventbus.console.summaries import GroupSummary
from eventbus.delivery import State
from eventbus.lifecycle.diagnosing import Level
from eventbus.storage.overview.groups import GroupState


def summary(open: dict[State, int], *, handled: int, arrived: int, paused: bool = False) -> GroupSummary:
    """A group that handled and got so many in each minute."""
    group = GroupState(
        name="stock",
        queue="eventbus.stock",
        paused=paused,
        owner=None,
        description=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        due_since=None,
        lag=timedelta(),
    )
    return GroupSummary(
        group=group,
        level=Level.OK,
        open=open,
        dead=0,
        workers=[],
        durations=None,
        arrived=[arrived] * 60,
        handled=[handled] * 60,
        failed=[0] * 60,
    )


@pytest.mark.parametrize(
    ("open", "handled", "arrived", "paused", "drains_in"),
    [
        ({}, 0, 0, False, timedelta()),
        ({State.PENDING: 60}, 20, 10, False, timedelta(minutes=6)),
        ({State.PENDING: 60}, 10, 10, False, None),
        ({State.PENDING: 60}, 20, 10, True, None),
        ({State.PENDING: 50, State.RUNNING: 10, State.RETRYING: 600}, 20, 10, False, timedelta(minutes=6)),
        ({State.RETRYING: 600}, 0, 0, False, timedelta()),
    ],
    ids=["empty", "drains", "stands", "paused", "retries wait for their time", "only retries"],
)
def test_a_backlog_drains_at_the_rate_of_the_last_minutes(
    open: dict[State, int], handled: int, arrived: int, paused: bool, drains_in: timedelta | None
) -> None:
    """Not while its group is paused; what waits for its next try is not drained by working faster."""
    assert summary(open, handled=handled, arrived=arrived, paused=paused).drains_in == drains_in
