"""Latecomers: transactions that may publish, or have published, without having seen a group's subscription, and are still open.

    T publishes ─▶ the group subscribes ─▶ a replay passes the event, unseen ─▶ T commits: nobody owes the event to the group

A publish owes its event to the groups that its own snapshot sees. So a replay that gives a new group its history has to look
again when all transactions have ended that held a snapshot or had written before the subscription was committed.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc, as_uuid

# A transaction that has neither a number nor a snapshot takes one at its next statement, and sees the subscription then. Whoever
# may not see since when another role's transaction is open takes it for a day old; when a prepared one was begun nobody can tell.
OLDEST = """
SELECT open.began, open.holder
FROM (
    SELECT LEAST(COALESCE(CAST(:planned AS timestamptz), clock_timestamp()),
                 max(COALESCE(visible_at, 'infinity'))) AS until
    FROM eventbus.subscription WHERE group_name = :group AND removed_at IS NULL
) AS subscribed CROSS JOIN (
    SELECT COALESCE(xact_start, clock_timestamp() - interval '1 day') AS began,
           'backend ' || pid || ' of ' || COALESCE(NULLIF(application_name, ''), usename, 'unknown') || ' ('
           || COALESCE(state, 'unknown') || ')' AS holder, GREATEST(age(backend_xid), age(backend_xmin)) AS age
    FROM pg_stat_activity
    WHERE datname = current_database() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
    AND COALESCE(backend_type, 'client backend') = 'client backend'
    UNION ALL
    SELECT prepared - interval '1 hour', 'prepared transaction ' || gid, age(transaction) FROM pg_prepared_xacts
    WHERE database = current_database()
) AS open
WHERE open.began < subscribed.until AND (CAST(:horizon AS xid) IS NULL OR open.age >= age(CAST(:horizon AS xid)))
ORDER BY open.began LIMIT 1
"""
# The first number that no transaction has yet.
HORIZON = "SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS xid) AS text)"
FLOOR = "SELECT eventbus.uuid_floor(CAST(:moment AS timestamptz))"


@dataclass(frozen=True, kw_only=True)
class Latecomer:
    """An open transaction that is older than a subscription."""

    #: At the latest.
    began: datetime
    #: Who holds it.
    holder: str


def find_oldest(
    connection: Connection, group: str, *, planned: datetime | None = None, horizon: str | None = None
) -> Latecomer | None:
    """The oldest transaction that may not have seen the newest subscription of *group*; None if all have ended.

    Args:
        planned: Who began after that has seen it; None: who begins from now on.
        horizon: Who has a number or a snapshot since then has seen it; None: nobody is known to.
    """
    row = connection.row(OLDEST, group=group, planned=planned, horizon=horizon)
    return None if row is None else Latecomer(began=as_utc(row.began), holder=row.holder)


def read_horizon(connection: Connection) -> str:
    """What separates the transactions that are open now from those to come."""
    return str(connection.value(HORIZON))


def first_id(connection: Connection, moment: datetime) -> UUID:
    """No event that was recorded since *moment* has a smaller id."""
    return as_uuid(connection.value(FLOOR, moment=moment))
