"""Latecomers: transactions that may publish, or have published, without having seen a group's subscription, and are still open.

    T publishes ─▶ the group subscribes ─▶ a replay passes the event, unseen ─▶ T commits: nobody owes the event to the group

A publish owes its event to the groups that its own snapshot sees. So a replay that gives a new group its history has to look
again when all transactions have ended that held a snapshot or had written before the subscription was committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc, as_uuid

#: Who holds a transaction, in words: of a row of pg_stat_activity, and of pg_prepared_xacts.
BACKEND = (
    "'backend ' || pid || ' of ' || COALESCE(NULLIF(application_name, ''), usename, 'unknown') || ' (' "
    "|| COALESCE(state, 'unknown') || ')'"
)
PREPARED = "'prepared transaction ' || gid"
# A transaction that has neither a number nor a snapshot takes one at its next statement, and sees the subscription then. Whoever
# may not see since when another role's transaction is open takes it for a day old; when a prepared one was begun nobody can tell.
# Each transaction has a lock on a number of its own, by which it is told from the next one of its backend.
OPEN = f"""
SELECT open.began, open.holder, open.key, open.is_prepared
FROM (
    SELECT LEAST(COALESCE(CAST(:planned AS timestamptz), clock_timestamp()), CAST(:until AS timestamptz),
                 max(CASE WHEN visible_at >= created_at THEN visible_at ELSE 'infinity' END)) AS until
    FROM eventbus.subscription WHERE id = ANY (CAST(:subscriptions AS bigint[]))
) AS subscribed CROSS JOIN (
    SELECT COALESCE(xact_start, clock_timestamp() - interval '1 day') AS began, {BACKEND} AS holder,
           pid || ' ' || COALESCE(own.virtualxid, '') AS key, false AS is_prepared
    FROM pg_stat_activity AS a LEFT JOIN LATERAL (
        SELECT l.virtualxid FROM pg_locks AS l
        WHERE l.pid = a.pid AND l.locktype = 'virtualxid' AND l.virtualxid = l.virtualtransaction
    ) AS own ON true
    WHERE datname = current_database() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
    AND COALESCE(backend_type, '') NOT IN ('parallel worker', 'autovacuum worker', 'walsender')
    UNION ALL
    SELECT prepared - interval '1 hour', {PREPARED}, 'prepared ' || transaction, true FROM pg_prepared_xacts
    WHERE database = current_database()
) AS open
WHERE open.began < subscribed.until ORDER BY open.began
"""
FLOOR = "SELECT eventbus.uuid_floor(CAST(:moment AS timestamptz))"


@dataclass(frozen=True, kw_only=True)
class Latecomer:
    """An open transaction that is older than a subscription."""

    #: At the latest.
    began: datetime
    #: Who holds it.
    holder: str
    #: Tells it from others, those of the same backend too.
    key: str
    #: No backend has it any more.
    is_prepared: bool


def list_open(
    connection: Connection,
    subscriptions: Sequence[int],
    *,
    until: datetime | None = None,
    planned: datetime | None = None,
) -> list[Latecomer]:
    """The transactions that may not have seen the newest of *subscriptions*, the oldest first.

    Args:
        until: What is recorded since then does not matter.
        planned: Who began after that has seen them; None: who begins from now on.
    """
    rows = connection.rows(OPEN, subscriptions=list(subscriptions), until=until, planned=planned)
    return [
        Latecomer(began=as_utc(row.began), holder=row.holder, key=row.key, is_prepared=row.is_prepared) for row in rows
    ]


def still_open(watched: Sequence[Latecomer], listed: Sequence[Latecomer]) -> list[Latecomer]:
    """Those of *listed* that were *watched*: under another key, if they were prepared meanwhile.

    Which of the prepared ones a backend has left behind nobody can tell, so where one is gone it may be any of them.
    """
    keys = {item.key for item in listed}
    has_left = any(item.key not in keys for item in watched if not item.is_prepared)
    known = {item.key for item in watched}
    return [item for item in listed if item.key in known or (has_left and item.is_prepared)]


def first_id(connection: Connection, moment: datetime) -> UUID:
    """No event that was recorded since *moment* has a smaller id."""
    return as_uuid(connection.value(FLOOR, moment=moment))
