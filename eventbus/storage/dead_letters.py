"""Dead letters and the attempts that led to them. One is open exactly while its delivery is dead."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from eventbus.failure import Failure
from eventbus.storage import fingerprints
from eventbus.storage.claiming import Claimed
from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc, as_utc_or_none, as_uuid

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
# The events of a correlation id are looked up once, by their index.
_FILTER = """
(CAST(:types AS text[]) IS NULL OR l.type = ANY (CAST(:types AS text[])))
AND (CAST(:group AS text) IS NULL OR l.group_name = :group)
AND (CAST(:error_type AS text) IS NULL OR l.error_type = :error_type)
AND (CAST(:error AS text) IS NULL OR strpos(l.error_message, :error) > 0)
AND (CAST(:fingerprint AS text) IS NULL OR l.fingerprint = :fingerprint)
AND (CAST(:since AS timestamptz) IS NULL OR l.failed_at >= CAST(:since AS timestamptz))
AND (CAST(:until AS timestamptz) IS NULL OR l.failed_at < CAST(:until AS timestamptz))
AND (CAST(:correlation AS text) IS NULL OR l.event_id IN (
    SELECT e.id FROM eventbus.event_log AS e WHERE e.metadata ->> 'correlation_id' = :correlation))
AND (CAST(:ids AS bigint[]) IS NULL OR l.id = ANY (CAST(:ids AS bigint[])))
AND (CAST(:last_id AS bigint) IS NULL OR l.id <= :last_id)
"""
LIST = f"""
SELECT {_COLUMNS} FROM eventbus.dead_letter AS l
WHERE (CAST(:status AS text) IS NULL OR l.status = :status) AND {_FILTER} AND (CAST(:before AS bigint) IS NULL OR l.id < :before)
ORDER BY l.id DESC LIMIT :limit
"""
FIND = f"SELECT {_COLUMNS} FROM eventbus.dead_letter AS l WHERE l.id = :id"
GROUPS = """
SELECT DISTINCT group_name FROM eventbus.dead_letter WHERE id = ANY (CAST(:ids AS bigint[])) ORDER BY group_name
"""
ATTEMPTS = """
SELECT kind, number, error_type, error_message, worker, failed_at FROM eventbus.attempt
WHERE event_id = CAST(:event_id AS uuid) AND group_name = :group AND dead_letter_id = :id ORDER BY id
"""
OPEN_IDS = f"SELECT l.id FROM eventbus.dead_letter AS l WHERE l.status = 'open' AND {_FILTER} ORDER BY l.id"


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

    types: tuple[str, ...] | None = None
    group: str | None = None
    error_type: str | None = None
    #: A part of the error's message.
    error: str | None = None
    fingerprint: str | None = None
    #: When it was given up: from, and before.
    since: datetime | None = None
    until: datetime | None = None
    #: Of its event.
    correlation_id: str | None = None
    ids: tuple[int, ...] | None = None
    #: None with a larger id.
    last_id: int | None = None

    def parameters(self) -> dict[str, Any]:
        """For the statements above."""
        return {
            "types": None if self.types is None else list(self.types),
            "group": self.group,
            "error_type": self.error_type,
            "error": self.error,
            "fingerprint": self.fingerprint,
            "since": self.since,
            "until": self.until,
            "correlation": self.correlation_id,
            "ids": None if self.ids is None else list(self.ids),
            "last_id": self.last_id,
        }


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


def open_ids(connection: Connection, wanted: Filter) -> list[int]:
    """The ids of all open letters that are *wanted*, rising; costs as much as there are."""
    return [row.id for row in connection.rows(OPEN_IDS, **wanted.parameters())]


def list_groups(connection: Connection, ids: Iterable[int]) -> list[str]:
    """The groups of the letters of those ids, sorted; no letter has an id that is too large for a column."""
    return [row.group_name for row in connection.rows(GROUPS, ids=[id for id in ids if id < 1 << 63])]


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
        resolved_at=as_utc_or_none(row.resolved_at),
        note=row.note,
    )
