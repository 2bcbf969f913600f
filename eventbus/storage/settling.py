"""Settling: deliveries change state at the hand of whoever still holds their claim.

    running ──settle──▶ done | retrying | dead
       ├──give back──▶ pending | retrying
       └──renew──▶ running, for the length of another lease

Every change of a running row asks for its claim and its state, so a worker whose lease ran out changes nothing. What changes
several rows locks them in the order of their key, like everything that does, so that no two of them wait for each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from eventbus.event import Event
from eventbus.ids import IdRange
from eventbus.storage.claiming import NEAR, Claimed
from eventbus.storage.database import Connection
from eventbus.storage.preparing import Hot
from eventbus.storage.traffic import COUNT_DONE, COUNT_ONE_DONE
from eventbus.storage.values import as_texts, as_uuid

_MINE = "d.event_id = CAST(:event_id AS uuid) AND d.group_name = :group AND d.claim = :claim AND d.state = 'running'"
# A row that was replayed while it ran is fresh again when that run ends.
_UPDATE_DONE = """
UPDATE eventbus.delivery AS d
SET state = CASE WHEN d.rerun THEN 'pending' ELSE 'done' END,
    finished_at = CASE WHEN d.rerun THEN NULL ELSE clock_timestamp() END,
    attempts = CASE WHEN d.rerun THEN 0 ELSE d.attempts END,
    deaths = CASE WHEN d.rerun THEN 0 ELSE d.deaths END,
    suspect = false, rerun = false, claim = NULL, started_at = NULL,
    last_error = NULL, due_at = clock_timestamp()
"""
_RETURN_ONE = "RETURNING d.state, CAST(:type AS text) AS type, d.group_name, d.finished_at"
MARK_DONE = f"""
WITH done AS (
    {_UPDATE_DONE} WHERE {_MINE}
    {_RETURN_ONE}
), {COUNT_ONE_DONE}
SELECT state FROM done
"""
# The same, in the command that also commits: a claim that is lost, or a row that was replayed, must not be committed by it, and
# only an error ends a command in the middle.
COMMIT_DONE = Hot(f"""
WITH done AS (
    UPDATE eventbus.delivery AS d
    SET state = 'done', finished_at = clock_timestamp(), suspect = false, claim = NULL, started_at = NULL, last_error = NULL,
        due_at = clock_timestamp()
    WHERE {_MINE} AND NOT d.rerun
    {_RETURN_ONE}
), {COUNT_ONE_DONE}
SELECT 1 / count(*) FROM done
""")
# Only a transaction that has written something waits; this message to nobody is the least there is to write.
WAIT_FOR_DISK = "SELECT pg_logical_emit_message(true, 'eventbus', '')"
# By a list of ids no week's table is left out; by a range each is that cannot have any of them.
_LISTED = f"d.group_name = :group AND d.event_id = ANY (CAST(:events AS uuid[])) AND d.event_id {NEAR}"
_IS_HELD = f"d.group_name = :group AND d.event_id = ANY (ARRAY(SELECT held.event_id FROM held)) AND d.event_id {NEAR}"
_HELD = f"""
held AS (
    SELECT d.event_id FROM eventbus.delivery AS d
    WHERE {_LISTED} AND d.claim = :claim AND d.state = 'running'
    ORDER BY d.event_id FOR UPDATE
)
"""
# The commit need not reach the disk: a server that crashes and forgets it repeats the work, no more.
_QUICK = "quick AS (SELECT set_config('synchronous_commit', 'off', true) AS setting)"
MARK_MANY_DONE = Hot(f"""
WITH {_QUICK}, {_HELD}, done AS (
    {_UPDATE_DONE} FROM quick WHERE {_IS_HELD} AND quick.setting = 'off'
    RETURNING d.event_id, d.state, d.group_name, d.finished_at,
              (CAST(:types AS text[]))[array_position(CAST(:events AS uuid[]), d.event_id)] AS type
), {COUNT_DONE}
SELECT event_id, state FROM done
""")
# What becomes due from now on has wake-ups of its own: a slice that hears of nothing more need not look for it.
MARK_ALONE_DONE = Hot(f"""
WITH {_QUICK}, done AS (
    {_UPDATE_DONE} FROM quick WHERE {_MINE} AND quick.setting = 'off'
    {_RETURN_ONE}
), {COUNT_ONE_DONE}
SELECT state, EXISTS (
    SELECT FROM unnest(CAST(:subscriptions AS bigint[])) AS s (id)
    CROSS JOIN (VALUES ('pending'), ('retrying'), ('running')) AS open (state)
    CROSS JOIN LATERAL (
        SELECT FROM eventbus.delivery AS d
        WHERE d.group_name = :group AND d.subscription_id = s.id AND d.state = open.state AND d.finished_at IS NULL
        AND d.event_id {NEAR} AND d.due_at <= statement_timestamp()
        ORDER BY d.due_at LIMIT 1
    ) AS first
) AS is_more_due
FROM done
""")
MARK_RETRYING = f"""
UPDATE eventbus.delivery AS d
SET state = 'retrying', attempts = d.attempts + :attempts, deaths = d.deaths + :deaths, last_error = :error,
    due_at = clock_timestamp() + CAST(:wait AS interval), claim = NULL, started_at = NULL, rerun = false
