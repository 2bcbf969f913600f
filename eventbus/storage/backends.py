"""Backends: whether the server may still be busy with a statement whose connection was lost.

A backend notices that its client is gone only when it has finished and wants to answer. Until it has ended, nobody can say
what became of its statement.
"""

import time
from datetime import timedelta
from typing import NamedTuple

from eventbus.storage.connection import Connection, Direct

# A backend that began after the attempt is another one under the same number.
_DIRECT = """
pid = :pid AND usename = session_user AND datname = current_database()
AND backend_start <= clock_timestamp() - CAST(:age AS interval)
"""
_BEHIND_PROXY = """
pid <> pg_backend_pid() AND usename = session_user AND datname = current_database()
AND state <> 'idle' AND strpos(query, :token) > 0
"""
_END = "SELECT pg_terminate_backend(pid, :milliseconds) FROM pg_stat_activity WHERE"
END_DIRECT, END_BEHIND_PROXY = _END + _DIRECT, _END + _BEHIND_PROXY
# All locks at one moment: of two looks the first could see the attempt wait, and the second whoever came after it had committed.
_OBSTACLE = """
WITH locks AS MATERIALIZED (SELECT * FROM pg_locks WHERE locktype = 'relation')
SELECT held.relation, held.virtualtransaction, held.mode, n.nspname || '.' || c.relname
FROM locks AS waited JOIN locks AS held USING (database, relation)
JOIN pg_class AS c ON c.oid = held.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT waited.granted AND held.granted
AND (
    held.mode = 'AccessExclusiveLock'
    OR waited.mode = 'RowExclusiveLock' AND held.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock')
)
AND waited.pid IN (SELECT pid FROM pg_stat_activity WHERE
"""
OBSTACLE_DIRECT, OBSTACLE_BEHIND_PROXY = f"{_OBSTACLE}{_DIRECT}) LIMIT 1", f"{_OBSTACLE}{_BEHIND_PROXY}) LIMIT 1"
STANDS = """
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'relation' AND granted AND relation = :relation AND virtualtransaction = :transaction AND mode = :mode
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
"""
_WAIT_MILLISECONDS = 2000


class Attempt(NamedTuple):
    """A statement that is about to be sent in autocommit."""

    #: Of the backend, as the client was told; a proxy tells numbers of its own.
    pid: int
    #: In the statement's text.
    token: str
    started_seconds: float

    @property
    def age(self) -> timedelta:
        return timedelta(seconds=time.monotonic() - self.started_seconds)


class Obstacle(NamedTuple):
    """A lock that somebody holds, and that lets a statement wait."""

    relation: int
    #: Of the holder.
    transaction: str
    mode: str
    table: str


def begin(connection: Direct, token: str) -> Attempt:
    """Remember where a statement with *token* in its text is about to run. Asks nothing of the server."""
    return Attempt(connection.backend_pid, token, time.monotonic())


def end(connection: Direct, attempt: Attempt) -> bool:
    """End what may still be running of *attempt*, whose connection was lost.

    Args:
        connection: Another one, made the same way.

    Returns:
        Whether nothing of it can happen any more. False if a backend did not end in time, or if a proxy stands in
        between, which may still pass on what it was sent, and no backend was busy with it.
    """
    if _is_direct(connection):
        ended = connection.rows(END_DIRECT, pid=attempt.pid, age=attempt.age, milliseconds=_WAIT_MILLISECONDS)
        return all(row[0] for row in ended)
    ended = connection.rows(END_BEHIND_PROXY, token=attempt.token, milliseconds=_WAIT_MILLISECONDS)
    return bool(ended) and all(row[0] for row in ended)


def find_obstacle(connection: Direct, attempt: Attempt) -> Obstacle | None:
    """The lock on a table that *attempt*, whose connection was lost, is waiting for; None if it waits for none, or has ended."""
    if _is_direct(connection):
        found = connection.values(OBSTACLE_DIRECT, pid=attempt.pid, age=attempt.age)
    else:
        found = connection.values(OBSTACLE_BEHIND_PROXY, token=attempt.token)
    return None if found is None else Obstacle(*found)


def stands(connection: Direct, obstacle: Obstacle) -> bool:
    """Whether *obstacle* is held as before: then what was waiting for it, and has ended since, has done nothing.

    Unless its holder has rolled back to a savepoint and taken it once more in between, which is not seen.
    """
    relation, transaction, mode, _ = obstacle
    return bool(connection.value(STANDS, relation=relation, transaction=transaction, mode=mode))


def _is_direct(connection: Direct) -> bool:
    """Whether no proxy tells numbers of its own."""
    return bool(connection.value("SELECT pg_backend_pid()") == connection.backend_pid)


def is_primary(connection: Connection) -> bool:
    """Whether the server takes writes: a standby may not have heard yet of what is committed."""
    return not connection.value("SELECT pg_is_in_recovery()")


def limit_statements(connection: Connection, limit: timedelta) -> None:
    """Let no statement of this transaction take longer than *limit*."""
    milliseconds = f"{round(limit.total_seconds() * 1000)}ms"
    connection.value("SELECT set_config('statement_timeout', :limit, true)", limit=milliseconds)
