"""Backends: whether the server may still be busy with a statement whose connection was lost.

A backend notices that its client is gone only when it has finished and wants to answer. Until it has ended, nobody can say
what became of its statement.
"""

import time
from datetime import timedelta
from typing import NamedTuple

from eventbus.storage.connection import Connection, Direct

# A backend that began after the attempt is another one under the same number.
END_DIRECT = """
SELECT pg_terminate_backend(pid, :milliseconds) FROM pg_stat_activity
WHERE pid = :pid AND usename = session_user AND datname = current_database()
AND backend_start <= clock_timestamp() - CAST(:age AS interval)
"""
END_BEHIND_PROXY = """
SELECT pg_terminate_backend(pid, :milliseconds) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND usename = session_user AND datname = current_database()
AND state <> 'idle' AND strpos(query, :token) > 0
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
    if connection.value("SELECT pg_backend_pid()") == connection.backend_pid:
        ended = connection.rows(END_DIRECT, pid=attempt.pid, age=attempt.age, milliseconds=_WAIT_MILLISECONDS)
        return all(row[0] for row in ended)
    ended = connection.rows(END_BEHIND_PROXY, token=attempt.token, milliseconds=_WAIT_MILLISECONDS)
    return bool(ended) and all(row[0] for row in ended)


def is_primary(connection: Connection) -> bool:
    """Whether the server takes writes: a standby may not have heard yet of what is committed."""
    return not connection.value("SELECT pg_is_in_recovery()")


def limit_statements(connection: Connection, limit: timedelta) -> None:
    """Let no statement of this transaction take longer than *limit*."""
    milliseconds = f"{round(limit.total_seconds() * 1000)}ms"
    connection.value("SELECT set_config('statement_timeout', :limit, true)", limit=milliseconds)
