"""Bulk: a batch of events, their deliveries and their idempotency keys are recorded by one statement, all or nothing.

    item ─▶ taken: keys, or a refusal ─▶ fresh: all items but those whose key an earlier event holds; none after a refusal
                                           ├─▶ event_log
                                           └─▶ delivery, for each group that is subscribed at this moment

Ids rise in the order of the batch: the n-th event gets the statement's time and n microseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row

from eventbus.storage.database import Connection
from eventbus.storage.event_log import Entry, Recorded
from eventbus.storage.preparing import Hot
from eventbus.storage.publish_keys import KEPT
from eventbus.storage.values import as_utc, as_uuid
from eventbus.subscription import candidates
from eventbus.wire import decode, encode_again

# The token comes first, so that it is in what pg_stat_activity shows of a long statement. Each column of the batch is one text, a
# line for each item: taken apart in a fraction of the time of JSON, in which data would be a text within a text, or be taken apart
# twice. OFFSET keeps subscriptions from being read before it is known which patterns are wanted.
APPEND = Hot("""
WITH clock AS MATERIALIZED (
    SELECT CAST(:token AS uuid) AS token,
           GREATEST(clock_timestamp(), CAST(:after AS timestamptz) + interval '1 microsecond') AS at
), item AS MATERIALIZED (
    SELECT given.n, given.type, CAST(given.version AS integer) AS version, given.source, given.data, given.metadata,
           given.key, decode(given.digest, 'hex') AS digest, clock.at + (given.n - 1) * interval '1 microsecond' AS at,
           eventbus.uuid_v7(clock.at + (given.n - 1) * interval '1 microsecond', CAST(given.random AS uuid)) AS id
    FROM clock CROSS JOIN ROWS FROM (
        string_to_table(CAST(:randoms AS text), chr(10)), string_to_table(CAST(:types AS text), chr(10)),
        string_to_table(CAST(:versions AS text), chr(10)), string_to_table(CAST(:sources AS text), chr(10)),
        string_to_table(CAST(:data AS text), chr(10)), string_to_table(CAST(:metadata AS text), chr(10)),
        string_to_table(CAST(:keys AS text), chr(10), ''), string_to_table(CAST(:digests AS text), chr(10), '')
    ) WITH ORDINALITY AS given (random, type, version, source, data, metadata, key, digest, n)
), taken AS MATERIALIZED (
    SELECT key.* FROM (
        SELECT array_agg(source) AS sources, array_agg(key) AS keys, array_agg(digest) AS digests, array_agg(id) AS ids,
               min(at) AS at
        FROM item WHERE key IS NOT NULL HAVING count(*) > 0
    ) AS wanted
    CROSS JOIN LATERAL eventbus.take_keys(
        wanted.sources, wanted.keys, wanted.digests, wanted.ids, wanted.at, CAST(:kept AS interval), CAST(:patience AS text)
    ) AS key
), fresh AS MATERIALIZED (
    SELECT item.* FROM item
    WHERE NOT EXISTS (SELECT FROM taken WHERE refusal IS NOT NULL)
    AND (item.key IS NULL OR item.id IN (SELECT holder FROM taken))
), event AS (
    INSERT INTO eventbus.event_log (id, type, version, source, data, metadata, created_at)
    SELECT id, type, version, source, CAST(data AS jsonb), CAST(metadata AS jsonb), at FROM fresh ORDER BY n
), chosen AS (
    SELECT DISTINCT ON (given.type, s.group_name) given.type, s.group_name, s.id
    FROM jsonb_to_recordset(CAST(:wanted AS jsonb)) AS given (type text, patterns text[])
    CROSS JOIN LATERAL (
        SELECT * FROM eventbus.subscription WHERE pattern = ANY (given.patterns) AND removed_at IS NULL OFFSET 0
    ) AS s
    ORDER BY given.type, s.group_name, s.last_seen_at DESC, s.id DESC
), owed AS (
    INSERT INTO eventbus.delivery (event_id, group_name, subscription_id, due_at)
    SELECT fresh.id, chosen.group_name, chosen.id, fresh.at FROM fresh JOIN chosen ON chosen.type = fresh.type
    ORDER BY fresh.n, chosen.group_name
)
SELECT clock.at, (SELECT encode(string_agg(uuid_send(id), '' ORDER BY n), 'hex') FROM item) AS ids,
       CAST((SELECT jsonb_object_agg(type, groups) FROM (
           SELECT type, array_agg(group_name ORDER BY group_name) AS groups FROM chosen GROUP BY type) AS by_type
       ) AS text) AS groups,
       CAST((SELECT jsonb_agg(jsonb_build_object('n', item.n - 1, 'holder', taken.holder, 'refusal', taken.refusal))
             FROM taken JOIN item ON item.id = taken.id WHERE taken.holder IS DISTINCT FROM taken.id) AS text) AS others
