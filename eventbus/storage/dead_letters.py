"""Dead letters and the attempts that led to them. One is open exactly while its delivery is dead.

Whoever resolves one does so WHERE status = 'open': of two operators, one succeeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from eventbus.failure import Failure
from eventbus.storage import fingerprints
from eventbus.storage.claiming import Claimed
from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc, as_uuid

# The fingerprint's row is locked before the letter gets its id: so letters of one cause commit in the order of their ids.
OPEN = f"""
WITH {fingerprints.COUNT_OCCURRENCE}, letter AS (
    INSERT INTO eventbus.dead_letter
        (event_id, group_name, type, attempts, deaths, error_type, error_message, traceback, fingerprint)
    SELECT CAST(:event_id AS uuid), :group, :type, :attempts, :deaths, :error_type, :message, :traceback, occurred.fingerprint
    FROM occurred
    RETURNING id
), {fingerprints.WRITE_ALERT}, tried AS (
    UPDATE eventbus.attempt SET dead_letter_id = (SELECT id FROM letter)
    WHERE id IN (SELECT id FROM eventbus.attempt WHERE event_id = CAST(:event_id AS uuid) AND group_name = :group
                 ORDER BY id DESC LIMIT :runs)
)
SELECT id FROM letter
"""
_COLUMNS = """
l.id, l.event_id, l.group_name, l.type, l.attempts, l.deaths, l.error_type, l.error_message, l.traceback, l.fingerprint,
l.failed_at, l.status, l.resolved_at, l.note
"""
_FILTER = """
(CAST(:type AS text) IS NULL OR l.type = :type) AND (CAST(:group AS text) IS NULL OR l.group_name = :group)
AND (CAST(:error_type AS text) IS NULL OR l.error_type = :error_type)
AND (CAST(:fingerprint AS text) IS NULL OR l.fingerprint = :fingerprint)
AND (CAST(:ids AS bigint[]) IS NULL OR l.id = ANY (CAST(:ids AS bigint[])))
"""
LIST = f"""
SELECT {_COLUMNS} FROM eventbus.dead_letter AS l
WHERE (CAST(:status AS text) IS NULL OR l.status = :status) AND {_FILTER} AND (CAST(:before AS bigint) IS NULL OR l.id < :before)
ORDER BY l.id DESC LIMIT :limit
"""
FIND = f"SELECT {_COLUMNS} FROM eventbus.dead_letter AS l WHERE l.id = :id"
ATTEMPTS = """
SELECT kind, number, error_type, error_message, worker, failed_at FROM eventbus.attempt
WHERE event_id = CAST(:event_id AS uuid) AND group_name = :group AND dead_letter_id = :id ORDER BY id
"""
# The delivery is locked first, then the letter, like everywhere; SKIP LOCKED leaves what another operator is resolving.
_CHOSEN = f"""
WITH chosen AS (
    SELECT l.id, l.event_id, l.group_name FROM eventbus.dead_letter AS l
    JOIN eventbus.delivery AS d ON d.event_id = l.event_id AND d.group_name = l.group_name
    WHERE l.status = 'open' AND d.state = 'dead' AND l.id > :after AND l.id <= :last AND {_FILTER}
    ORDER BY l.id LIMIT :limit FOR UPDATE SKIP LOCKED
)
"""
RETRY = f"""
{_CHOSEN}, resolved AS (
    UPDATE eventbus.dead_letter AS l SET status = 'retried', resolved_at = clock_timestamp()
    FROM chosen WHERE l.id = chosen.id AND l.status = 'open'
    RETURNING l.id, l.event_id, l.group_name, l.type
), fresh AS (
    UPDATE eventbus.delivery AS d
    SET state = 'pending', attempts = 0, deaths = 0, suspect = false, finished_at = NULL, last_error = NULL,
        due_at = clock_timestamp()
    FROM resolved WHERE d.event_id = resolved.event_id AND d.group_name = resolved.group_name AND d.state = 'dead'
    RETURNING d.event_id, d.group_name
)
SELECT resolved.id, resolved.event_id, resolved.group_name, resolved.type FROM resolved JOIN fresh USING (event_id, group_name)
ORDER BY resolved.id
"""
DISCARD = f"""
{_CHOSEN}, resolved AS (
    UPDATE eventbus.dead_letter AS l SET status = 'discarded', resolved_at = clock_timestamp(), note = :reason
    FROM chosen WHERE l.id = chosen.id AND l.status = 'open'
    RETURNING l.id, l.event_id, l.group_name, l.type
), cancelled AS (
    UPDATE eventbus.delivery AS d SET state = 'cancelled', finished_at = clock_timestamp()
    FROM resolved WHERE d.event_id = resolved.event_id AND d.group_name = resolved.group_name AND d.state = 'dead'
    RETURNING d.event_id, d.group_name
)
SELECT resolved.id, resolved.event_id, resolved.group_name, resolved.type
FROM resolved JOIN cancelled USING (event_id, group_name) ORDER BY resolved.id
"""
# Only the newest letter of a delivery says what became of it.
RESTORE = """
WITH chosen AS (
    SELECT l.id, l.event_id, l.group_name FROM eventbus.dead_letter AS l
    JOIN eventbus.delivery AS d ON d.event_id = l.event_id AND d.group_name = l.group_name
    WHERE l.id = ANY (CAST(:ids AS bigint[])) AND l.status = 'discarded' AND d.state = 'cancelled' AND NOT EXISTS (
        SELECT FROM eventbus.dead_letter AS newer
        WHERE newer.event_id = l.event_id AND newer.group_name = l.group_name AND newer.id > l.id)
    ORDER BY l.id FOR UPDATE SKIP LOCKED
), dead AS (
    UPDATE eventbus.delivery AS d SET state = 'dead', finished_at = clock_timestamp()
    FROM chosen WHERE d.event_id = chosen.event_id AND d.group_name = chosen.group_name AND d.state = 'cancelled'
    RETURNING d.event_id, d.group_name
)
UPDATE eventbus.dead_letter AS l SET status = 'open', resolved_at = NULL
FROM chosen JOIN dead USING (event_id, group_name) WHERE l.id = chosen.id
RETURNING l.id, l.event_id, l.group_name, l.type
"""
NOTE = "UPDATE eventbus.dead_letter SET note = :note WHERE id = :id RETURNING id"
COUNT_OPEN = f"SELECT count(*) FROM eventbus.dead_letter AS l WHERE l.status = 'open' AND l.id <= :last AND {_FILTER}"
NEWEST = "SELECT coalesce(max(id), 0) FROM eventbus.dead_letter"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One failed run."""

    #: ``error`` or ``death``.
    kind: str
    #: 1 for the first.
    number: int
    error_type: str
    error_message: str
    worker: str | None
    failed_at: datetime


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A delivery that was given up."""

    id: int
    event_id: UUID
    group: str
    type: str
    attempts: int
    deaths: int
    error_type: str
    error_message: str
    traceback: str
    #: Equal for failures that one fix will mend.
    fingerprint: str
    failed_at: datetime
    #: ``open``, ``retried`` or ``discarded``.
    status: str
    resolved_at: datetime | None
    note: str | None


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which dead letters; None asks for all."""

    type: str | None = None
    group: str | None = None
    error_type: str | None = None
    fingerprint: str | None = None
    ids: tuple[int, ...] | None = None

    def parameters(self) -> dict[str, Any]:
        """For the statements above."""
        return {**vars(self), "ids": None if self.ids is None else list(self.ids)}


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A dead letter that was just retried or discarded."""

    id: int
    event_id: UUID
    group: str
    type: str


def open_letter(connection: Connection, claimed: Claimed, failure: Failure) -> int:
    """Write the dead letter of *claimed*, which was just marked dead after *failure*; its id."""
    attempts = claimed.attempts + (failure.kind == "error")
    deaths = claimed.deaths + (failure.kind == "death")
    letter = connection.value(
        OPEN,
        event_id=str(claimed.event.id),
        group=claimed.group,
        type=claimed.event.type,
        attempts=attempts,
        deaths=deaths,
        runs=attempts + deaths,
        error_type=failure.error_type,
        message=failure.message,
        traceback=failure.traceback,
        fingerprint=failure.fingerprint,
        gist=failure.cause.gist,
        place=failure.cause.place,
    )
    return int(letter)


def list_letters(
    connection: Connection, wanted: Filter, *, status: str | None, before: int | None, limit: int
) -> list[DeadLetter]:
    """Up to *limit* dead letters with an id below *before*, newest first."""
    rows = connection.rows(LIST, status=status, before=before, limit=limit, **wanted.parameters())
    return [_letter(row) for row in rows]


def find_letter(connection: Connection, id: int) -> DeadLetter | None:
    """The dead letter of that id, or None."""
    row = connection.row(FIND, id=id)
    return None if row is None else _letter(row)


def list_attempts(connection: Connection, letter: DeadLetter) -> list[Attempt]:
    """The failed runs that led to *letter*, in order."""
    rows = connection.rows(ATTEMPTS, event_id=str(letter.event_id), group=letter.group, id=letter.id)
    return [
        Attempt(
            kind=row.kind,
            number=row.number,
            error_type=row.error_type,
            error_message=row.error_message,
            worker=row.worker,
            failed_at=as_utc(row.failed_at),
        )
        for row in rows
    ]


def count_open(connection: Connection, wanted: Filter, *, last: int) -> int:
    """How many open letters are *wanted*, of those with an id up to *last*; costs as much as the group has open ones."""
    return int(connection.value(COUNT_OPEN, last=last, **wanted.parameters()))


def newest_id(connection: Connection) -> int:
    """The largest id so far: a bound that keeps what arrives later out of a long operation."""
    return int(connection.value(NEWEST))


def retry(connection: Connection, wanted: Filter, *, after: int, last: int, limit: int) -> list[Resolved]:
    """Resolve up to *limit* open letters with ids in (after, last], making their deliveries as if new; in order of id."""
    rows = connection.rows(RETRY, after=after, last=last, limit=limit, **wanted.parameters())
    return _resolved(rows)


def discard(
    connection: Connection, wanted: Filter, *, reason: str, after: int, last: int, limit: int
) -> list[Resolved]:
    """Resolve up to *limit* open letters with ids in (after, last], cancelling their deliveries; in order of id."""
    rows = connection.rows(DISCARD, reason=reason, after=after, last=last, limit=limit, **wanted.parameters())
    return _resolved(rows)


def restore(connection: Connection, ids: Sequence[int]) -> list[Resolved]:
    """Open discarded letters again, their cancelled deliveries being dead again; those that could be."""
    return _resolved(connection.rows(RESTORE, ids=list(ids)))


def write_note(connection: Connection, id: int, note: str) -> bool:
    """Keep *note* with a dead letter in the place of the one before; whether there is such a letter."""
    return connection.row(NOTE, id=id, note=note) is not None


def _resolved(rows: Sequence[Row[Any]]) -> list[Resolved]:
    return [Resolved(id=row.id, event_id=as_uuid(row.event_id), group=row.group_name, type=row.type) for row in rows]


def _letter(row: Row[Any]) -> DeadLetter:
    return DeadLetter(
        id=row.id,
        event_id=as_uuid(row.event_id),
        group=row.group_name,
        type=row.type,
        attempts=row.attempts,
        deaths=row.deaths,
        error_type=row.error_type,
        error_message=row.error_message,
        traceback=row.traceback,
        fingerprint=row.fingerprint,
        failed_at=as_utc(row.failed_at),
        status=row.status,
        resolved_at=None if row.resolved_at is None else as_utc(row.resolved_at),
        note=row.note,
    )