WHERE {_MINE}
"""
MARK_DEAD = f"""
UPDATE eventbus.delivery AS d
SET state = CASE WHEN d.rerun THEN 'pending' ELSE 'dead' END,
    finished_at = CASE WHEN d.rerun THEN NULL ELSE clock_timestamp() END,
    attempts = CASE WHEN d.rerun THEN 0 ELSE d.attempts + :attempts END,
    deaths = CASE WHEN d.rerun THEN 0 ELSE d.deaths + :deaths END,
    suspect = d.suspect AND NOT d.rerun, rerun = false, claim = NULL, started_at = NULL,
    last_error = :error, due_at = clock_timestamp()
WHERE {_MINE}
RETURNING d.state
"""
# Back to its place in the line: behind the whole backlog it would wait for having been claimed too early.
GIVE_BACK = f"""
WITH {_HELD}
UPDATE eventbus.delivery AS d
SET state = CASE WHEN d.attempts > 0 OR d.deaths > 0 OR d.suspect THEN 'retrying' ELSE 'pending' END,
    due_at = least(clock_timestamp(), eventbus.uuid_time(d.event_id)), claim = NULL, started_at = NULL, rerun = false
WHERE {_IS_HELD}
RETURNING d.event_id
"""
# What a process claimed and had no time to write down before it died. A committed start among it is that of an earlier run, which
# ended in a death that nobody has charged yet: the row stays as it was found, for the next one to find.
GIVE_BACK_CLAIM = """
WITH held AS (
    SELECT d.event_id FROM unnest(CAST(:subscriptions AS bigint[])) AS s (id) JOIN eventbus.delivery AS d
    ON d.group_name = :group AND d.subscription_id = s.id AND d.state = 'running' AND d.finished_at IS NULL
    WHERE d.claim = :claim AND d.event_id <> ALL (CAST(:but AS uuid[]))
    ORDER BY d.event_id FOR UPDATE OF d
)
UPDATE eventbus.delivery AS d
SET state = CASE WHEN d.started_at IS NOT NULL THEN 'running'
                 WHEN d.attempts > 0 OR d.deaths > 0 OR d.suspect THEN 'retrying' ELSE 'pending' END,
    due_at = CASE WHEN d.started_at IS NOT NULL THEN clock_timestamp()
                  ELSE least(clock_timestamp(), eventbus.uuid_time(d.event_id)) END,
    claim = CASE WHEN d.started_at IS NOT NULL THEN d.claim END, rerun = d.rerun AND d.started_at IS NOT NULL