FROM clock
""")
# Events made a minute before the attempt are none of it, whatever their correlation id.
FIND_RECORDED = """
SELECT wanted.n, e.id, e.created_at,
       ARRAY(SELECT d.group_name FROM eventbus.delivery AS d WHERE d.event_id = e.id ORDER BY 1) AS groups
FROM unnest(CAST(:tokens AS uuid[]), CAST(:correlation_ids AS text[])) WITH ORDINALITY AS wanted (token, correlation_id, n)
JOIN eventbus.event_log AS e ON e.metadata ->> 'correlation_id' = wanted.correlation_id
    AND substring(uuid_send(e.id) FROM 9) = substring(uuid_send(wanted.token) FROM 9)
WHERE e.id >= eventbus.uuid_floor(clock_timestamp() - CAST(:age AS interval) - interval '1 minute')
"""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why nothing of a batch was recorded."""

    #: ``conflict``, ``busy``, ``unseen`` or ``outdated``, as `take_keys` has it.
    reason: str
    #: The item whose key it is about; unless it is a ``conflict``, one of those that it may be about.
    position: int
    #: The event that has the key.
    holder: UUID | None


@dataclass(frozen=True, kw_only=True)
class Appended:
    """What became of a batch."""

    #: What was recorded, by its position in the batch and in that order.
    recorded: dict[int, Recorded]
    #: The event that has the item's key already, by the item's position.
    holders: dict[int, UUID]
    refusal: Refusal | None = None


def append(
    connection: Connection, entries: Sequence[Entry], *, patience: timedelta, after: datetime | None = None
) -> Appended:
    """Record *entries* and a delivery of each for every group subscribed to its type at this moment.

    Args:
        connection: Written to, never committed.
        entries: At least one; no two with the same source and key.
        patience: How long to wait for another transaction that uses one of the keys.
        after: All ids will be later than this time.
    """
    row = connection.row(
        APPEND,
        token=entries[0].token,
        after=after,
        **_columns(entries),
        wanted=_wanted(entries),
        kept=KEPT,
        patience=f"{round(patience.total_seconds() * 1000)}ms",
    )
    assert row is not None
    others = decode(row.others) if row.others else []
    for other in others:
        if other["refusal"]:
            holder = other["holder"]
            refusal = Refusal(reason=other["refusal"], position=other["n"], holder=holder and as_uuid(holder))
            return Appended(recorded={}, holders={}, refusal=refusal)
    holders = {other["n"]: as_uuid(other["holder"]) for other in others}
    return Appended(recorded=_recorded(row, entries, without=holders), holders=holders)


def find_recorded(connection: Connection, entries: Sequence[Entry], *, age: timedelta) -> dict[int, Recorded]:
    """Those of *entries* that are in the log, by position.

    Args:
        age: How long ago the attempt to record them began.
    """
    rows = connection.rows(
        FIND_RECORDED,
        tokens=[entry.token for entry in entries],
        correlation_ids=[entry.metadata["correlation_id"] for entry in entries],
        age=age,
    )
    return {
        row.n - 1: entries[row.n - 1].recorded(as_uuid(row.id), as_utc(row.created_at), tuple(row.groups))
        for row in rows
    }


def _columns(entries: Sequence[Entry]) -> dict[str, str]:
    """What is recorded of *entries*, a text with a line for each; neither JSON as it is encoded nor a name holds line breaks."""
    has_keys = any(entry.digest is not None for entry in entries)
    return {
        "randoms": "\n".join([entry.token for entry in entries]),
        "types": "\n".join([entry.type for entry in entries]),
        # A whole number of a class of its own may call itself something else.
        "versions": "\n".join([str(int(entry.version)) for entry in entries]),
        "sources": "\n".join([entry.source for entry in entries]),
        "data": b"\n".join([entry.data for entry in entries]).decode(),
        "metadata": b"\n".join([encode_again(entry.metadata) for entry in entries]).decode(),
        "keys": "\n".join([entry.key or "" for entry in entries]) if has_keys else "",
        "digests": "\n".join([entry.digest.hex() if entry.digest else "" for entry in entries]) if has_keys else "",
    }


def _wanted(entries: Sequence[Entry]) -> str:
    types = {entry.type for entry in entries}
    return orjson.dumps([{"type": type, "patterns": list(candidates(type))} for type in sorted(types)]).decode()


def _recorded(row: Row[Any], entries: Sequence[Entry], *, without: dict[int, UUID]) -> dict[int, Recorded]:
    at, ids = as_utc(row.at), row.ids
    groups = {type: tuple(names) for type, names in decode(row.groups or "{}").items()}
    return {
        n: entry.recorded(
            UUID(int=int(ids[32 * n : 32 * n + 32], 16)), at + timedelta(0, 0, n), groups.get(entry.type, ())
        )
        for n, entry in enumerate(entries)
        if n not in without
    }
