"""Fingerprints: what dead letters of one cause have in common, how often it happened, and whether anybody looks after it.

    new ──acknowledge──▶ acknowledged ──┐
     └──────────┬──────────┘            ├─ all letters discarded, or retried and ended; or an operator says so ──▶ resolved
    returned ───┴───────────────────────┘                                                                            │
        ▲────────────────────────────────────── the next occurrence ─────────────────────────────────────────────────┘

Whoever locks deliveries or letters too locks them first. A letter never has an id below that of an earlier letter of its cause.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from eventbus.fingerprint import Fingerprint
from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc

#: Parts of the statement that writes a dead letter: its cause is counted, and is news where it is new or was resolved.
COUNT_OCCURRENCE = """
occurred AS (
    INSERT INTO eventbus.fingerprint AS known (fingerprint, error_type, gist, place, groups, first_seen_at, last_seen_at)
    VALUES (:fingerprint, :error_type, :gist, :place, ARRAY[CAST(:group AS text)], statement_timestamp(), statement_timestamp())
    ON CONFLICT (fingerprint) DO UPDATE SET
        groups = CASE WHEN EXCLUDED.groups <@ known.groups THEN known.groups ELSE known.groups || EXCLUDED.groups END,
        occurrences = known.occurrences + 1, last_seen_at = GREATEST(known.last_seen_at, EXCLUDED.last_seen_at),
        state = CASE known.state WHEN 'resolved' THEN 'returned' ELSE known.state END,
        state_since = CASE known.state WHEN 'resolved' THEN clock_timestamp() ELSE known.state_since END,
        news_occurrence = CASE known.state WHEN 'resolved' THEN known.occurrences + 1 ELSE known.news_occurrence END
    RETURNING fingerprint, CASE WHEN occurrences = news_occurrence THEN state END AS news
)
"""
WRITE_ALERT = """
told AS (
    INSERT INTO eventbus.alert (kind, fingerprint, dead_letter_id)
    SELECT occurred.news, occurred.fingerprint, letter.id FROM occurred CROSS JOIN letter WHERE occurred.news IS NOT NULL
)
"""
# What is open is counted by its index, and the newest letter is the last of its own: for the rows of a page only.
_SHOWN = """
SELECT f.fingerprint, f.error_type, f.gist, f.place, f.groups, f.state, f.occurrences, f.first_seen_at, f.last_seen_at,
       f.state_since, f.note, open.letters,
       (SELECT max(l.id) FROM eventbus.dead_letter AS l WHERE l.fingerprint = f.fingerprint) AS newest_id
FROM found AS f
CROSS JOIN LATERAL (
    SELECT count(*) AS letters FROM eventbus.dead_letter AS l WHERE l.fingerprint = f.fingerprint AND l.status = 'open'
) AS open
ORDER BY f.last_seen_at DESC, f.fingerprint DESC
"""
LIST = f"""
WITH found AS MATERIALIZED (
    SELECT * FROM eventbus.fingerprint AS f
    WHERE (CAST(:state AS text) IS NULL OR f.state = :state)
    AND (CAST(:before AS timestamptz) IS NULL OR (f.last_seen_at, f.fingerprint) < (CAST(:before AS timestamptz), :below))
    AND (CAST(:group AS text) IS NULL OR :group = ANY (f.groups))
    ORDER BY f.last_seen_at DESC, f.fingerprint DESC LIMIT :limit
)
{_SHOWN}
"""
FIND = f"WITH found AS MATERIALIZED (SELECT * FROM eventbus.fingerprint WHERE fingerprint = :fingerprint) {_SHOWN}"
COUNT_STATES = "SELECT state, count(*) AS fingerprints FROM eventbus.fingerprint GROUP BY state"
CHANGE = """
UPDATE eventbus.fingerprint AS f
SET state = :state, state_since = CASE f.state WHEN :state THEN f.state_since ELSE clock_timestamp() END,
    note = COALESCE(CAST(:note AS text), f.note)
WHERE f.fingerprint = :fingerprint AND (:state <> 'acknowledged' OR f.state <> 'resolved')
RETURNING f.fingerprint
"""
# A statement of its own, so that what is judged is read after its lock was granted: no letter can be written meanwhile.
LOCK_QUIET = """
SELECT f.fingerprint FROM eventbus.fingerprint AS f
WHERE f.state <> 'resolved' AND NOT EXISTS (
    SELECT FROM eventbus.dead_letter AS l WHERE l.fingerprint = f.fingerprint AND l.status = 'open')
