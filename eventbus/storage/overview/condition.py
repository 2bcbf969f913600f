"""Condition: what a check-up reads beside the numbers: who keeps vacuum from its work, where the partitions end, which clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from eventbus.storage import repairs, replay_selection, workers
from eventbus.storage.database import Connection
from eventbus.storage.latecomers import BACKEND, PREPARED
from eventbus.storage.overview import count_dead, count_parked
from eventbus.storage.overview.groups import GroupState, Wish, read_groups, read_wishes
from eventbus.storage.repairs import Repairs
from eventbus.storage.values import as_utc
from eventbus.storage.workers import Seen

# Since when another role's transaction is open not everybody may see: what has no age is left out. For a vacuum no other waits, and
# for a parallel worker whoever waits for its leader.
SNAPSHOTS = f"""
SELECT holder, age FROM (
    SELECT {BACKEND} AS holder, clock_timestamp() - COALESCE(xact_start, backend_start) AS age
    FROM pg_stat_activity
    WHERE datname = current_database() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
    AND COALESCE(backend_type, '') NOT IN ('parallel worker', 'autovacuum worker')
    AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)
    UNION ALL
    SELECT {PREPARED}, clock_timestamp() - prepared FROM pg_prepared_xacts
    WHERE database = current_database()
) AS held WHERE age IS NOT NULL ORDER BY age DESC LIMIT 1
"""
CLOCK = "SELECT clock_timestamp()"
SERVER = "SELECT current_setting('server_version') AS version, clock_timestamp() AS asked_at"
PARTITIONS = """
SELECT to_regclass('eventbus.event_log_' || to_char((now() + interval '168 hours') AT TIME ZONE 'UTC', 'IYYY_IW')) IS NOT NULL
       AS has_next,
       EXISTS (SELECT FROM eventbus.event_log_default) OR EXISTS (SELECT FROM eventbus.delivery_default) AS has_strays
"""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The oldest transaction that keeps vacuum from removing dead rows."""

    #: Who holds it.
    holder: str
    age: timedelta


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What a check-up looks at."""

    #: As PostgreSQL tells it.
    server_version: str
    #: When the database said so, by its own clock.
    asked_at: datetime
    groups: Sequence[GroupState]
    wishes: Sequence[Wish]
    workers: Sequence[Seen]
    #: All types in the log.
    types: Sequence[str]
    #: Open dead letters by type and group.
    dead: dict[tuple[str, str], int]
    #: Deliveries that wait for code that can read them, by group.
    parked: dict[str, int]
    repairs: dict[str, Repairs]
    #: None while nobody holds any.
    snapshot: Snapshot | None
    #: There is a partition for the week to come.
    has_next_partition: bool
    #: Events lie in the default partition.
    has_strays: bool


def read_clock(connection: Connection) -> datetime:
    """The database's now."""
    return as_utc(connection.value(CLOCK))


def read_snapshot(connection: Connection) -> Snapshot | None:
    """The oldest of them; None while nobody holds any."""
    row = connection.row(SNAPSHOTS)
    return None if row is None else Snapshot(holder=row.holder, age=row.age)


def read_condition(connection: Connection) -> Condition:
    """All of it; each part as of its own moment."""
    partitions = connection.row(PARTITIONS)
    server = connection.row(SERVER)
    assert partitions is not None
    assert server is not None
    return Condition(
        server_version=server.version,
        asked_at=as_utc(server.asked_at),
        groups=read_groups(connection),
        wishes=read_wishes(connection),
        workers=workers.list_live(connection),
        types=replay_selection.list_types(connection),
        dead=count_dead(connection),
        parked=count_parked(connection),
        repairs=repairs.read(connection),
        snapshot=read_snapshot(connection),
        has_next_partition=partitions.has_next,
        has_strays=partitions.has_strays,
    )