FROM held
WHERE d.event_id = held.event_id AND d.group_name = :group AND d.claim = :claim AND d.state = 'running'
"""
# SKIP LOCKED: a row that is being settled needs no lease, and one that somebody holds locked must not cost the others theirs. An
# expired lease that nobody has taken over is renewed like any other.
RENEW = f"""
WITH {_HELD.rstrip().removesuffix(")")} SKIP LOCKED)
UPDATE eventbus.delivery AS d SET due_at = clock_timestamp() + CAST(:lease AS interval)
WHERE {_IS_HELD}
"""


def mark_done(connection: Connection, claimed: Claimed) -> str | None:
    """Settle *claimed* as handled; its new state, ``pending`` if it was replayed meanwhile; None if the claim is lost."""
    state = connection.value(MARK_DONE, type=claimed.event.type, **_mine(claimed))
    return None if state is None else str(state)


def commit_done(connection: Connection, claimed: Claimed, *, waits: bool) -> bool:
    """Settle *claimed* as handled by the statement that also commits, see `Connection.commit_with`.

    Returns:
        False if it did neither, for any reason; `mark_done` tells the reason.
    """
    return connection.commit_with(COMMIT_DONE, waits=waits, type=claimed.event.type, **_mine(claimed))


def wait_for_disk(connection: Connection) -> None:
    """Return when all that was committed before is on the disk, as far as the server waits for that."""
    connection.value(WAIT_FOR_DISK)


def mark_many_done(connection: Connection, events: Sequence[Event], *, group: str, claim: int) -> Mapping[UUID, str]:
    """Settle the deliveries of *events* to *group* as handled, without waiting for the disk.

    Returns:
        The new state of each whose claim held, as `mark_done` says it; the others are left out.
    """
    rows = connection.rows(
        MARK_MANY_DONE,
        group=group,
        **_listed(event.id for event in events),
        types=[event.type for event in events],
        claim=claim,
    )
    return {as_uuid(row.event_id): str(row.state) for row in rows}


def mark_alone_done(
    connection: Connection, claimed: Claimed, *, subscriptions: Sequence[int], near: IdRange
) -> tuple[str, bool] | None:
    """Settle *claimed* in the same way; its new state, and whether another delivery of these *subscriptions* is due *near*.

    Returns:
        None if the claim is lost.
    """
    row = connection.row(
        MARK_ALONE_DONE,
        type=claimed.event.type,
        subscriptions=list(subscriptions),
        **near._asdict(),
        **_mine(claimed),
    )
    return None if row is None else (str(row.state), bool(row.is_more_due))


def mark_retrying(
    connection: Connection, claimed: Claimed, *, wait: timedelta, error: str, attempts: int, deaths: int
) -> bool:
    """Settle *claimed* as failed and due again after *wait*, charging it; False if the claim is lost."""
    charged = connection.change(
        MARK_RETRYING, wait=wait, error=error, attempts=attempts, deaths=deaths, **_mine(claimed)
    )
    return charged == 1


def mark_dead(connection: Connection, claimed: Claimed, *, error: str, attempts: int, deaths: int) -> str | None:
    """Settle *claimed* as given up; its new state, ``pending`` if it was replayed meanwhile; None if the claim is lost."""
    state = connection.value(MARK_DEAD, error=error, attempts=attempts, deaths=deaths, **_mine(claimed))
    return None if state is None else str(state)


def give_back(connection: Connection, event_ids: Iterable[UUID], *, group: str, claim: int) -> set[UUID]:
    """Return deliveries whose handlers have not started, uncharged; those whose claim held."""
    rows = connection.rows(GIVE_BACK, group=group, claim=claim, **_listed(event_ids))
    return {as_uuid(row.event_id) for row in rows}


def give_back_claim(
    connection: Connection, *, group: str, subscriptions: Sequence[int], claim: int, but: Iterable[UUID]
) -> int:
    """Return all that was taken under *claim*, uncharged, *but* those; how many."""
    return connection.change(
        GIVE_BACK_CLAIM, group=group, subscriptions=list(subscriptions), claim=claim, but=as_texts(but)
    )


def renew(connection: Connection, event_ids: Iterable[UUID], *, group: str, claim: int, lease: timedelta) -> int:
    """Let each claim that still stands last for another *lease* from now; how many there were."""
    return connection.change(RENEW, group=group, claim=claim, lease=lease, **_listed(event_ids))


def _mine(claimed: Claimed) -> dict[str, Any]:
    return {"event_id": str(claimed.event.id), "group": claimed.group, "claim": claimed.claim}


def _listed(event_ids: Iterable[UUID]) -> dict[str, Any]:
    ids = as_texts(event_ids)
    return {"events": ids, **IdRange.of(ids)._asdict()}
