"""Claiming: due deliveries become those of one process, under a fence and for the length of a lease.

    pending ──claim_fresh──▶ running      many at once: none of them was ever tried
    retrying, lease ended ──claim_tried──▶ running      one at a time: it may fail again, or kill its process again

``claim`` is the fence, a number drawn anew for each claim: every later change of the row asks for it. ``due_at`` is the earliest
moment at which anyone may take the row, for whatever reason.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from eventbus.event import Event
from eventbus.ids import EVERYWHERE, IdRange
from eventbus.storage.database import Connection
from eventbus.storage.event_log import event_of
from eventbus.storage.preparing import Hot
from eventbus.storage.values import as_uuid

_EVENT = "e.id, e.type, e.version, e.source, CAST(e.data AS text) AS data, CAST(e.metadata AS text) AS metadata, e.created_at"
# A row whose committed start outlived its lease has died in its handler. It keeps started_at while it is taken, so that its
# death is charged by the next one if this one dies too; and it keeps rerun, for what it was replayed for has not run yet.
_TAKE = """
, taken AS (
    UPDATE eventbus.delivery AS d
    SET state = 'running', claim = :claim, due_at = clock_timestamp() + CAST(:lease AS interval), worker = :worker,
        task_id = :task_id, suspect = d.suspect OR d.state = 'running', rerun = d.rerun AND d.started_at IS NOT NULL
    WHERE d.event_id = ANY (ARRAY(SELECT due.event_id FROM due)) AND d.group_name = :group AND d.event_id {near}
    RETURNING d.event_id, d.subscription_id, d.attempts, d.deaths, d.suspect, d.replay_id, d.started_at IS NOT NULL AS died
)
SELECT e.*, taken.subscription_id, taken.attempts, taken.deaths, taken.suspect, taken.replay_id, taken.died
FROM taken CROSS JOIN LATERAL (
    SELECT {event} FROM eventbus.event_log AS e WHERE e.id = taken.event_id AND e.id {near} LIMIT 1
) AS e{order}
"""
# What is said of ids beside says which weeks' tables may have them: a plan that was made for any id would else open them all. It
# must not be what a join goes by, so there is no join: one event at a time, or all by a list.
NEAR = "BETWEEN CAST(:first AS uuid) AND CAST(:last AS uuid)"
_TAKE_MANY = _TAKE.format(event=_EVENT, near=NEAR, order="\nORDER BY taken.event_id")
_TAKE_NAMED = _TAKE.format(event=_EVENT, near="= CAST(:event_id AS uuid)", order="")
# Comes first, so that it is in what pg_stat_activity shows of a long statement: a claimer that lost its answer looks for it there.
_FENCE = "fence AS (SELECT CAST(:claim AS bigint))"
_NOT_PAUSED = "NOT EXISTS (SELECT FROM eventbus.consumer_group AS g WHERE g.name = :group AND g.paused)"
# A suspect may take its process along: whoever may not run one now passes over all that could be.
_ALLOWED = "(CAST(:suspects AS boolean) OR (d.state <> 'running' AND NOT d.suspect AND d.deaths = 0))"
# Asks for the state, where "finished_at IS NULL" would say the same: that would let the planner take the index of open rows,
# and on a table without statistics it does, reading the whole backlog for one row that the primary key knows.
CLAIM_NAMED = Hot(f"""
WITH {_FENCE}, due AS (
    SELECT d.event_id FROM eventbus.delivery AS d
    WHERE d.event_id = CAST(:event_id AS uuid) AND d.group_name = :group
    AND d.subscription_id = ANY (CAST(:subscriptions AS bigint[])) AND d.state IN ('pending', 'running', 'retrying')
    AND d.due_at <= statement_timestamp() AND {_ALLOWED} AND {_NOT_PAUSED}
    FOR UPDATE SKIP LOCKED
) {_TAKE_NAMED}
""")


def _oldest(states: str, condition: str) -> str:
    """The text of a claim of the oldest due rows in *states* that satisfy *condition*.

    One subscription and state after the other, beginning with the one whose oldest row is the oldest of all: each is read in
    the order of its index, so the cost does not grow with the backlog. No Sort lies above the locks, so not one row more is
    locked than taken: another worker would pass it over.
    """
    due = f"""
    FROM eventbus.delivery AS d
    WHERE d.group_name = :group AND d.subscription_id = s.id AND d.state = s.state AND d.finished_at IS NULL
    AND d.event_id {NEAR} AND d.due_at <= statement_timestamp() AND {condition}
    ORDER BY d.due_at
    """
    return f"""
