"""Audit: what operators changed. An entry is written before the change, so that one that was cut short is seen as begun."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc, as_utc_or_none
from eventbus.wire import canonical, decode

BEGIN = """
INSERT INTO eventbus.audit (who, action, filter, asked) VALUES (:who, :action, CAST(:filter AS jsonb), :asked) RETURNING id
"""
END = """
UPDATE eventbus.audit SET changed = :changed, result = :result, ended_at = clock_timestamp() WHERE id = :id
"""
LIST = """
SELECT id, who, action, CAST(filter AS text) AS filter, asked, changed, result, began_at, ended_at
FROM eventbus.audit WHERE id < :before
AND (CAST(:who AS text) IS NULL OR who = :who)
AND (CAST(:action AS text) IS NULL OR action = :action OR starts_with(action, :action || ' '))
AND (CAST(:group AS text) IS NULL OR filter ->> 'group' = :group OR filter -> 'groups' ? :group)
AND (CAST(:result AS text) IS NULL OR result = :result OR starts_with(result, :result || ':'))
AND (CAST(:since AS timestamptz) IS NULL OR began_at >= CAST(:since AS timestamptz))
AND (CAST(:until AS timestamptz) IS NULL OR began_at < CAST(:until AS timestamptz))
ORDER BY id DESC LIMIT :limit
"""
_LAST = (1 << 63) - 1


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One change."""

    id: int
    #: user@host, or whom a program names.
    who: str
    action: str
    #: What it was about.
    filter: Mapping[str, Any]
    #: How many rows were shown to be meant; None if nobody counted.
    asked: int | None
    #: How many were changed.
    changed: int | None
    #: ``began``, ``done``, or what ended it.
    result: str
    began_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which entries; None asks for all."""

    who: str | None = None
    #: Or the first word of it.
    action: str | None = None
    #: One of its groups.
    group: str | None = None
    #: Or what stands before its colon.
    result: str | None = None
    #: When it began.
    since: datetime | None = None
    until: datetime | None = None


def begin(connection: Connection, *, who: str, action: str, filter: Mapping[str, Any], asked: int | None) -> int:
    """Write that a change begins; the entry's id."""
    return int(connection.value(BEGIN, who=who, action=action, filter=canonical(dict(filter)), asked=asked))


def end(connection: Connection, id: int, *, changed: int | None, result: str) -> None:
    """Write how the change ended."""
    connection.change(END, id=id, changed=changed, result=result)


def list_newest(connection: Connection, wanted: Wanted, *, before: int | None, limit: int) -> list[Entry]:
    """Up to *limit* entries that are *wanted*, with an id below *before*, newest first."""
    rows = connection.rows(LIST, before=_LAST if before is None else before, limit=limit, **vars(wanted))
    return [
        Entry(
            id=row.id,
            who=row.who,
            action=row.action,
            filter=decode(row.filter),
            asked=row.asked,
            changed=row.changed,
            result=row.result,
            began_at=as_utc(row.began_at),
            ended_at=as_utc_or_none(row.ended_at),
        )
        for row in rows
    ]