ORDER BY f.fingerprint LIMIT :limit FOR UPDATE SKIP LOCKED
"""
# The letters of a cause are gone through once, in their order: those before the first that still waits are not looked at again.
SETTLE = """
WITH looked AS (
    SELECT f.fingerprint, f.settled_id, count(l.id) AS letters, max(l.id) AS last_id,
           min(l.id) FILTER (WHERE l.status = 'open' OR d.finished_at IS NULL AND d.event_id IS NOT NULL) AS waiting_id
    FROM eventbus.fingerprint AS f
    LEFT JOIN LATERAL (
        SELECT ordered.id FROM eventbus.dead_letter AS ordered
        WHERE ordered.fingerprint = f.fingerprint AND ordered.id > f.settled_id ORDER BY ordered.id LIMIT :limit
    ) AS next ON true
    LEFT JOIN eventbus.dead_letter AS l ON l.id = next.id
    LEFT JOIN eventbus.delivery AS d ON d.event_id = l.event_id AND d.group_name = l.group_name
    WHERE f.fingerprint = ANY (CAST(:fingerprints AS text[]))
    GROUP BY f.fingerprint
), ended AS (
    SELECT fingerprint, COALESCE(waiting_id - 1, last_id, settled_id) AS settled_id,
           waiting_id IS NULL AND letters < :limit AS is_resolved
    FROM looked
), changed AS (
    UPDATE eventbus.fingerprint AS f
    SET settled_id = ended.settled_id, state = CASE WHEN ended.is_resolved THEN 'resolved' ELSE f.state END,
        state_since = CASE WHEN ended.is_resolved THEN clock_timestamp() ELSE f.state_since END
    FROM ended WHERE f.fingerprint = ended.fingerprint AND (ended.is_resolved OR ended.settled_id > f.settled_id)
    RETURNING f.fingerprint, f.state
)
SELECT fingerprint FROM changed WHERE state = 'resolved'
"""
REOPEN = """
UPDATE eventbus.fingerprint AS f
SET settled_id = LEAST(f.settled_id, opened.first_id - 1),
    state = CASE f.state WHEN 'resolved' THEN 'acknowledged' ELSE f.state END,
    state_since = CASE f.state WHEN 'resolved' THEN clock_timestamp() ELSE f.state_since END
FROM (
    SELECT fingerprint, min(id) AS first_id FROM eventbus.dead_letter WHERE id = ANY (CAST(:ids AS bigint[])) GROUP BY fingerprint
) AS opened
WHERE f.fingerprint = opened.fingerprint
"""
LIST_UNKNOWN = """
SELECT l.id, l.error_type, l.error_message, l.traceback, l.group_name FROM eventbus.dead_letter AS l
WHERE l.id > :after AND NOT EXISTS (SELECT FROM eventbus.fingerprint AS f WHERE f.fingerprint = l.fingerprint)
ORDER BY l.id LIMIT :limit FOR UPDATE OF l SKIP LOCKED
"""
ADOPT = """
WITH given AS (
    SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:fingerprints AS text[]), CAST(:gists AS text[]), CAST(:places AS text[]))
    AS given (id, fingerprint, gist, place)
), renamed AS (
    UPDATE eventbus.dead_letter AS l SET fingerprint = given.fingerprint FROM given WHERE l.id = given.id
    RETURNING l.id, l.fingerprint, l.error_type, given.gist, given.place, l.group_name, l.failed_at
)
INSERT INTO eventbus.fingerprint AS known
    (fingerprint, error_type, gist, place, groups, occurrences, first_seen_at, last_seen_at, settled_id)
SELECT fingerprint, min(error_type), min(gist), min(place), array_agg(DISTINCT group_name),
       count(*), min(failed_at), max(failed_at), min(id) - 1
FROM renamed GROUP BY fingerprint ORDER BY fingerprint
ON CONFLICT (fingerprint) DO UPDATE SET
    groups = ARRAY(SELECT DISTINCT name FROM unnest(known.groups || EXCLUDED.groups) AS name),
    occurrences = known.occurrences + EXCLUDED.occurrences,
    news_occurrence = known.news_occurrence + EXCLUDED.occurrences,
    first_seen_at = LEAST(known.first_seen_at, EXCLUDED.first_seen_at),
    last_seen_at = GREATEST(known.last_seen_at, EXCLUDED.last_seen_at),
    settled_id = LEAST(known.settled_id, EXCLUDED.settled_id)
