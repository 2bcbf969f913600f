"""Which events a replay is about: read from the log in order of their ids, by the index that fits what was asked for.

    event ids ─▶ primary key    correlation id ─▶ its index    types ─▶ (type, id), each type's next ones merged by id

Many types with many events are read in one pass over the ids instead: merging would read each type's next ones for each batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from eventbus.delivery import State
from eventbus.replay import Selection
from eventbus.storage.database import Connection
from eventbus.storage.values import as_texts, as_utc_or_none, as_uuid
from eventbus.subscription import matches
from eventbus.times import Moment

#: Beyond both of these, one pass over the ids is cheaper than merging types.
_MERGED_TYPES = 16
_MERGED_EVENTS = 50_000

# ``max`` of uuids came with PostgreSQL 18. A millisecond more, for an id tells its event's time no finer; the exact times are
# compared too.
RESOLVE = """
WITH asked AS (
    SELECT coalesce(CAST(:since AS timestamptz), at - CAST(:since_ago AS interval)) AS since,
           coalesce(CAST(:until AS timestamptz), at - CAST(:until_ago AS interval)) AS until
    FROM (SELECT clock_timestamp() AS at) AS clock
), newest AS (
    SELECT coalesce((SELECT id FROM eventbus.event_log ORDER BY id DESC LIMIT 1),
                    '00000000-0000-0000-0000-000000000000') AS id
)
SELECT asked.since, asked.until,
       CASE WHEN asked.since IS NULL THEN '00000000-0000-0000-0000-000000000000'
            ELSE eventbus.uuid_floor(greatest(asked.since, 'epoch')) END AS first_id,
       CASE WHEN asked.until IS NULL THEN newest.id
            ELSE least(newest.id, eventbus.uuid_floor(greatest(asked.until, 'epoch') + interval '1 millisecond')) END AS last_id
FROM asked CROSS JOIN newest
"""
# One step in the index for each type, whatever the number of events.
TYPES = """
WITH RECURSIVE found AS (
    (SELECT type FROM eventbus.event_log ORDER BY type LIMIT 1)
    UNION ALL
    SELECT (SELECT e.type FROM eventbus.event_log AS e WHERE e.type > found.type ORDER BY e.type LIMIT 1)
    FROM found WHERE found.type IS NOT NULL
)
SELECT type FROM found WHERE type IS NOT NULL
"""
_RANGE = """
e.id > CAST(:after AS uuid) AND e.id <= CAST(:last AS uuid)
AND (CAST(:since AS timestamptz) IS NULL OR e.created_at >= CAST(:since AS timestamptz))
AND (CAST(:until AS timestamptz) IS NULL OR e.created_at < CAST(:until AS timestamptz))
"""
_OF_IDS = f"""
e.id = ANY (CAST(:ids AS uuid[])) AND {_RANGE}
AND (CAST(:correlation AS text) IS NULL OR e.metadata ->> 'correlation_id' = :correlation)
"""
_OF_CORRELATION = f"e.metadata ->> 'correlation_id' = :correlation AND {_RANGE}"
_OF_TYPES = f"e.type = ANY (CAST(:types AS text[])) AND {_RANGE}"
NEXT_OF_IDS = f"SELECT e.id, e.type FROM eventbus.event_log AS e WHERE {_OF_IDS} ORDER BY e.id"
NEXT_OF_CORRELATION = (
    f"SELECT e.id, e.type FROM eventbus.event_log AS e WHERE {_OF_CORRELATION} ORDER BY e.id LIMIT :limit"
)
NEXT_OF_MANY_TYPES = f"SELECT e.id, e.type FROM eventbus.event_log AS e WHERE {_OF_TYPES} ORDER BY e.id LIMIT :limit"
NEXT_OF_TYPES = f"""
SELECT next.id, next.type FROM unnest(CAST(:types AS text[])) AS wanted (type)
CROSS JOIN LATERAL (
    SELECT e.id, e.type FROM eventbus.event_log AS e WHERE e.type = wanted.type AND {_RANGE} ORDER BY e.id LIMIT :limit
) AS next
ORDER BY next.id LIMIT :limit
"""
_COUNT = """
SELECT type, state, discarded, count(*) AS deliveries FROM (
    SELECT e.type, d.state, d.state = 'cancelled' AND EXISTS (
        SELECT FROM eventbus.dead_letter AS l
        WHERE l.event_id = d.event_id AND l.group_name = d.group_name AND l.status = 'discarded') AS discarded
    FROM eventbus.event_log AS e
    LEFT JOIN eventbus.delivery AS d ON d.event_id = e.id AND d.group_name = :group AND d.event_id > CAST(:after AS uuid)
                                     AND d.event_id <= CAST(:last AS uuid)
    WHERE {events}
) AS found
GROUP BY type, state, discarded
"""
COUNT_OF_IDS = _COUNT.format(events=_OF_IDS)
COUNT_OF_CORRELATION = _COUNT.format(events=_OF_CORRELATION)
COUNT_OF_TYPES = _COUNT.format(events=_OF_TYPES)
COUNT_EVENTS = f"SELECT count(*) FROM eventbus.event_log AS e WHERE {_OF_TYPES}"


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """When and where in the log a window begins and ends."""

    since: datetime | None
    until: datetime | None
    first_id: UUID
    last_id: UUID


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """An event to be replayed."""

    id: UUID
    type: str


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many events of one type have deliveries that stand alike."""

    type: str
    #: None where the group has no delivery of them.
    state: State | None
    #: They are cancelled because their dead letters were discarded.
    discarded: bool
    count: int


