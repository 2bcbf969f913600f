"""Redelivery: the deliveries of one batch of a replay, as if new.

    insert what is missing ─▶ lock the rest, in the order of the key ─▶ change each as it was judged

In that order, each a statement of its own: whoever inserts holds no lock that another inserter waits for, all locks are taken in
one order, and what is judged is read after its lock was granted. So replays, claims, dead-letter retries and cancellations never
wait for each other in a circle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from eventbus.delivery import State
from eventbus.storage.database import Connection
from eventbus.storage.values import as_texts, as_uuid

# Rows of one batch are found by their key, however many lie between them. The planner reckons that to read a partition from end to
# end is cheaper as long as it has less than a hundred rows for each id, and its size is a guess between two looks of autovacuum.
PREFER_INDEXES = "SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)"
# The ids are named twice where a table is joined with them: so they choose its partitions and rows by the primary key.
# Due in the order of the events, and none in the future: a wake-up that comes at once finds them all.
_WANTED = """
(SELECT event_id, subscription_id, opts_out,
        statement_timestamp() - (cardinality(CAST(:ids AS uuid[])) - number) * interval '1 microsecond' AS due_at
 FROM unnest(CAST(:ids AS uuid[]), CAST(:subscriptions AS bigint[]), CAST(:opts_out AS boolean[]))
      WITH ORDINALITY AS listed (event_id, subscription_id, opts_out, number)) AS wanted
"""
INSERT_MISSING = f"""
INSERT INTO eventbus.delivery (event_id, group_name, subscription_id, state, due_at, finished_at, replay_id)
SELECT wanted.event_id, :group, wanted.subscription_id, CASE WHEN wanted.opts_out THEN 'skipped' ELSE 'pending' END, wanted.due_at,
       CASE WHEN wanted.opts_out THEN clock_timestamp() END, CAST(:replay AS uuid)
FROM {_WANTED}
WHERE NOT EXISTS (
    SELECT FROM eventbus.delivery AS d
    WHERE d.event_id = wanted.event_id AND d.group_name = :group AND d.event_id = ANY (CAST(:ids AS uuid[])))
ORDER BY wanted.event_id
ON CONFLICT (event_id, group_name) DO NOTHING
RETURNING event_id
"""
LOCK = """
SELECT event_id, state FROM eventbus.delivery
WHERE group_name = :group AND event_id = ANY (CAST(:ids AS uuid[]))
ORDER BY event_id FOR UPDATE
"""
DISCARDED = """
SELECT DISTINCT event_id FROM eventbus.dead_letter
WHERE group_name = :group AND event_id = ANY (CAST(:ids AS uuid[])) AND status = 'discarded'
"""
# It was consumed then, and stays so.
_DONE_BEFORE = "CASE d.state WHEN 'done' THEN array_append(d.done_before, d.finished_at) ELSE d.done_before END"
RESET = f"""
UPDATE eventbus.delivery AS d
SET state = 'pending', attempts = 0, deaths = 0, suspect = false, finished_at = NULL, last_error = NULL, due_at = wanted.due_at,
    subscription_id = wanted.subscription_id, replay_id = CAST(:replay AS uuid), done_before = {_DONE_BEFORE}
FROM {_WANTED}
WHERE d.event_id = wanted.event_id AND d.group_name = :group AND d.event_id = ANY (CAST(:ids AS uuid[]))
AND d.finished_at IS NOT NULL
"""
# A discarded one says no more what became of its delivery; when and why it was discarded is kept.
RESOLVE_LETTERS = """
UPDATE eventbus.dead_letter SET status = 'retried',
    resolved_at = CASE status WHEN 'open' THEN clock_timestamp() ELSE resolved_at END,
    note = CASE status WHEN 'open' THEN :note ELSE note END
WHERE group_name = :group AND event_id = ANY (CAST(:ids AS uuid[])) AND status IN ('open', 'discarded')
"""
# What waits belongs to the replay from here on; what runs was claimed before, and runs once more afterwards.
STAMP_OPEN = """
UPDATE eventbus.delivery SET replay_id = CAST(:replay AS uuid), rerun = (state = 'running')
WHERE group_name = :group AND event_id = ANY (CAST(:ids AS uuid[])) AND finished_at IS NULL
"""
SKIP = f"""
UPDATE eventbus.delivery AS d
SET state = 'skipped', finished_at = clock_timestamp(), subscription_id = wanted.subscription_id, replay_id = CAST(:replay AS uuid),
    done_before = {_DONE_BEFORE}
FROM {_WANTED}
WHERE d.event_id = wanted.event_id AND d.group_name = :group AND d.event_id = ANY (CAST(:ids AS uuid[]))
AND d.finished_at IS NOT NULL AND d.state <> 'dead'
"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A delivery that a replay is about."""

    event_id: UUID
    #: Of the subscription that is to have it.
    subscription_id: int
    #: That subscription opts out of replays.
    opts_out: bool


def prefer_indexes(connection: Connection) -> None:
    """Let the rest of the transaction read by index, and compile nothing for tables that have no fitting one."""
    connection.row(PREFER_INDEXES)


def insert_missing(connection: Connection, wanted: Sequence[Wanted], *, group: str, replay: UUID) -> set[UUID]:
    """Insert the deliveries that *group* lacks, skipped where their subscription opts out; the ids of their events."""
    rows = connection.rows(INSERT_MISSING, group=group, replay=str(replay), **_columns(wanted))
    return {as_uuid(row.event_id) for row in rows}


def lock_states(connection: Connection, event_ids: Sequence[UUID], *, group: str) -> Mapping[UUID, State]:
    """Lock deliveries until the transaction ends; how each stands now."""
    rows = connection.rows(LOCK, group=group, ids=as_texts(event_ids))
    return {as_uuid(row.event_id): State(row.state) for row in rows}


def find_discarded(connection: Connection, event_ids: Sequence[UUID], *, group: str) -> set[UUID]:
    """Those of the events whose dead letter for *group* was discarded."""
    return {as_uuid(row.event_id) for row in connection.rows(DISCARDED, group=group, ids=as_texts(event_ids))}


def reset(connection: Connection, wanted: Sequence[Wanted], *, group: str, replay: UUID) -> None:
    """Make deliveries that have ended as if new, of their present subscription, resolving their dead letters."""
    connection.change(RESET, group=group, replay=str(replay), **_columns(wanted))
    ids = as_texts(item.event_id for item in wanted)
    connection.change(RESOLVE_LETTERS, group=group, ids=ids, note=f"replay {replay}")


def stamp_open(connection: Connection, event_ids: Sequence[UUID], *, group: str, replay: UUID) -> None:
    """Make open deliveries part of the replay; those that run will run once more."""
    connection.change(STAMP_OPEN, group=group, replay=str(replay), ids=as_texts(event_ids))


def skip(connection: Connection, wanted: Sequence[Wanted], *, group: str, replay: UUID) -> None:
    """Show deliveries that have ended as skipped by the replay; those that are open or dead stay as they are."""
    connection.change(SKIP, group=group, replay=str(replay), **_columns(wanted))


def _columns(wanted: Sequence[Wanted]) -> dict[str, Any]:
    return {
        "ids": as_texts(item.event_id for item in wanted),
        "subscriptions": [item.subscription_id for item in wanted],
        "opts_out": [item.opts_out for item in wanted],
    }
