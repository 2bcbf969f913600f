"""The schema registry: every version of every event type, as the whole team has declared it.

A version keeps its wire form for ever; its words may change. ``revision`` is drawn under a lock on the table, so it rises with
every commit: whoever has seen one number and sees it again has missed nothing.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc, as_utc_or_none
from eventbus.subscription import candidates
from eventbus.wire import canonical, decode

# Keeps writers apart until the transaction ends, and lets readers pass.
LOCK = "LOCK TABLE eventbus.event_schema IN SHARE ROW EXCLUSIVE MODE"
REVISION = "SELECT coalesce(max(revision), 0) FROM eventbus.event_schema"
LIST = """
SELECT type, version, CAST(json_schema AS text) AS json_schema, wire_fingerprint, text_fingerprint, compatibility, owner,
       description, deprecation, changelog, CAST(accepted AS text) AS accepted, registered_by, registered_at, updated_at, retired_at
FROM eventbus.event_schema
WHERE CAST(:types AS text[]) IS NULL OR type = ANY (CAST(:types AS text[]))
ORDER BY type, version
"""
# What one service leaves unsaid, another may have said.
WRITE = """
INSERT INTO eventbus.event_schema AS s (type, version, json_schema, wire_fingerprint, text_fingerprint, compatibility, owner,
                                        description, deprecation, changelog, accepted, registered_by, revision)
VALUES (:type, :version, CAST(:json_schema AS json), :wire_fingerprint, :text_fingerprint, :compatibility, :owner,
        :description, :deprecation, :changelog, CAST(:accepted AS jsonb), :registered_by,
        (SELECT coalesce(max(revision), 0) + 1 FROM eventbus.event_schema))
ON CONFLICT (type, version) DO UPDATE
SET json_schema = excluded.json_schema, text_fingerprint = excluded.text_fingerprint, compatibility = excluded.compatibility,
    owner = coalesce(excluded.owner, s.owner), description = coalesce(excluded.description, s.description),
    deprecation = coalesce(excluded.deprecation, s.deprecation), changelog = coalesce(excluded.changelog, s.changelog),
    accepted = s.accepted || excluded.accepted, updated_at = clock_timestamp(), revision = excluded.revision
WHERE s.wire_fingerprint = excluded.wire_fingerprint
"""
RETIRE = """
UPDATE eventbus.event_schema
SET retired_at = clock_timestamp(), updated_at = clock_timestamp(),
    revision = (SELECT max(revision) + 1 FROM eventbus.event_schema)
WHERE type = :type AND version = :version AND retired_at IS NULL
"""
READERS = """
SELECT group_name, CAST(reads AS text) AS reads, version FROM (
    SELECT DISTINCT ON (group_name) group_name, reads, version FROM eventbus.subscription
    WHERE pattern = ANY (CAST(:patterns AS text[])) AND removed_at IS NULL
    ORDER BY group_name, last_seen_at DESC, id DESC
) AS chosen ORDER BY group_name
"""
ALL_READERS = """
SELECT group_name, pattern, CAST(reads AS text) AS reads, version FROM eventbus.subscription
WHERE removed_at IS NULL ORDER BY group_name, pattern
"""


@dataclass(frozen=True, kw_only=True)
class StoredSchema:
    """One version of one event type, as the database has it."""

    type: str
    version: int
    json_schema: Mapping[str, Any]
    wire_fingerprint: str
    text_fingerprint: str
    #: The mode it was declared with; the newest version's is that of the type.
    compatibility: str
    owner: str | None = None
    description: str | None = None
    #: Why it should not be published any more; None if it may.
    deprecation: str | None = None
    #: What changed against the version before.
    changelog: str | None = None
    #: Problems that somebody accepted when it was registered.
    accepted: Sequence[Mapping[str, str]] = ()
    registered_by: str = ""
    registered_at: datetime | None = None
    updated_at: datetime | None = None
    #: It may not be published any more, and nothing is checked against it.
    is_retired: bool = False
    retired_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A group that is subscribed to a type, and what it says of its reading."""

    group: str
    reads: Mapping[str, Any] | None
    version: int | None


@dataclass(frozen=True, kw_only=True)
class PatternReader(Reader):
    """A subscription, and what its group says of its reading."""

    pattern: str


def lock(connection: Connection) -> None:
    """Keep others from changing any schema until the transaction ends."""
    connection.change(LOCK)


def newest_revision(connection: Connection) -> int:
    """A number that rises with every change of any schema."""
    return int(connection.value(REVISION))


def list_schemas(connection: Connection, types: Iterable[str] | None = None) -> list[StoredSchema]:
    """All versions of *types*, or of all types, by type and version."""
    return [_stored(row) for row in connection.rows(LIST, types=None if types is None else list(types))]


def write(connection: Connection, schema: StoredSchema) -> bool:
    """Add a version, or rewrite its words; False if it is there with another wire form. Asks for `lock` before."""
    written = connection.change(
        WRITE,
        type=schema.type,
        version=schema.version,
        json_schema=canonical(schema.json_schema),
        wire_fingerprint=schema.wire_fingerprint,
        text_fingerprint=schema.text_fingerprint,
        compatibility=schema.compatibility,
        owner=schema.owner,
        description=schema.description,
        deprecation=schema.deprecation,
        changelog=schema.changelog,
        accepted=canonical([dict(each) for each in schema.accepted]),
        registered_by=schema.registered_by,
    )
    return written == 1


def retire(connection: Connection, type: str, version: int) -> bool:
    """Take a version out of use for good; False if it is not in use. Asks for `lock` before."""
    return connection.change(RETIRE, type=type, version=version) == 1


def list_all_readers(connection: Connection) -> list[PatternReader]:
    """What every group that is subscribed says of its reading, by group and pattern."""
    return [
        PatternReader(
            group=row.group_name,
            pattern=row.pattern,
            reads=None if row.reads is None else decode(row.reads),
            version=row.version,
        )
        for row in connection.rows(ALL_READERS)
    ]


def list_readers(connection: Connection, type: str) -> list[Reader]:
    """The groups that an event of *type* would go to now, by name."""
    rows = connection.rows(READERS, patterns=list(candidates(type)))
    return [
        Reader(group=row.group_name, reads=None if row.reads is None else decode(row.reads), version=row.version)
        for row in rows
    ]


def _stored(row: Row[Any]) -> StoredSchema:
    return StoredSchema(
        type=row.type,
        version=row.version,
        # Not by `decode`: a schema may name a number of any size.
        json_schema=json.loads(row.json_schema),
        wire_fingerprint=row.wire_fingerprint,
        text_fingerprint=row.text_fingerprint,
        compatibility=row.compatibility,
        owner=row.owner,
        description=row.description,
        deprecation=row.deprecation,
        changelog=row.changelog,
        accepted=tuple(decode(row.accepted)),
        registered_by=row.registered_by,
        registered_at=as_utc(row.registered_at),
        updated_at=as_utc(row.updated_at),
        is_retired=row.retired_at is not None,
        retired_at=as_utc_or_none(row.retired_at),
    )
