"""Rates: what was published, handled and failed in each of the last minutes; from the same counts as the totals.

traffic + traffic_tally + the log since the last count ─▶ published by type, handled by group
the newest failed runs                                 ─▶ failed by group
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from eventbus.storage import traffic
from eventbus.storage.database import Connection
from eventbus.storage.overview import COUNTED_UNTIL
from eventbus.storage.values import as_utc

#: No more failed runs are looked at: of a bus where more fail in an hour, the first minutes show too few.
MOST_FAILURES = 10_000

FIRST_MINUTE = "SELECT date_trunc('minute', clock_timestamp(), 'UTC') - CAST(:span AS interval)"
# As `overview.TRAFFIC`, minute by minute.
MINUTES = f"""
SELECT minute, type, group_name, CAST(sum(published) AS bigint) AS published, CAST(sum(consumed) AS bigint) AS consumed FROM (
    SELECT minute, type, group_name, published, consumed FROM eventbus.traffic WHERE minute >= CAST(:since AS timestamptz)
    UNION ALL
    SELECT minute, type, group_name, 0, consumed FROM eventbus.traffic_tally WHERE minute >= CAST(:since AS timestamptz)
    UNION ALL
    SELECT date_trunc('minute', created_at, 'UTC'), type, '', count(*), 0 FROM eventbus.event_log
    WHERE id >= eventbus.uuid_floor(CAST(:from AS timestamptz)) AND id >= eventbus.uuid_floor({traffic.COUNTED_UNTIL})
    GROUP BY 1, 2
) AS counted
GROUP BY minute, type, group_name
"""
# No index knows when a run failed, but the newest have the largest ids.
FAILURES = """
SELECT date_trunc('minute', failed_at, 'UTC') AS minute, group_name, count(*) AS failed
FROM (SELECT group_name, failed_at FROM eventbus.attempt ORDER BY id DESC LIMIT :limit) AS newest
WHERE failed_at >= CAST(:since AS timestamptz) GROUP BY 1, 2
"""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Numbers by minute, each sequence as long as ``minutes``; what never happened is not listed."""

    #: When each begins, oldest first; the last is under way.
    minutes: Sequence[datetime]
    #: Events, by type.
    published: Mapping[str, Sequence[int]]
    #: Deliveries that reached done, by group.
    handled: Mapping[str, Sequence[int]]
    #: Runs that ended in an error, or with their process; by group.
    failed: Mapping[str, Sequence[int]]


def read_rates(connection: Connection, *, span: timedelta) -> Rates:
    """The minutes of the last *span*, and the one that is under way."""
    first = as_utc(connection.value(FIRST_MINUTE, span=span))
    counted = as_utc(connection.value(COUNTED_UNTIL, beginning=traffic.BEGINNING))
    rows = connection.rows(MINUTES, since=first, **{"from": max(first, counted)}, beginning=traffic.BEGINNING)
    failures = connection.rows(FAILURES, since=first, limit=MOST_FAILURES)
    minutes = [first + timedelta(minutes=number) for number in range(int(span.total_seconds()) // 60 + 1)]
    return Rates(
        minutes=minutes,
        published=_series(minutes, ((row.type, row.minute, row.published) for row in rows if row.group_name == "")),
        handled=_series(minutes, ((row.group_name, row.minute, row.consumed) for row in rows if row.group_name)),
        failed=_series(minutes, ((row.group_name, row.minute, row.failed) for row in failures)),
    )


def _series(minutes: Sequence[datetime], found: Iterable[tuple[str, datetime, int]]) -> dict[str, list[int]]:
    places = {minute: place for place, minute in enumerate(minutes)}
    series: dict[str, list[int]] = {}
    for name, minute, count in found:
        place = places.get(minute)
        # A host's clock may be ahead of the first statement's by a moment, and so may a minute.
        if place is not None:
            series.setdefault(name, [0] * len(minutes))[place] += count
    return series
