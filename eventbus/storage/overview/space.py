"""Space: how large the tables are, what vacuum has left to do in them, and who keeps it from that."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from eventbus.storage.database import Connection
from eventbus.storage.overview.condition import Snapshot, read_snapshot
from eventbus.storage.values import as_utc_or_none

# Rows are the server's own estimates: nothing is counted.
PARTS = """
SELECT COALESCE(parent.relname, part.relname) AS table_name, part.relname AS name, pg_table_size(part.oid) AS table_bytes,
       pg_indexes_size(part.oid) AS index_bytes, COALESCE(pg_stat_get_live_tuples(part.oid), 0) AS live_rows,
       COALESCE(pg_stat_get_dead_tuples(part.oid), 0) AS dead_rows,
       GREATEST(pg_stat_get_last_vacuum_time(part.oid), pg_stat_get_last_autovacuum_time(part.oid)) AS vacuumed_at
FROM pg_class AS part
LEFT JOIN pg_inherits AS link ON link.inhrelid = part.oid
LEFT JOIN pg_class AS parent ON parent.oid = link.inhparent
WHERE part.relkind = 'r'
AND part.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = CAST('eventbus.event_log' AS regclass))
ORDER BY 1, 2
"""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A table without partitions, or one partition."""

    name: str
    #: With what is stored out of line.
    table_bytes: int
    index_bytes: int
    #: As the server estimates them.
    live_rows: int
    #: Rows that vacuum has yet to remove, as the server estimates them.
    dead_rows: int
    #: By hand or by itself; None if never.
    vacuumed_at: datetime | None

    @property
    def bytes(self) -> int:
        return self.table_bytes + self.index_bytes


@dataclass(frozen=True, kw_only=True)
class TableSpace:
    """A table and its parts."""

    name: str
    #: By name; one of the table's own name if it has no partitions.
    parts: Sequence[Part]

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    @property
    def live_rows(self) -> int:
        return sum(part.live_rows for part in self.parts)

    @property
    def dead_rows(self) -> int:
        return sum(part.dead_rows for part in self.parts)

    @property
    def vacuumed_at(self) -> datetime | None:
        """The last time that any part was vacuumed."""
        return max((part.vacuumed_at for part in self.parts if part.vacuumed_at), default=None)


@dataclass(frozen=True, kw_only=True)
class Space:
    """The tables of a bus."""

    #: Largest first.
    tables: Sequence[TableSpace]
    #: Who keeps vacuum from removing dead rows; None while nobody does.
    snapshot: Snapshot | None

    @property
    def bytes(self) -> int:
        return sum(table.bytes for table in self.tables)


def read_space(connection: Connection) -> Space:
    """All of it."""
    parts: dict[str, list[Part]] = {}
    for row in connection.rows(PARTS):
        part = Part(
            name=row.name,
            table_bytes=row.table_bytes,
            index_bytes=row.index_bytes,
            live_rows=row.live_rows,
            dead_rows=row.dead_rows,
            vacuumed_at=as_utc_or_none(row.vacuumed_at),
        )
        parts.setdefault(row.table_name, []).append(part)
    tables = [TableSpace(name=name, parts=tuple(found)) for name, found in parts.items()]
    return Space(tables=sorted(tables, key=lambda table: -table.bytes), snapshot=read_snapshot(connection))
