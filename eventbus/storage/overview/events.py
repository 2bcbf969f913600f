"""Events as an operator looks for them: newest first, page by page, by the index that fits what is asked for.

    correlation id ─▶ its index    one type ─▶ (type, id)    few types ─▶ these merged by id    else ─▶ primary key

What no index knows (a field of the data, a group's state, one of many types) is looked at event by event. A page looks at no
more than `MOST_READ` events, and says how far it came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from eventbus.event import Event
from eventbus.storage.database import Connection
from eventbus.storage.event_log import event_from
from eventbus.storage.replay_selection import Bounds
from eventbus.storage.values import as_utc, as_uuid

#: A page looks at no more events.
MOST_READ = 10_000
#: Beyond so many types, one pass over the ids is cheaper than merging them.
_MERGED_TYPES = 16
_LAST_ID = UUID(int=(1 << 128) - 1)

_RANGE = """
e.id < CAST(:before AS uuid) AND e.id >= CAST(:first AS uuid) AND e.id <= CAST(:last AS uuid)
AND (CAST(:since AS timestamptz) IS NULL OR e.created_at >= CAST(:since AS timestamptz))
AND (CAST(:until AS timestamptz) IS NULL OR e.created_at < CAST(:until AS timestamptz))
"""
_OF = "SELECT e.* FROM eventbus.event_log AS e WHERE {condition} AND " + _RANGE + " ORDER BY e.id DESC LIMIT :reads"
_OF_CORRELATION = _OF.format(condition="e.metadata ->> 'correlation_id' = :correlation")
_OF_TYPE = _OF.format(condition="e.type = :type")
_OF_ALL = _OF.format(condition="true")
_HAS_TYPE = "c.type = ANY (CAST(:types AS text[]))"
# EXISTS would say the same, and could be turned into a join that reads all deliveries.
_HAS_DELIVERY = """
COALESCE((SELECT true FROM eventbus.delivery AS d WHERE d.event_id = c.id
          AND (CAST(:group AS text) IS NULL OR d.group_name = :group)
          AND (CAST(:state AS text) IS NULL OR d.state = :state)
          AND (CAST(:error AS text) IS NULL OR strpos(d.last_error, :error) > 0) LIMIT 1), false)
"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which events; what is None or empty asks for all."""

    bounds: Bounds
    #: Those types that a pattern meant; one is found by index.
    types: Sequence[str] | None = None
    correlation_id: str | None = None
    #: A group that has a delivery of the event.
    group: str | None = None
    #: The state of such a delivery.
    state: str | None = None
    #: A part of such a delivery's last error.
    error: str | None = None
    #: The text of values in the data, by the words of their path.
    data: Mapping[tuple[str, ...], str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EventPage:
    """Some events, newest first."""

    items: tuple[Event, ...]
    #: Pass it as ``cursor`` for the next page; None after the last one.
    next: UUID | None
    #: How many events were looked at, if the page ended before it was full because they were too many.
    looked_at: int | None = None
    #: When the last one that was looked at was published.
    looked_until: datetime | None = None


def list_events(
    connection: Connection, wanted: Wanted, *, before: UUID | None, limit: int, most_read: int | None = None
) -> EventPage:
    """Up to *limit* events with an id below *before*, newest first; at most *most_read* are looked at, or `MOST_READ`."""
    source, conditions = _access(wanted)
    reads = (most_read or MOST_READ) if conditions else limit + 1
    parameters = _parameters(wanted, before=before or _LAST_ID, reads=reads)
    statement = page_statement(source, conditions)
    found = [event_from(row) for row in connection.rows(statement, limit=limit + 1, **parameters)]
    if len(found) > limit:
        return EventPage(items=tuple(found[:limit]), next=found[limit - 1].id)
    if not conditions:
        return EventPage(items=tuple(found), next=None)
    looked = connection.row(f"SELECT count(*) AS events, {_LOWEST} FROM ({source}) AS c", **parameters)
    assert looked is not None
    if looked.events < reads:
        return EventPage(items=tuple(found), next=None)
    return EventPage(
        items=tuple(found),
        next=as_uuid(looked.id),
        looked_at=looked.events,
        looked_until=as_utc(looked.created_at),
    )


# ``min`` of uuids came with PostgreSQL 18.
_LOWEST = "(array_agg(c.id ORDER BY c.id))[1] AS id, (array_agg(c.created_at ORDER BY c.id))[1] AS created_at"


def page_statement(source: str, conditions: Sequence[str]) -> str:
    """The text that reads *source* until enough rows satisfy all *conditions*."""
    return f"""
SELECT c.id, c.type, c.version, c.source, CAST(c.data AS text) AS data, CAST(c.metadata AS text) AS metadata, c.created_at
FROM ({source}) AS c WHERE {" AND ".join(["true", *conditions])} ORDER BY c.id DESC LIMIT :limit
"""


def _access(wanted: Wanted) -> tuple[str, list[str]]:
    """Where to read, and what to look at in each row that is read."""
    conditions = [f"c.data #>> CAST(:path{number} AS text[]) = :value{number}" for number in range(len(wanted.data))]
    if any((wanted.group, wanted.state, wanted.error)):
        conditions.append(_HAS_DELIVERY)
    if wanted.types is not None and len(wanted.types) == 1 and wanted.correlation_id is None:
        return _OF_TYPE, conditions
    if wanted.types is not None and not conditions and len(wanted.types) <= _MERGED_TYPES and not wanted.correlation_id:
        return _of_few(len(wanted.types)), conditions
    if wanted.types is not None:
        conditions.append(_HAS_TYPE)
    return _OF_ALL if wanted.correlation_id is None else _OF_CORRELATION, conditions


def _of_few(types: int) -> str:
    """Each type's newest, merged. One part for each: a type that is a parameter, not a column, is known to be rare or not."""
    if not types:
        return _OF.format(condition="false")
    parts = (f"({_OF.format(condition=f'e.type = :type{number}')})" for number in range(types))
    return f"SELECT next.* FROM ({' UNION ALL '.join(parts)}) AS next ORDER BY next.id DESC LIMIT :reads"


def _parameters(wanted: Wanted, *, before: UUID, reads: int) -> dict[str, Any]:
    types = list(wanted.types or ())
    data = {f"path{number}": list(path) for number, path in enumerate(wanted.data)}
    values = {f"value{number}": value for number, value in enumerate(wanted.data.values())}
    return {
        "before": str(before),
        "first": str(wanted.bounds.first_id),
        "last": str(wanted.bounds.last_id),
        "since": wanted.bounds.since,
        "until": wanted.bounds.until,
        "reads": reads,
        "types": types,
        "type": types[0] if types else None,
        "correlation": wanted.correlation_id,
        "group": wanted.group,
        "state": wanted.state,
        "error": wanted.error,
        **{f"type{number}": type for number, type in enumerate(types)},
        **data,
        **values,
    }
