"""Locks on the bus's own tables for which others wait: a forgotten ALTER TABLE stops every publish, without an error."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from eventbus.storage.database import Connection
from eventbus.storage.latecomers import BACKEND, PREPARED

# Whoever waits, too, for whatever it be, is not to blame: the last of the chain is. Asks no table of the bus, so it has an answer
# while they have none. A prepared transaction has no process: its number is 0.
BLOCKERS = f"""
WITH RECURSIVE waiting AS MATERIALIZED (
    SELECT l.pid, n.nspname || '.' || c.relname AS relation, clock_timestamp() - l.waitstart AS wait
    FROM pg_locks AS l
    JOIN pg_database AS d ON d.oid = l.database AND d.datname = current_database()
    JOIN pg_class AS c ON c.oid = l.relation
    JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = split_part('eventbus.whatever_schema_this_is', '.', 1)
    WHERE NOT l.granted AND l.locktype = 'relation'
), chain (pid, blocker) AS (
    SELECT w.pid, unnest(pg_blocking_pids(w.pid)) FROM waiting AS w
    UNION
    SELECT c.blocker, unnest(pg_blocking_pids(c.blocker)) FROM chain AS c
), held AS (
    SELECT pid, {BACKEND} AS holder FROM pg_stat_activity
    UNION ALL
    SELECT 0, string_agg({PREPARED}, ' or ') FROM pg_prepared_xacts WHERE database = current_database() HAVING count(*) > 0
)
SELECT COALESCE(held.holder, 'a prepared transaction') AS holder, first.relation AS "table", first.waiters, first.wait
FROM (
    SELECT relation, wait, (SELECT count(DISTINCT pid) FROM waiting) AS waiters FROM waiting ORDER BY wait DESC NULLS LAST LIMIT 1
) AS first
CROSS JOIN (SELECT DISTINCT blocker FROM chain WHERE blocker NOT IN (SELECT pid FROM chain)) AS root
LEFT JOIN held ON held.pid = root.blocker
WHERE first.wait > CAST(:least AS interval)
ORDER BY holder
"""


@dataclass(frozen=True, kw_only=True)
class Blocker:
    """Somebody who waits for nothing, and for whom others wait who want a lock on a table of the bus."""

    holder: str
    #: The table for which the first of them waits.
    table: str
    #: How many wait for such locks, for this one's or behind others who do.
    waiters: int
    #: How long the first of them has waited.
    wait: timedelta


def list_blockers(connection: Connection, *, least: timedelta) -> Sequence[Blocker]:
    """Who lets somebody wait for longer than *least*."""
    return [
        Blocker(holder=row.holder, table=row.table, waiters=row.waiters, wait=row.wait)
        for row in connection.rows(BLOCKERS, least=least)
    ]