"""


@dataclass(frozen=True, kw_only=True)
class KnownFingerprint:
    """A cause of dead letters, as operators see it."""

    #: 16 hexadecimal digits.
    fingerprint: str
    error_type: str
    #: The first line of the message, with ``?`` for numbers, ids and quoted values.
    gist: str
    #: The handler's own innermost frames, as ``orders.py:reserve < orders.py:on_created``; for a death, its group.
    place: str
    #: ``new``, ``acknowledged``, ``resolved`` or ``returned``.
    state: str
    #: When it entered that state.
    state_since: datetime
    #: Dead letters that it ever had.
    occurrences: int
    first_seen_at: datetime
    last_seen_at: datetime
    #: Groups that ever had a dead letter of it, by name.
    groups: tuple[str, ...]
    #: Open dead letters.
    open: int
    #: Its newest dead letter.
    newest_id: int | None
    note: str | None


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """A dead letter whose fingerprint nobody counts."""

    id: int
    error_type: str
    error_message: str
    traceback: str
    group: str


def list_known(
    connection: Connection,
    *,
    state: str | None,
    group: str | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[KnownFingerprint]:
    """Up to *limit* fingerprints, those seen last first.

    Args:
        group: Has, or had, dead letters of it.
        before: When the last one of the page before was last seen, and its fingerprint.
    """
    at, below = before or (None, None)
    rows = connection.rows(LIST, state=state, group=group, before=at, below=below, limit=limit)
    return [_known(row) for row in rows]


def find(connection: Connection, fingerprint: str) -> KnownFingerprint | None:
    """That fingerprint, or None."""
    row = connection.row(FIND, fingerprint=fingerprint)
    return None if row is None else _known(row)


def count_states(connection: Connection) -> dict[str, int]:
    """How many are in each state that any is in."""
    return {row.state: row.fingerprints for row in connection.rows(COUNT_STATES)}


def change_state(connection: Connection, fingerprint: str, *, state: str, note: str | None) -> bool:
    """Bring a fingerprint into *state*, keeping *note* with it if there is one; False if it is unknown, or is resolved already."""
    return connection.row(CHANGE, fingerprint=fingerprint, state=state, note=note) is not None


def lock_quiet(connection: Connection, *, limit: int) -> list[str]:
    """Up to *limit* fingerprints that are not resolved and have no open letter, locked against new ones."""
    return [row.fingerprint for row in connection.rows(LOCK_QUIET, limit=limit)]


def settle(connection: Connection, fingerprints: Sequence[str], *, limit: int) -> list[str]:
    """Resolve those of *fingerprints*, all locked, of whose letters none is open and none waits for its retry to end.

    Of each, up to *limit* letters are looked at; the next call goes on where this one ended.

    Returns:
        Those that were resolved.
    """
    return [row.fingerprint for row in connection.rows(SETTLE, fingerprints=list(fingerprints), limit=limit)]


def reopen(connection: Connection, letter_ids: Sequence[int]) -> None:
    """Take note that these dead letters are open again: what had been resolved with them is acknowledged."""
    connection.change(REOPEN, ids=list(letter_ids))


def list_unknown(connection: Connection, *, after: int, limit: int) -> list[Unknown]:
    """Up to *limit* dead letters, locked, that were written by code which counted no fingerprints; the oldest above *after*."""
    return [
        Unknown(
            id=row.id,
            error_type=row.error_type,
            error_message=row.error_message,
            traceback=row.traceback,
            group=row.group_name,
        )
        for row in connection.rows(LIST_UNKNOWN, after=after, limit=limit)
    ]


def adopt(connection: Connection, causes: Sequence[tuple[int, Fingerprint]]) -> None:
    """Give dead letters, by id, their fingerprints, and count them."""
    connection.change(
        ADOPT,
        ids=[id for id, _ in causes],
        fingerprints=[cause.value for _, cause in causes],
        gists=[cause.gist for _, cause in causes],
        places=[cause.place for _, cause in causes],
    )


def _known(row: Row[Any]) -> KnownFingerprint:
    return KnownFingerprint(
        fingerprint=row.fingerprint,
        error_type=row.error_type,
        gist=row.gist,
        place=row.place,
        state=row.state,
        state_since=as_utc(row.state_since),
        occurrences=row.occurrences,
        first_seen_at=as_utc(row.first_seen_at),
        last_seen_at=as_utc(row.last_seen_at),
        open=row.letters,
        groups=tuple(sorted(row.groups)),
        newest_id=row.newest_id,
        note=row.note,
    )
