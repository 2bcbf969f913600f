"""The ledger: plain tables in which systems without such keep each delivery's state, as a team would do by hand.

An event and its deliveries are one statement, as in eventbus. That a delivery is done is one statement more, which does not wait
for the disk. There is no claim, no lease, no count of attempts: what these tables do not do is a bias against eventbus.
"""

import json
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg2
from psycopg2.extras import execute_values

from benchmarks import traces
from benchmarks.orders import GROUPS, TYPE, Order
from benchmarks.stage import Stage, current

TABLES = """
CREATE TABLE event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, type text NOT NULL, data jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE delivery (
    event_id bigint NOT NULL, group_name text NOT NULL, state text NOT NULL DEFAULT 'pending', finished_at timestamptz,
    PRIMARY KEY (event_id, group_name)
) WITH (fillfactor = 50);
"""
EVENT = "INSERT INTO event (type, data) VALUES ({type}, {data}) RETURNING id"
RECORD = f"""
WITH recorded AS ({EVENT}), owed AS (
    INSERT INTO delivery (event_id, group_name) SELECT recorded.id, names.name FROM recorded, unnest({{groups}}) AS names (name)
)
SELECT id FROM recorded
"""
DONE = "UPDATE delivery SET state = 'done', finished_at = clock_timestamp() WHERE event_id = {event} AND group_name = {group}"
QUICK = "-c synchronous_commit=off"

_RECORD = RECORD.format(type="%s", data="%s", groups="%s")
_EVENT = EVENT.format(type="%s", data="%s")
_DONE = DONE.format(event="%s", group="%s")
#: Numbered parameters, for drivers that prepare: asyncpg.
NUMBERED_RECORD = RECORD.format(type="$1", data="$2::text::jsonb", groups="$3::text[]")
NUMBERED_DONE = DONE.format(event="$1", group="$2")


class Ledger:
    """The tables as synchronous code reaches them; each thread has connections of its own."""

    def __init__(self, stage: Stage) -> None:
        self._url = stage.database_url
        self._local = threading.local()

    def create(self) -> None:
        """Create the tables."""
        self.execute(TABLES)

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        """Run *statement* in autocommit; its cursor."""
        cursor = self._connection("durable").cursor()
        cursor.execute(statement, parameters or None)
        return cursor

    def record(self, order: Order) -> int:
        """Commit an event and its deliveries; its number."""
        return self.execute(_RECORD, (TYPE, json.dumps(order), list(GROUPS))).fetchone()[0]

    def record_event(self, order: Order) -> int:
        """Commit an event alone, for a system that keeps deliveries itself; its number."""
        return self.execute(_EVENT, (TYPE, json.dumps(order))).fetchone()[0]

    def record_many(self, orders: Iterable[Order], *, deliveries: bool = True) -> list[int]:
        """Commit many events at once; their numbers."""
        connection = self._connection("durable")
        with connection.cursor() as cursor:
            rows = [(TYPE, json.dumps(order)) for order in orders]
            found = execute_values(
                cursor, "INSERT INTO event (type, data) VALUES %s RETURNING id", rows, page_size=1000, fetch=True
            )
            ids = [row[0] for row in found]
            if deliveries:
                owed = [(id, group) for id in ids for group in GROUPS]
                execute_values(cursor, "INSERT INTO delivery (event_id, group_name) VALUES %s", owed, page_size=3000)
        return ids

    def handle(self, event: int, group: str, order: Order) -> None:
        """Do what every handler does: nothing, and mark its delivery done."""
        traces.note(order)
        self._connection("quick").cursor().execute(_DONE, (event, group))

    def _connection(self, kind: str) -> Any:
        connection = getattr(self._local, kind, None)
        if connection is None:
            connection = psycopg2.connect(self._url, options=QUICK if kind == "quick" else "")
            connection.autocommit = True
            setattr(self._local, kind, connection)
        return connection


def open_ledger() -> Ledger:
    """The ledger of this process's stage."""
    return Ledger(current())
