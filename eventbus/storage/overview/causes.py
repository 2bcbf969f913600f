"""Causes: how often dead letters of each fingerprint came lately, and what became of those that were retried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eventbus.delivery import State
from eventbus.storage.database import Connection

#: A trend is read from so many of a cause's newest letters: it costs the same however many there are.
MOST_READ = 200
#: Hours that a trend shows, the last one being now.
HOURS = 24

TREND = """
SELECT wanted.fingerprint, CAST(floor(extract(epoch FROM clock_timestamp() - recent.failed_at) / 3600) AS integer) AS hours_ago,
       count(*) AS letters
FROM unnest(CAST(:fingerprints AS text[])) AS wanted (fingerprint)
CROSS JOIN LATERAL (
    SELECT l.failed_at FROM eventbus.dead_letter AS l WHERE l.fingerprint = wanted.fingerprint ORDER BY l.id DESC LIMIT :most
) AS recent
WHERE recent.failed_at > clock_timestamp() - CAST(:hours AS integer) * interval '1 hour'
GROUP BY 1, 2
"""
FATES = """
SELECT l.id, l.status, d.state FROM eventbus.dead_letter AS l
LEFT JOIN eventbus.delivery AS d ON d.event_id = l.event_id AND d.group_name = l.group_name
WHERE l.id = ANY (CAST(:ids AS bigint[])) ORDER BY l.id
"""


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What became of a dead letter."""

    letter_id: int
    #: ``open``, ``retried`` or ``discarded``.
    status: str
    #: Of its delivery now; None if that is gone.
    state: State | None


def read_trends(connection: Connection, fingerprints: Sequence[str]) -> Mapping[str, list[int]]:
    """Dead letters of each fingerprint by the hour, oldest hour first, `HOURS` of them."""
    trends = {fingerprint: [0] * HOURS for fingerprint in fingerprints}
    for row in connection.rows(TREND, fingerprints=list(fingerprints), most=MOST_READ, hours=HOURS):
        # A clock that was set back leaves letters in the future: they are of this hour.
        trends[row.fingerprint][HOURS - 1 - max(row.hours_ago, 0)] += row.letters
    return trends


def read_fates(connection: Connection, letter_ids: Sequence[int]) -> list[Fate]:
    """What became of those of *letter_ids* that exist, by id."""
    rows = connection.rows(FATES, ids=list(letter_ids))
    return [
        Fate(letter_id=row.id, status=row.status, state=None if row.state is None else State(row.state)) for row in rows
    ]
