"""Locks on the bus's own tables for which others wait: a forgotten ALTER TABLE stops every publish, without an error."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from eventbus.storage.database import Connection
from eventbus.storage.latecomers import BACKEND, PREPARED

# Whoever waits, too, is not to blame: behind a request for a lock that is not granted yet the others queue up. Asks no table of
# the bus, so it has an answer while they have none. A prepared transaction has no process: its number is 0.
BLOCKERS = f"""
WITH waiting AS MATERIALIZED (
    SELECT l.pid, n.nspname || '.' || c.relname AS relation, clock_timestamp() - l.waitstart AS wait
    FROM pg_locks AS l
    JOIN pg_database AS d ON d.oid = l.database AND d.datname = current_database()
    JOIN pg_class AS c ON c.oid = l.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'eventbus'
    WHERE NOT l.granted
), holding AS (
    SELECT DISTINCT unnest(pg_blocking_pids(w.pid)) AS blocker, w.pid AS waiter, w.relation, w.wait FROM waiting AS w
)
SELECT COALESCE(held.holder, 'a prepared transaction') AS holder, min(h.relation) AS "table",
       (SELECT count(DISTINCT pid) FROM waiting) AS waiters, max(h.wait) AS wait
FROM holding AS h
LEFT JOIN (
    SELECT pid, {BACKEND} AS holder FROM pg_stat_activity
    UNION ALL
    SELECT 0, string_agg({PREPARED}, ' or ') FROM pg_prepared_xacts WHERE database = current_database() HAVING count(*) > 0
) AS held ON held.pid = h.blocker
WHERE h.blocker NOT IN (SELECT pid FROM waiting)
GROUP BY 1, h.blocker
HAVING max(h.wait) > CAST(:least AS interval)
ORDER BY max(h.wait) DESC, 1
"""


@dataclass(frozen=True, kw_only=True)
class Blocker:
    """Somebody who holds a lock on a table of the bus, or waits for nothing and lets others wait."""

    holder: str
    #: One of the tables.
    table: str
    #: How many wait for such locks, for this one or behind others who do.
    waiters: int
    #: How long the first of them has waited.
    wait: timedelta


def list_blockers(connection: Connection, *, least: timedelta) -> Sequence[Blocker]:
    """Who holds up somebody for longer than *least*, the longest first."""
    return [
        Blocker(holder=row.holder, table=row.table, waiters=row.waiters, wait=row.wait)
        for row in connection.rows(BLOCKERS, least=least)
    ]
