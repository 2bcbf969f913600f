"""Looking into a database, and changing it, behind the back of the code under test."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2


class Rows:
    """Statements on a connection of their own, each its own transaction."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True

    def all(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows that *statement* returns; ``%s`` marks a parameter."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, statement: str, *parameters: Any) -> tuple[Any, ...]:
        """The only row."""
        [row] = self.all(statement, *parameters)
        return row

    def value(self, statement: str, *parameters: Any) -> Any:
        """The only value of the only row."""
        [value] = self.one(statement, *parameters)
        return value

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self.value(f"SELECT count(*) FROM eventbus.{table}"))

    def delivery(self, event_id: Any, group: str) -> dict[str, Any]:
        """One delivery, by column."""
        found = self.value(
            "SELECT to_jsonb(d) FROM eventbus.delivery AS d WHERE event_id = %s AND group_name = %s",
            str(event_id),
            group,
        )
        return dict(found)

    def waiting(self) -> int:
        """How many connections to this database wait for a lock; other tests have databases of their own on the same server."""
        return int(
            self.value(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A cursor in a transaction of another connection, rolled back at the end unless it was committed."""
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            yield cursor

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
