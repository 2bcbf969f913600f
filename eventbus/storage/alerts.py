"""Alerts: what is to be told about causes of dead letters, and what became of it.

    the statement that writes a dead letter ─▶ open ──take──▶ open, due after a lease ─┬─▶ sent
                                                 ▲                                     ├─▶ open, due after a backoff
                                                 └── nothing is due before ────────────┴─▶ given up, expired

Of all workers one sends at a time: while an alert that was taken is not due again, nobody takes any.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc, as_uuid

IS_DUE = """
SELECT EXISTS (SELECT FROM eventbus.alert WHERE ended_at IS NULL)
   AND NOT EXISTS (SELECT FROM eventbus.alert WHERE ended_at IS NULL AND due_at > clock_timestamp())
   AND NOT EXISTS (SELECT FROM eventbus.alert
                   WHERE ended_at > clock_timestamp() - CAST(:pause AS interval) AND result = 'sent')
"""
TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('eventbus.alert'))"
# One whose dead letter somebody has deleted could not be told, and would hold up the others.
EXPIRE = """
UPDATE eventbus.alert AS a SET ended_at = clock_timestamp(), result = 'expired'
WHERE ended_at IS NULL AND (
    created_at < clock_timestamp() - CAST(:kept AS interval)
    OR NOT EXISTS (SELECT FROM eventbus.dead_letter AS l WHERE l.id = a.dead_letter_id)
    OR NOT EXISTS (SELECT FROM eventbus.fingerprint AS f WHERE f.fingerprint = a.fingerprint)
)
"""
TAKE = """
WITH chosen AS (
    SELECT id FROM eventbus.alert WHERE ended_at IS NULL ORDER BY id LIMIT :limit FOR UPDATE
), taken AS (
    UPDATE eventbus.alert AS a SET attempts = a.attempts + 1, due_at = clock_timestamp() + CAST(:lease AS interval)
    FROM chosen WHERE a.id = chosen.id RETURNING a.id, a.kind, a.fingerprint, a.dead_letter_id, a.attempts, a.created_at
)
SELECT taken.id, taken.kind, taken.attempts, taken.created_at, f.fingerprint, f.error_type, f.gist, f.place, f.groups, f.state,
       f.occurrences, f.first_seen_at, f.last_seen_at, l.id AS letter_id, l.event_id, l.type, l.group_name, l.failed_at
FROM taken JOIN eventbus.fingerprint AS f ON f.fingerprint = taken.fingerprint
JOIN eventbus.dead_letter AS l ON l.id = taken.dead_letter_id
ORDER BY taken.id
"""
# Whoever took it later, because this sender was slower than its lease, has a larger number of attempts.
END = """
UPDATE eventbus.alert SET ended_at = clock_timestamp(), result = :result, last_error = :error
WHERE id = ANY (CAST(:ids AS bigint[])) AND ended_at IS NULL
"""
POSTPONE = """
UPDATE eventbus.alert SET due_at = clock_timestamp() + CAST(:wait AS interval), last_error = :error
WHERE id = :id AND attempts = :attempts AND ended_at IS NULL
"""
FORGET = "DELETE FROM eventbus.alert WHERE created_at < clock_timestamp() - CAST(:kept AS interval)"


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A cause that is new or has returned, and the dead letter that showed it."""

    id: int
    #: ``new`` or ``returned``.
    kind: str
    #: How often it was tried to tell, this time included.
    attempts: int
    created_at: datetime
    fingerprint: str
    error_type: str
    gist: str
    place: str
    groups: tuple[str, ...]
    #: Of the fingerprint by now.
    state: str
    occurrences: int
    first_seen_at: datetime
    last_seen_at: datetime
    letter_id: int
    event_id: UUID
    event_type: str
    group: str
    failed_at: datetime


def is_due(connection: Connection, *, pause: timedelta) -> bool:
    """Whether something is to be sent now, and nobody is at it; not for *pause* after something was sent."""
    return bool(connection.value(IS_DUE, pause=pause))


def take(connection: Connection, *, pause: timedelta, lease: timedelta, kept: timedelta, limit: int) -> Sequence[Alert]:
    """Become the one who sends up to *limit* alerts, the oldest, until *lease* has passed; empty if nothing is due.

    Args:
        connection: A transaction; what is taken is the caller's when it has committed.
        kept: What has been open for longer has expired.
    """
    if not connection.value(TRY_LOCK) or not is_due(connection, pause=pause):
        return []
    connection.change(EXPIRE, kept=kept)
    rows = connection.rows(TAKE, lease=lease, limit=limit)
    return [
        Alert(
            id=row.id,
            kind=row.kind,
            attempts=row.attempts,
            created_at=as_utc(row.created_at),
            fingerprint=row.fingerprint,
            error_type=row.error_type,
            gist=row.gist,
            place=row.place,
            groups=tuple(sorted(row.groups)),
            state=row.state,
            occurrences=row.occurrences,
            first_seen_at=as_utc(row.first_seen_at),
            last_seen_at=as_utc(row.last_seen_at),
            letter_id=row.letter_id,
            event_id=as_uuid(row.event_id),
            event_type=row.type,
            group=row.group_name,
            failed_at=as_utc(row.failed_at),
        )
        for row in rows
    ]


def end(connection: Connection, ids: Sequence[int], *, result: str, error: str | None = None) -> None:
    """State that alerts were ``sent`` or ``given up``."""
    connection.change(END, ids=list(ids), result=result, error=error)


def postpone(connection: Connection, alert: Alert, *, wait: timedelta, error: str) -> None:
    """State that *alert* could not be sent, and is to be tried again after *wait*."""
    connection.change(POSTPONE, id=alert.id, attempts=alert.attempts, wait=wait, error=error)


def forget(connection: Connection, *, kept: timedelta) -> int:
    """Delete alerts that are older than *kept*; how many."""
    return connection.change(FORGET, kept=kept)
