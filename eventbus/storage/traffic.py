"""Traffic: how much was published and consumed, by minute, type and group; counted from rows, and again whenever one likes.

    log ──count_span──▶ traffic, traffic_total      whole minutes, once they lie a little back; what came since is read live
    delivery done ──COUNT_DONE──▶ traffic_tally ──move_tallies──▶ traffic, traffic_total

An event's id is the moment at which it was published, and it appears when its transaction commits. So a span keeps the
transactions that were open when it was counted, and is counted again when one of them has ended. A count is the number of rows
that are there, never one more than before: whoever counts twice, or dies in between, changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row

from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc

#: A minute is counted when it has ended this long ago: what got its id in it has a transaction id by then, if it has not ended.
#: Nothing waits longer than `publish` for a key (3 s) in between.
_SETTLED = timedelta(seconds=10)
#: Every span is counted once more at this age, in case that a clock was set back or a server stood still.
_SECOND_LOOK = timedelta(hours=1)
#: Tallies of the last minute are left alone, for they are being written.
_TALLIED = timedelta(minutes=1)
#: The first span starts here.
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

#: A part of the statement that marks deliveries done. It reads ``done (state, type, group_name, finished_at)`` and adds to a row
#: of this connection's own: no two transactions that are open at once share one.
COUNT_DONE = """
counted AS (
    INSERT INTO eventbus.traffic_tally AS tally (backend, minute, type, group_name, consumed)
    SELECT pg_backend_pid(), date_trunc('minute', done.finished_at, 'UTC'), done.type, done.group_name, count(*)
    FROM done WHERE done.state = 'done' GROUP BY 2, 3, 4
    ON CONFLICT (backend, minute, type, group_name) DO UPDATE SET consumed = tally.consumed + EXCLUDED.consumed
)
"""
#: The same where ``done`` is one row at most: nothing to group.
COUNT_ONE_DONE = """
counted AS (
    INSERT INTO eventbus.traffic_tally AS tally (backend, minute, type, group_name, consumed)
    SELECT pg_backend_pid(), date_trunc('minute', done.finished_at, 'UTC'), done.type, done.group_name, 1
    FROM done WHERE done.state = 'done'
    ON CONFLICT (backend, minute, type, group_name) DO UPDATE SET consumed = tally.consumed + EXCLUDED.consumed
)
"""
#: How far the log was counted: an expression.
COUNTED_UNTIL = "COALESCE((SELECT max(ended_at) FROM eventbus.traffic_span), CAST(:beginning AS timestamptz))"
_CLOSED = "date_trunc('minute', clock_timestamp() - CAST(:settled AS interval), 'UTC')"
_HAS_ENDED = "pg_visible_in_snapshot(CAST(CAST(writer AS text) AS xid8), pg_current_snapshot())"
_IS_OLD = "span.writers = '{}' AND span.ended_at < clock_timestamp() - CAST(:second_look AS interval)"
_STALE = f"""
SELECT span.started_at, span.ended_at FROM eventbus.traffic_span AS span
WHERE EXISTS (SELECT FROM unnest(span.writers) AS writer WHERE {_HAS_ENDED}) OR {_IS_OLD}
"""
_TALLIES = """
SELECT backend, minute, type, group_name FROM eventbus.traffic_tally
WHERE minute < date_trunc('minute', clock_timestamp() - CAST(:tallied AS interval), 'UTC')
"""
IS_DUE = f"SELECT {COUNTED_UNTIL} < {_CLOSED} OR EXISTS ({_STALE}) OR EXISTS ({_TALLIES})"
# The transaction gets its number here: whoever got one earlier, and has not ended, is a writer of what is counted next.
TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('eventbus.traffic')), pg_current_xact_id()"
MOVE_TALLIES = f"""
WITH due AS (
    {_TALLIES} FOR UPDATE SKIP LOCKED
), moved AS (
    DELETE FROM eventbus.traffic_tally AS tally USING due
    WHERE (tally.backend, tally.minute, tally.type, tally.group_name) = (due.backend, due.minute, due.type, due.group_name)
    RETURNING tally.minute, tally.type, tally.group_name, tally.consumed
), minutes AS (
    INSERT INTO eventbus.traffic AS known (minute, type, group_name, consumed)
    SELECT minute, type, group_name, sum(consumed) FROM moved GROUP BY 1, 2, 3
    ON CONFLICT (minute, type, group_name) DO UPDATE SET consumed = known.consumed + EXCLUDED.consumed
), totals AS (
    INSERT INTO eventbus.traffic_total AS known (type, group_name, consumed)
    SELECT type, group_name, sum(consumed) FROM moved GROUP BY 1, 2
    ON CONFLICT (type, group_name) DO UPDATE SET consumed = known.consumed + EXCLUDED.consumed
)
SELECT count(*) FROM moved
"""
# A long stretch ends with the minute in which enough events were seen; a stretch without events is as long as it is. The search
# for its end has no upper bound: with one, the planner would rather sort all that lies below it.
NEXT_SPAN = f"""
SELECT since.at AS started_at, LEAST(since.closed, date_trunc('minute', enough.at, 'UTC') + interval '1 minute') AS ended_at
FROM (SELECT {COUNTED_UNTIL} AS at, {_CLOSED} AS closed) AS since
LEFT JOIN LATERAL (
    SELECT created_at AS at FROM eventbus.event_log
    WHERE since.at < since.closed - interval '1 minute' AND id >= eventbus.uuid_floor(since.at)
    ORDER BY id OFFSET :limit LIMIT 1
) AS enough ON true
WHERE since.at < since.closed
"""
STALE = f"{_STALE} ORDER BY span.started_at LIMIT :limit"
# Writers are the transactions that had a number when this one got its own, and had not ended when the log was read: those that
# the snapshot lists, and those behind its end, of which none had. Counted again, a span has no new ones.
COUNT_SPAN = f"""
WITH found AS (
    SELECT date_trunc('minute', created_at, 'UTC') AS minute, type, count(*) AS published FROM eventbus.event_log
    WHERE id >= eventbus.uuid_floor(CAST(:started AS timestamptz)) AND id < eventbus.uuid_floor(CAST(:ended AS timestamptz))
    GROUP BY 1, 2
), more AS (
    SELECT found.minute, found.type, found.published, found.published - COALESCE(known.published, 0) AS added
    FROM found LEFT JOIN LATERAL (
        SELECT published FROM eventbus.traffic WHERE minute = found.minute AND type = found.type AND group_name = '' LIMIT 1
    ) AS known ON true
    WHERE found.published > COALESCE(known.published, 0)
), minutes AS (
    INSERT INTO eventbus.traffic (minute, type, group_name, published)
    SELECT minute, type, '', published FROM more
    ON CONFLICT (minute, type, group_name) DO UPDATE SET published = EXCLUDED.published
), totals AS (
    INSERT INTO eventbus.traffic_total AS known (type, group_name, published)
    SELECT type, '', sum(added) FROM more GROUP BY 1
    ON CONFLICT (type, group_name) DO UPDATE SET published = known.published + EXCLUDED.published
), writing AS (
    SELECT CAST(CAST(number AS text) AS bigint) AS writer
    FROM pg_current_snapshot() AS seen, pg_snapshot_xip(seen) AS number
    UNION ALL
    SELECT writer FROM pg_current_snapshot() AS seen, generate_series(
        CAST(CAST(pg_snapshot_xmax(seen) AS text) AS bigint),
        CAST(CAST(pg_current_xact_id() AS text) AS bigint) - 1) AS writer
)
INSERT INTO eventbus.traffic_span AS span (started_at, ended_at, writers)
SELECT :started, :ended, ARRAY(SELECT writer FROM writing)
ON CONFLICT (started_at) DO UPDATE
SET writers = ARRAY(SELECT writer FROM unnest(span.writers) AS writer WHERE NOT {_HAS_ENDED})
"""
# The newest says how far the log was counted.
FORGET_SPANS = f"""
DELETE FROM eventbus.traffic_span AS span
WHERE span.started_at = ANY (CAST(:starts AS timestamptz[])) AND {_IS_OLD} AND span.ended_at < {COUNTED_UNTIL}
"""
EMPTY = "WITH minutes AS (DELETE FROM eventbus.traffic) DELETE FROM eventbus.traffic_total"
#: A day of the log each, and whatever lies before the first one and after the last one.
STRETCHES = """
SELECT day AS started_at, lead(day) OVER (ORDER BY day) AS ended_at FROM (
    SELECT CAST(:beginning AS timestamptz) AS day
    UNION
    SELECT generate_series(date_trunc('day', min(created_at), 'UTC'), clock_timestamp(), interval '1 day')
    FROM (SELECT created_at FROM eventbus.event_log ORDER BY id LIMIT 1) AS first
) AS days ORDER BY day
"""
# A delivery was done when it says so, and each time before that a replay took from it.
RECOUNT = f"""
INSERT INTO eventbus.traffic AS known (minute, type, group_name, published, consumed)
SELECT minute, type, group_name, sum(published), sum(consumed) FROM (
    SELECT date_trunc('minute', created_at, 'UTC') AS minute, type, '' AS group_name, 1 AS published, 0 AS consumed
    FROM eventbus.event_log
    WHERE id >= eventbus.uuid_floor(CAST(:started AS timestamptz))
    AND id < eventbus.uuid_floor(LEAST(CAST(:ended AS timestamptz), {COUNTED_UNTIL}))
    UNION ALL
    SELECT date_trunc('minute', done.at, 'UTC'), e.type, d.group_name, 0, 1
    FROM eventbus.delivery AS d JOIN eventbus.event_log AS e ON e.id = d.event_id
    CROSS JOIN LATERAL unnest(array_append(d.done_before, CASE WHEN d.state = 'done' THEN d.finished_at END)) AS done (at)
    WHERE d.event_id >= eventbus.uuid_floor(CAST(:started AS timestamptz))
    AND (CAST(:ended AS timestamptz) IS NULL OR d.event_id < eventbus.uuid_floor(CAST(:ended AS timestamptz)))
    AND done.at IS NOT NULL
) AS happened
GROUP BY 1, 2, 3
ON CONFLICT (minute, type, group_name) DO UPDATE
SET published = known.published + EXCLUDED.published, consumed = known.consumed + EXCLUDED.consumed
"""
# What is tallied will be moved here, and is among the rows already.
SUBTRACT_TALLIES = """
WITH tallied AS (
    SELECT minute, type, group_name, sum(consumed) AS consumed FROM eventbus.traffic_tally GROUP BY 1, 2, 3
)
UPDATE eventbus.traffic AS known SET consumed = GREATEST(known.consumed - tallied.consumed, 0) FROM tallied
WHERE (known.minute, known.type, known.group_name) = (tallied.minute, tallied.type, tallied.group_name)
"""
FORGET_NOTHINGS = "DELETE FROM eventbus.traffic WHERE published = 0 AND consumed = 0"
SUM = """
INSERT INTO eventbus.traffic_total (type, group_name, published, consumed)
SELECT type, group_name, sum(published), sum(consumed) FROM eventbus.traffic GROUP BY 1, 2
ON CONFLICT (type, group_name) DO UPDATE SET published = EXCLUDED.published, consumed = EXCLUDED.consumed
"""
EXPIRE = "DELETE FROM eventbus.traffic WHERE minute < clock_timestamp() - CAST(:kept AS interval)"
#: What the statements above call by name.
LIMITS = {"settled": _SETTLED, "second_look": _SECOND_LOOK, "tallied": _TALLIED, "beginning": BEGINNING}


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of the log, of whole minutes."""

    started_at: datetime
    #: Not part of it.
    ended_at: datetime