WITH {_FENCE}, due AS (
    SELECT oldest.event_id FROM (
        SELECT s.id, s.state
        FROM (SELECT ids.id, open.state FROM unnest(CAST(:subscriptions AS bigint[])) AS ids (id)
              CROSS JOIN (VALUES {states}) AS open (state)) AS s
        CROSS JOIN LATERAL (SELECT d.due_at {due} LIMIT 1) AS first
        WHERE {_NOT_PAUSED} ORDER BY first.due_at
    ) AS s
    CROSS JOIN LATERAL (
        SELECT d.event_id {due} LIMIT :limit FOR UPDATE SKIP LOCKED
    ) AS oldest
    LIMIT :limit
) {_TAKE_MANY}
"""


CLAIM_FRESH = Hot(_oldest("('pending')", "true"))
CLAIM_TRIED = Hot(_oldest("('retrying'), ('running')", _ALLOWED))
COMMIT_START = """
UPDATE eventbus.delivery SET started_at = clock_timestamp(), due_at = clock_timestamp() + CAST(:lease AS interval)
WHERE event_id = CAST(:event_id AS uuid) AND group_name = :group AND claim = :claim AND state = 'running'
"""
# Only reads: what a dead process held, to be settled under the claim that it had.
FIND_HELD = f"""
SELECT {_EVENT}, d.subscription_id, d.attempts, d.deaths, d.suspect, d.replay_id, false AS died
FROM eventbus.delivery AS d JOIN eventbus.event_log AS e ON e.id = d.event_id
WHERE d.event_id = CAST(:event_id AS uuid) AND d.group_name = :group AND d.claim = :claim AND d.state = 'running'
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

    def of(self, event: Event) -> "Claimed":
        """The same delivery, whose event is read as *event*; takes a sixth of the time of `dataclasses.replace`."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, event=event)
        return other

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
    #: The fence of what is claimed; drawn beforehand, so that it can be noted before the claim is made.
    claim: int = field(default_factory=lambda: secrets.randbits(63))
    #: Whether rows that may kill their process may be claimed now.
    suspects: bool = True


def claim_named(
    connection: Connection, event_id: UUID, *, group: str, subscriptions: Sequence[int], claimant: Claimant
) -> Claimed | None:
    """Take the delivery of *event_id* to *group* if it is due and of one of *subscriptions*."""
    row = connection.row(
        CLAIM_NAMED,
        event_id=str(event_id),
        group=group,
        subscriptions=list(subscriptions),
        suspects=claimant.suspects,
        **_marks(claimant),
    )
    return None if row is None else _claimed(row, group, claimant.claim)


def claim_fresh(
    connection: Connection,
    *,
    group: str,
    subscriptions: Sequence[int],
    claimant: Claimant,
    limit: int,
    near: IdRange = EVERYWHERE,
) -> list[Claimed]:
    """Take up to *limit* due deliveries of *group* that were never tried; returned in the order of their events.

    Those of events *near* only: what that costs does not grow with the weeks that the log is old.

    The subscription with the oldest due one comes first, and of each the oldest due ones.
    A paused group has none. Rows that others are claiming at this moment are passed over.
    """
    rows = connection.rows(
        CLAIM_FRESH,
        group=group,
        subscriptions=list(subscriptions),
        limit=limit,
        **near._asdict(),
        **_marks(claimant),
    )
    return [_claimed(row, group, claimant.claim) for row in rows]


def claim_tried(
    connection: Connection, *, group: str, subscriptions: Sequence[int], claimant: Claimant, near: IdRange = EVERYWHERE
) -> Claimed | None:
    """Take the oldest due delivery of *group* that was tried before: one whose backoff or whose holder's lease has ended.

    Of those of events *near*, as in `claim_fresh`.

    A paused group has none. Rows that others are claiming at this moment are passed over.
    """
    row = connection.row(
        CLAIM_TRIED,
        group=group,
        subscriptions=list(subscriptions),
        limit=1,
        suspects=claimant.suspects,
        **near._asdict(),
        **_marks(claimant),
    )
    return None if row is None else _claimed(row, group, claimant.claim)


def find_held(connection: Connection, event_id: UUID, *, group: str, claim: int) -> Claimed | None:
    """The delivery that was claimed under *claim*, if that still holds."""
    row = connection.row(FIND_HELD, event_id=str(event_id), group=group, claim=claim)
    return None if row is None else _claimed(row, group, claim)


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
        "claim": claimant.claim,
        "lease": claimant.lease,
        "worker": claimant.worker,
        "task_id": claimant.task_id,
    }


def _claimed(row: Row[Any], group: str, claim: int) -> Claimed:
    """What *row*, which has the columns of `_EVENT` and those of the delivery, is to its claimant."""
    values: tuple[Any, ...] = tuple(row)
    *event, subscription_id, attempts, deaths, suspect, replay_id, died = values
    # A third of the time of the constructor, which sets each by itself; a worker does this for each delivery.
    claimed = object.__new__(Claimed)
    claimed.__dict__.update(
        event=event_of(event),
        group=group,
        subscription_id=subscription_id,
        claim=claim,
        attempts=attempts,
        deaths=deaths,
        suspect=suspect,
        replay_id=None if replay_id is None else as_uuid(replay_id),
        died=died,
    )
    return claimed
