"""Claiming: a due delivery becomes that of one worker, under a fence and for the length of a lease.

    due ──claim──▶ running

``claim`` is the fence, a number drawn anew for each claim: every later change of the row asks for it. ``due_at`` is the earliest
moment at which anyone may take the row, for whatever reason.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from eventbus.event import Event
from eventbus.storage.database import Connection
from eventbus.storage.event_log import event_from
from eventbus.storage.values import as_uuid

# A row whose committed start outlived its lease has died in its handler. It keeps started_at while it is taken, so that its
# death is charged by the next one if this one dies too; and it keeps rerun, for what it was replayed for has not run yet.
_TAKE = """
, taken AS (
    UPDATE eventbus.delivery AS d
    SET state = 'running', claim = :claim, due_at = clock_timestamp() + CAST(:lease AS interval), worker = :worker,
        task_id = :task_id, suspect = d.suspect OR d.state = 'running', rerun = d.rerun AND due.died,
        started_at = CASE WHEN due.died THEN d.started_at END
    FROM due WHERE d.event_id = due.event_id AND d.group_name = :group
    RETURNING d.event_id, d.group_name, d.subscription_id, d.attempts, d.deaths, d.suspect, d.replay_id, d.claim, due.died
)
SELECT taken.*, e.id, e.type, e.version, e.source, CAST(e.data AS text) AS data, CAST(e.metadata AS text) AS metadata, e.created_at
FROM taken JOIN eventbus.event_log AS e ON e.id = taken.event_id
ORDER BY taken.event_id
"""
_NOT_PAUSED = "NOT EXISTS (SELECT FROM eventbus.consumer_group AS g WHERE g.name = :group AND g.paused)"
# Asks for the state, where "finished_at IS NULL" would say the same: that would let the planner take the index of open rows,
# and on a table without statistics it does, reading the whole backlog for one row that the primary key knows.
CLAIM_NAMED = f"""
WITH due AS (
    SELECT d.event_id, d.started_at IS NOT NULL AS died FROM eventbus.delivery AS d
    WHERE d.event_id = CAST(:event_id AS uuid) AND d.group_name = :group
    AND d.subscription_id = ANY (CAST(:subscriptions AS bigint[])) AND d.state IN ('pending', 'running', 'retrying')
    AND d.due_at <= statement_timestamp() AND {_NOT_PAUSED}
    FOR UPDATE SKIP LOCKED
) {_TAKE}
"""
_DUE = """
FROM eventbus.delivery AS d
WHERE d.group_name = :group AND d.subscription_id = s.id AND d.finished_at IS NULL AND d.state <> 'parked'
AND d.due_at <= statement_timestamp()
ORDER BY d.due_at
"""
# One subscription after the other, beginning with the one whose oldest row is the oldest of all: each is read in the order of
# its index, so the cost does not grow with the backlog. No Sort lies above the locks, so not one row more is locked than taken:
# another worker would pass it over.
CLAIM_OLDEST = f"""
WITH due AS (
    SELECT oldest.event_id, oldest.died FROM (
        SELECT s.id FROM unnest(CAST(:subscriptions AS bigint[])) AS s (id)
        CROSS JOIN LATERAL (SELECT d.due_at {_DUE} LIMIT 1) AS first
        WHERE {_NOT_PAUSED} ORDER BY first.due_at
    ) AS s
    CROSS JOIN LATERAL (
        SELECT d.event_id, d.started_at IS NOT NULL AS died {_DUE} LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS oldest
    LIMIT :limit
) {_TAKE}
"""
COMMIT_START = """
UPDATE eventbus.delivery SET started_at = clock_timestamp(), due_at = clock_timestamp() + CAST(:lease AS interval)
WHERE event_id = CAST(:event_id AS uuid) AND group_name = :group AND claim = :claim AND state = 'running'
"""


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A delivery that this process holds, until its lease ends."""

    event: Event
    group: str
    subscription_id: int
    #: The fence.
    claim: int
    attempts: int
    deaths: int
    suspect: bool
    replay_id: UUID | None
    #: Its last run died after its start was committed: to be charged, not run.
    died: bool = False

    @property
    def runs_alone(self) -> bool:
        """Whether its process may die of it: its start is committed before its handler is called."""
        return self.suspect or self.deaths > 0


@dataclass(frozen=True, kw_only=True)
class Claimant:
    """Who claims, and for how long."""

    worker: str
    task_id: str | None
    lease: timedelta


def claim_named(
    connection: Connection, event_id: UUID, *, group: str, subscriptions: Sequence[int], claimant: Claimant
) -> Claimed | None:
    """Take the delivery of *event_id* to *group* if it is due and of one of *subscriptions*."""
    row = connection.row(
        CLAIM_NAMED, event_id=str(event_id), group=group, subscriptions=list(subscriptions), **_marks(claimant)
    )
    return None if row is None else _claimed(row)


def claim_oldest(
    connection: Connection, *, group: str, subscriptions: Sequence[int], claimant: Claimant, limit: int
) -> list[Claimed]:
    """Take up to *limit* due deliveries of *group*; returned in the order of their events.

    The subscription with the oldest due one comes first, and of each the oldest due ones.
    A paused group has none. Rows that others are claiming at this moment are passed over.
    """
    rows = connection.rows(
        CLAIM_OLDEST, group=group, subscriptions=list(subscriptions), limit=limit, **_marks(claimant)
    )
    return [_claimed(row) for row in rows]


def commit_start(connection: Connection, claimed: Claimed, *, lease: timedelta) -> bool:
    """State that the handler of *claimed* is about to run, renewing its lease; False if the claim is lost."""
    return (
        connection.change(
            COMMIT_START, lease=lease, event_id=str(claimed.event.id), group=claimed.group, claim=claimed.claim
        )
        == 1
    )


def _marks(claimant: Claimant) -> dict[str, Any]:
    return {
        "claim": _draw_claim(),
        "lease": claimant.lease,
        "worker": claimant.worker,
        "task_id": claimant.task_id,
    }


def _draw_claim() -> int:
    return secrets.randbits(63)


def _claimed(row: Row[Any]) -> Claimed:
    return Claimed(
        event=event_from(row),
        group=row.group_name,
        subscription_id=row.subscription_id,
        claim=row.claim,
        attempts=row.attempts,
        deaths=row.deaths,
        suspect=row.suspect,
        replay_id=None if row.replay_id is None else as_uuid(row.replay_id),
        died=row.died,
    )
