"""Evidence: what PostgreSQL says has happened. It is read through a connection of its own, past all code of the bus.

Each step of the story publishes under a correlation id of its own, its *story*, by which its events are found again.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Numeric, Select, Uuid, cast, column, create_engine, distinct, func, select, table, text
from sqlalchemy.dialects.postgresql import JSONB, REGCLASS

event_log = table(
    "event_log",
    *(column("id", Uuid), column("type"), column("data", JSONB), column("metadata", JSONB), column("created_at")),
    schema="eventbus",
)
delivery = table(
    "delivery",
    column("event_id", Uuid),
    column("group_name"),
    column("state"),
    column("finished_at"),
    schema="eventbus",
)
dead_letter = table("dead_letter", column("event_id", Uuid), column("group_name"), column("status"), schema="eventbus")
replay = table("replay", column("id", Uuid), schema="eventbus")
attempt = table("attempt", column("event_id", Uuid), column("group_name"), column("failed_at"), schema="eventbus")
pg_locks = table("pg_locks", column("relation"), column("granted"))

#: What the sample services leave behind, in tables of their own.
effects = {
    name: table(name, column("event_id", Uuid), schema="sample")
    for name in ("reservation", "email", "sale", "received")
}


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """An event, as a handler saw it."""

    type: str
    source: str
    canonical: str


class Evidence:
    """Figures from the database at a URL."""

    def __init__(self, database_url: str) -> None:
        self.engine: Engine = create_engine(database_url, isolation_level="AUTOCOMMIT")

    def events(self, story: str | None = None) -> int:
        """Rows in the event log, all or those of *story*."""
        query = select(func.count()).select_from(event_log)
        return int(self._value(query if story is None else query.where(_of(story))))

    def deliveries(self, story: str, group: str) -> dict[str, int]:
        """How many deliveries of *story* to *group* are in each state."""
        query = _deliveries(select(delivery.c.state), story).where(delivery.c.group_name == group)
        return dict(Counter(row.state for row in self._rows(query)))

    def open_deliveries(self, story: str) -> int:
        """Deliveries of *story*, to any group, that are not final."""
        return int(self._value(_deliveries(select(func.count()), story).where(delivery.c.finished_at.is_(None))))

    def effects(self, service_table: str, story: str) -> tuple[int, int]:
        """Rows that a service wrote for the events of *story*, and how many events they stem from."""
        written = effects[service_table]
        query = select(func.count(), func.count(distinct(written.c.event_id))).join_from(
            written, event_log, written.c.event_id == event_log.c.id
        )
        [row] = self._rows(query.where(_of(story)))
        return int(row[0]), int(row[1])

    def reached(self, story: str, group: str) -> list[bool]:
        """For each event of *story*, in the order of the log: whether *group* has a delivery of it."""
        mine = (delivery.c.event_id == event_log.c.id) & (delivery.c.group_name == group)
        query = select(delivery.c.event_id).select_from(event_log.outerjoin(delivery, mine)).where(_of(story))
        return [row.event_id is not None for row in self._rows(query.order_by(event_log.c.id))]

    def amounts(self, story: str, group: str) -> tuple[Decimal, Decimal]:
        """What *group* was to add up, by the event log, and what stands in its table of sales."""
        sale = table("sale", column("event_id", Uuid), column("amount", Numeric), schema="sample")
        amount = cast(event_log.c.data["amount"].astext, Numeric)
        ordered = _deliveries(select(func.sum(amount)), story).where(delivery.c.group_name == group)
        sold = select(func.sum(sale.c.amount)).join_from(sale, event_log, sale.c.event_id == event_log.c.id)
        return self._value(ordered), self._value(sold.where(_of(story)))

    def failed_runs(self, event_id: UUID, group: str) -> list[datetime]:
        """When the runs of one delivery failed, in order."""
        mine = (attempt.c.event_id == event_id) & (attempt.c.group_name == group)
        return [row.failed_at for row in self._rows(select(attempt.c.failed_at).where(mine).order_by("failed_at"))]

    def dead_letters(self, story: str, group: str) -> list[str]:
        """The status of each dead letter of *group* about an event of *story*."""
        query = select(dead_letter.c.status).join_from(dead_letter, event_log, dead_letter.c.event_id == event_log.c.id)
        return [row.status for row in self._rows(query.where(_of(story), dead_letter.c.group_name == group))]

    def types(self, story: str) -> int:
        """How many types the events of *story* have."""
        return int(self._value(select(func.count(distinct(event_log.c.type))).where(_of(story))))

    def received(self, story: str) -> list[tuple[UUID, Arrived]]:
        """Each event of *story* that the archive's handler received, with its id."""
        kept = table(
            "received", column("event_id", Uuid), *map(column, ("type", "source", "canonical")), schema="sample"
        )
        query = select(kept).join_from(kept, event_log, kept.c.event_id == event_log.c.id).where(_of(story))
        return [
            (row.event_id, Arrived(type=row.type, source=row.source, canonical=row.canonical))
            for row in self._rows(query)
        ]

    def began(self, story: str) -> datetime:
        """When the first event of *story* was published."""
        moment: datetime = self._value(select(func.min(event_log.c.created_at)).where(_of(story)))
        return moment

    def older(self, type: str, than: datetime) -> list[UUID]:
        """The events of *type* that were published before."""
        query = select(event_log.c.id).where(event_log.c.type == type, event_log.c.created_at < than)
        return [row.id for row in self._rows(query)]

    def received_of(self, events: Sequence[UUID]) -> tuple[int, int]:
        """Rows that the archive's handler has left for *events*, and how many of them it has received."""
        kept = effects["received"].c.event_id
        [row] = self._rows(select(func.count(), func.count(distinct(kept))).where(kept.in_(events)))
        return int(row[0]), int(row[1])

    def replays(self) -> int:
        """How many replays there were."""
        return int(self._value(select(func.count()).select_from(replay)))

    def empty(self, service_table: str) -> int:
        """Lose all that a service wrote; how many rows that were."""
        with self.engine.connect() as connection:
            return connection.execute(effects[service_table].delete()).rowcount

    def blocked_handlers(self) -> int:
        """Handlers of the inventory that wait for `reservations_locked` to end."""
        waiting = (pg_locks.c.relation == cast("sample.reservation", REGCLASS)) & ~pg_locks.c.granted
        return int(self._value(select(func.count()).select_from(pg_locks).where(waiting)))

    @contextmanager
    def reservations_locked(self) -> Iterator[None]:
        """Let handlers of the inventory come as far as their INSERT, and no further, while the block runs."""
        locking = self.engine.execution_options(isolation_level="READ COMMITTED")
        with locking.begin() as connection:
            connection.execute(text("LOCK TABLE sample.reservation IN SHARE MODE"))
            yield

    def _rows(self, query: Select[*tuple[Any, ...]]) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(query))

    def _value(self, query: Select[*tuple[Any, ...]]) -> Any:
        return self._rows(query)[0][0]


def _of(story: str) -> Any:
    return event_log.c.metadata["correlation_id"].astext == story


def _deliveries(query: Select[*tuple[Any, ...]], story: str) -> Select[*tuple[Any, ...]]:
    return query.join_from(delivery, event_log, delivery.c.event_id == event_log.c.id).where(_of(story))
