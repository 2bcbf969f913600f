"""Runs of handlers: how many failed, died, are retried and were given up, and how long they took; for monitoring.

    attempt, in the same statement ─▶ run_tally      a row of the connection's own, folded into one by housekeeping
    workers, every few seconds     ─▶ run_duration   since ever, by group and type
                                   └▶ run_minute     by minute and group, for as long as minutes are kept

All of them only grow, whatever processes come and go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from eventbus.durations import Histogram, add
from eventbus.storage.database import Connection

_TALLIED = """
ON CONFLICT (backend, type, group_name) DO UPDATE SET
    failed = known.failed + EXCLUDED.failed, deaths = known.deaths + EXCLUDED.deaths,
    retries = known.retries + EXCLUDED.retries, dead = known.dead + EXCLUDED.dead
"""
#: A part of the statement that keeps a failed run.
TALLY_RUN = f"""
tallied AS (
    INSERT INTO eventbus.run_tally AS known (backend, type, group_name, failed, deaths, retries, dead)
    VALUES (pg_backend_pid(), :type, :group, :failed, :deaths, :retries, :dead)
    {_TALLIED.strip()}
)
"""
_SUMS = "sum(failed) AS failed, sum(deaths) AS deaths, sum(retries) AS retries, sum(dead) AS dead"
READ_TALLIES = f"SELECT type, group_name, {_SUMS} FROM eventbus.run_tally GROUP BY type, group_name"
# No connection has the number 0. What is being written at this moment is left for the next time.
FOLD = f"""
WITH loose AS (
    SELECT backend, type, group_name FROM eventbus.run_tally WHERE backend <> 0 FOR UPDATE SKIP LOCKED
), taken AS (
    DELETE FROM eventbus.run_tally AS t USING loose
    WHERE (t.backend, t.type, t.group_name) = (loose.backend, loose.type, loose.group_name) RETURNING t.*
)
INSERT INTO eventbus.run_tally AS known (backend, type, group_name, failed, deaths, retries, dead)
SELECT 0, type, group_name, sum(failed), sum(deaths), sum(retries), sum(dead)
FROM taken GROUP BY type, group_name ORDER BY type, group_name
{_TALLIED}
"""
_ADDED = """
ON CONFLICT ({key}) DO UPDATE SET seconds = known.seconds + EXCLUDED.seconds, counts = ARRAY(
    SELECT pair.old + pair.new FROM unnest(known.counts, EXCLUDED.counts) WITH ORDINALITY AS pair (old, new, number)
    ORDER BY number)
"""
# In the order of their keys, so that no two workers wait for each other.
ADD_DURATIONS = f"""
WITH minutes AS (
    INSERT INTO eventbus.run_minute AS known (minute, group_name, counts, seconds)
    SELECT date_trunc('minute', statement_timestamp(), 'UTC'), name, CAST(counts AS bigint[]), seconds
    FROM unnest(CAST(:minute_groups AS text[]), CAST(:minute_counts AS text[]), CAST(:minute_seconds AS double precision[]))
    AS given (name, counts, seconds) ORDER BY name
    {_ADDED.format(key="minute, group_name")}
)
INSERT INTO eventbus.run_duration AS known (group_name, type, counts, seconds)
SELECT name, type, CAST(counts AS bigint[]), seconds
FROM unnest(CAST(:groups AS text[]), CAST(:types AS text[]), CAST(:counts AS text[]), CAST(:seconds AS double precision[]))
AS given (name, type, counts, seconds) ORDER BY name, type
{_ADDED.format(key="group_name, type")}
"""
READ_DURATIONS = "SELECT group_name, type, counts, seconds FROM eventbus.run_duration ORDER BY group_name, type"
READ_MINUTES = """
SELECT group_name, counts, seconds FROM eventbus.run_minute
WHERE minute > clock_timestamp() - CAST(:since AS interval) - interval '1 minute'
"""
EXPIRE = "DELETE FROM eventbus.run_minute WHERE minute < clock_timestamp() - CAST(:kept AS interval)"


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How runs of one type and group ended that did not end well."""

    #: In an error.
    failed: int
    #: With their process.
    deaths: int
    #: Both of them: those after which it is tried again.
    retries: int
    #: Those after which it was given up.
    dead: int


def read_tallies(connection: Connection) -> dict[tuple[str, str], Tally]:
    """Of all runs, by type and group."""
    return {
        (row.type, row.group_name): Tally(
            failed=int(row.failed), deaths=int(row.deaths), retries=int(row.retries), dead=int(row.dead)
        )
        for row in connection.rows(READ_TALLIES)
    }


def fold_tallies(connection: Connection) -> None:
    """Add up what many connections have left."""
    connection.change(FOLD)


def add_durations(connection: Connection, found: Mapping[tuple[str, str], Histogram]) -> None:
    """Add runs to those that are known, by group and type."""
    groups = {group for group, _ in found}
    minutes = {group: add(item for (name, _), item in found.items() if name == group) for group in groups}
    connection.change(
        ADD_DURATIONS,
        groups=[group for group, _ in found],
        types=[type for _, type in found],
        counts=[_array(item) for item in found.values()],
        seconds=[item.seconds for item in found.values()],
        minute_groups=list(minutes),
        minute_counts=[_array(item) for item in minutes.values()],
        minute_seconds=[item.seconds for item in minutes.values()],
    )


def read_durations(connection: Connection) -> dict[tuple[str, str], Histogram]:
    """Of all runs ever, by type and group."""
    return {(row.type, row.group_name): _histogram(row) for row in connection.rows(READ_DURATIONS)}


def read_recent(connection: Connection, *, since: timedelta) -> dict[str, Histogram]:
    """Of the runs since so long ago, to the minute, by group."""
    found: dict[str, list[Histogram]] = {}
    for row in connection.rows(READ_MINUTES, since=since):
        found.setdefault(row.group_name, []).append(_histogram(row))
    return {group: add(items) for group, items in sorted(found.items())}


def expire(connection: Connection, *, kept: timedelta) -> int:
    """Delete minutes that are older than *kept*; how many rows."""
    return connection.change(EXPIRE, kept=kept)


def _array(histogram: Histogram) -> str:
    return f"{{{','.join(map(str, histogram.counts))}}}"


def _histogram(row: Any) -> Histogram:
    return Histogram(counts=tuple(row.counts), seconds=row.seconds)