def is_due(connection: Connection) -> bool:
    """Whether something can be counted or moved; changes nothing."""
    return bool(connection.value(IS_DUE, **LIMITS))


def try_lock(connection: Connection) -> bool:
    """Become the only one who counts, until the transaction ends; False if somebody else is."""
    return bool(connection.value(TRY_LOCK))


def move_tallies(connection: Connection) -> int:
    """Add the tallies of past minutes to the counts; how many there were. Those that are being written are left for later."""
    return int(connection.value(MOVE_TALLIES, **LIMITS))


def list_stale(connection: Connection, *, limit: int) -> list[Span]:
    """The oldest *limit* spans that may have more events now than were counted."""
    return [_span(row) for row in connection.rows(STALE, limit=limit, **LIMITS)]


def next_span(connection: Connection, *, limit: int) -> Span | None:
    """What follows the newest span, as far as it can be counted, with not many more events than *limit*; None if nothing can."""
    row = connection.row(NEXT_SPAN, limit=limit, **LIMITS)
    return None if row is None else _span(row)


def count_span(connection: Connection, span: Span) -> None:
    """Count *span*, for the first time or again. The transaction must have taken the lock by `try_lock`."""
    connection.change(COUNT_SPAN, started=span.started_at, ended=span.ended_at)


def forget_spans(connection: Connection, spans: Sequence[Span]) -> None:
    """Drop those of *spans* that will not change any more."""
    connection.change(FORGET_SPANS, starts=[span.started_at for span in spans], **LIMITS)


def recount(connection: Connection, *, watch: Callable[[int, int], None]) -> None:
    """Count everything anew from the log and the deliveries, which are read as a whole.

    Args:
        connection: In a transaction that sees one moment throughout, and has the lock.
        watch: Told how many stretches of the log are counted, and of how many.
    """
    connection.change(EMPTY)
    stretches = connection.rows(STRETCHES, **LIMITS)
    for done, row in enumerate(stretches, start=1):
        connection.change(RECOUNT, started=row.started_at, ended=row.ended_at, **LIMITS)
        watch(done, len(stretches))
    connection.change(SUBTRACT_TALLIES)
    connection.change(FORGET_NOTHINGS)
    connection.change(SUM)


def expire(connection: Connection, *, kept: timedelta) -> int:
    """Delete minutes that are older than *kept*; how many rows. The totals keep what they held."""
    return connection.change(EXPIRE, kept=kept)


def _span(row: Row[Any]) -> Span:
    return Span(started_at=as_utc(row.started_at), ended_at=as_utc(row.ended_at))