def resolve_bounds(connection: Connection, *, since: Moment | None, until: Moment | None) -> Bounds:
    """The bounds that *since* and *until* mean at this moment, by the database's clock."""
    row = connection.row(RESOLVE, **_moment("since", since), **_moment("until", until))
    assert row is not None
    return Bounds(
        since=as_utc_or_none(row.since),
        until=as_utc_or_none(row.until),
        first_id=as_uuid(row.first_id),
        last_id=as_uuid(row.last_id),
    )


def list_types(connection: Connection) -> list[str]:
    """All types in the log, sorted."""
    return [row.type for row in connection.rows(TYPES)]


def matching_types(connection: Connection, pattern: str | None) -> tuple[str, ...] | None:
    """The type that *pattern* is, or the types in the log that it matches; None, as for ``#``, for all."""
    if pattern is None or pattern == "#":
        return None
    if not {"*", "#"} & set(pattern):
        return (pattern,)
    return tuple(type for type in list_types(connection) if matches(pattern, type))


def next_events(
    connection: Connection, selection: Selection, *, after: UUID, limit: int, expected: int
) -> list[Chosen]:
    """The next *limit* events of *selection* with ids beyond *after*, in order of their ids; fewer only at the end.

    Args:
        expected: About how many events there are in all.
    """
    parameters: dict[str, Any] = {"limit": limit, **_parameters(selection, after=after)}
    if selection.event_ids is not None:
        return _next_of_ids(connection, selection.event_ids, after, parameters)
    if selection.correlation_id is not None:
        statement = NEXT_OF_CORRELATION
    else:
        many = len(selection.types or ()) > _MERGED_TYPES and expected > _MERGED_EVENTS
        statement = NEXT_OF_MANY_TYPES if many else NEXT_OF_TYPES
    return _chosen(connection.rows(statement, **parameters))


def count_deliveries(connection: Connection, selection: Selection, *, group: str) -> list[Tally]:
    """How the deliveries of *group* stand for the events of *selection*; costs as much as there are events."""
    if selection.event_ids is not None:
        statement = COUNT_OF_IDS
    else:
        statement = COUNT_OF_TYPES if selection.correlation_id is None else COUNT_OF_CORRELATION
    rows = connection.rows(statement, group=group, **_parameters(selection, after=selection.first_id))
    return [
        Tally(
            type=row.type,
            state=None if row.state is None else State(row.state),
            discarded=bool(row.discarded),
            count=row.deliveries,
        )
        for row in rows
    ]


def count_events(connection: Connection, selection: Selection, types: Sequence[str]) -> int:
    """How many events of *types* lie within the bounds of *selection*."""
    parameters = {**_parameters(selection, after=selection.first_id), "types": list(types)}
    return int(connection.value(COUNT_EVENTS, **parameters))


def _next_of_ids(
    connection: Connection, event_ids: Sequence[UUID], after: UUID, parameters: dict[str, Any]
) -> list[Chosen]:
    """Until enough are found: some of the ids may name no event."""
    wanted = [id for id in event_ids if id > after]
    limit = parameters["limit"]
    found: list[Chosen] = []
    for start in range(0, len(wanted), limit):
        parameters["ids"] = as_texts(wanted[start : start + limit])
        found += _chosen(connection.rows(NEXT_OF_IDS, **parameters))
        if len(found) >= limit:
            break
    return found[:limit]


def _chosen(rows: Sequence[Any]) -> list[Chosen]:
    return [Chosen(id=as_uuid(row.id), type=row.type) for row in rows]


def _parameters(selection: Selection, *, after: UUID) -> dict[str, Any]:
    return {
        "after": str(after),
        "last": str(selection.last_id),
        "since": selection.since,
        "until": selection.until,
        "ids": as_texts(selection.event_ids or ()),
        "correlation": selection.correlation_id,
        "types": list(selection.types or ()),
    }


def _moment(name: str, moment: Moment | None) -> dict[str, Any]:
    is_relative = isinstance(moment, timedelta)
    return {name: None if is_relative else moment, f"{name}_ago": moment if is_relative else None}
