"""The verdict sees what it is there to see: each kind of loss is planted once, into books that are otherwise in order."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from eventbus import EventBus
from tests.chaos.tables import TABLES
from tests.chaos.verdict import Verdict, judge_rows
from tests.support.rows import Rows

EVENTS = 4
#: Claim and settle all, as workers would: the effect in the transaction of the ``done`` that it belongs to.
CLAIM = "UPDATE eventbus.delivery SET state = 'running', claim = 1"
HANDLE = """
INSERT INTO chaos.run (event_id, group_name) SELECT event_id, group_name FROM eventbus.delivery;
INSERT INTO chaos.effect (event_id, group_name, in_session)
SELECT event_id, group_name, group_name <> 'courier' FROM eventbus.delivery;
UPDATE chaos.account AS a SET balance = balance + moved.amount FROM (
    SELECT id, sum(amount) AS amount FROM (
        SELECT (data ->> 'to')::int AS id, (data ->> 'amount')::int AS amount FROM eventbus.event_log
        UNION ALL SELECT (data ->> 'from')::int, -(data ->> 'amount')::int FROM eventbus.event_log) AS move
    GROUP BY id) AS moved WHERE moved.id = a.id;
UPDATE eventbus.delivery SET state = 'done', claim = NULL, finished_at = clock_timestamp()
"""


@dataclass(kw_only=True)
class Books:
    """What a storm leaves behind."""

    rows: Rows
    journal: Path
    visits: list[tuple[str, str]]

    def judge(self) -> Verdict:
        return judge_rows(self.rows, journals=[self.journal], visits=self.visits, strikes=[("all", 0, 4e9)])

    def note(self, number: str, outcome: str) -> None:
        with self.journal.open("a") as journal:
            journal.write(json.dumps({"number": number, "outcome": outcome}) + "\n")


@pytest.fixture
def books(database_url: str, broker_url: str, prefix: str, tmp_path: Path) -> Iterator[Books]:
    """Books in order: some transfers, all handled, all effects where they belong."""
    bus = EventBus(
        Celery("verdict", set_as_current=False), database_url=database_url, broker_url=broker_url, prefix=prefix
    )
    for group in ("accounts", "ledger", "courier"):
        bus.subscribe("transfer.#", group=group, handler=_ignore)
    bus.sync()
    rows = Rows(database_url)
    rows.all(TABLES)
    books = Books(rows=rows, journal=tmp_path / "journal", visits=[])
    for index in range(EVENTS):
        fact = {"number": f"n-{index}", "mood": "ok", "from": 1 + index, "to": 2 + index, "amount": 10}
        bus.publish("transfer.ordered", fact, source="tests")
        books.note(fact["number"], "returned")  # type: ignore[arg-type]
    rows.all(CLAIM)
    with rows.transaction() as cursor:
        cursor.execute(HANDLE)
        cursor.connection.commit()
    yield books
    rows.close()
    bus.database.dispose()
    bus.app.close()


def _ignore(event: Any) -> None: ...


def test_books_in_order_have_no_problem(books: Books) -> None:
    """Nothing is found where nothing is wrong, and everything is counted."""
    verdict = books.judge()

    assert verdict.problems == []
    [window] = verdict.windows
    assert (window.events, window.lost, window.repeated_runs, window.repeated_effects) == (EVENTS, 0, 0, 0)
    assert verdict.deliveries == {"done": 3 * EVENTS}


def sql(statement: str) -> Callable[[Books], Any]:
    """A loss that is planted by a statement."""
    return lambda books: books.rows.all(statement)


_ONE = (
    "(event_id, group_name) = (SELECT event_id, group_name FROM eventbus.delivery WHERE group_name = '{}' "
    "ORDER BY event_id LIMIT 1)"
)
PLANTED: dict[str, tuple[str, Callable[[Books], Any]]] = {
    "a delivery vanished": ("lost", sql(f"DELETE FROM eventbus.delivery WHERE {_ONE.format('ledger')}")),
    "a delivery was skipped": (
        "lost",
        sql(f"UPDATE eventbus.delivery SET state = 'skipped' WHERE {_ONE.format('courier')}"),
    ),
    "a delivery was cancelled without a reason": (
        "lost",
        sql(f"UPDATE eventbus.delivery SET state = 'cancelled' WHERE {_ONE.format('ledger')}"),
    ),
    "an effect vanished": ("done without effect", sql(f"DELETE FROM chaos.effect WHERE {_ONE.format('accounts')}")),
    "an effect outside of a session vanished": (
        "done without effect",
        sql(f"DELETE FROM chaos.effect WHERE {_ONE.format('courier')}"),
    ),
    "done again, without an effect": (
        "done without effect",
        sql(
            f"UPDATE eventbus.delivery SET state = 'running', claim = 1, finished_at = NULL WHERE {_ONE.format('ledger')};"
            f"COMMIT; UPDATE eventbus.delivery SET state = 'done', claim = NULL, finished_at = now() WHERE {_ONE.format('ledger')}"
        ),
    ),
    "an effect came twice, in one transaction": (
        "effect repeated",
        sql(f"INSERT INTO chaos.effect SELECT * FROM chaos.effect WHERE {_ONE.format('ledger')}"),
    ),
    "an effect came twice, in another transaction": (
        "effect without done",
        sql(
            f"INSERT INTO chaos.effect SELECT event_id, group_name, true FROM chaos.effect WHERE {_ONE.format('ledger')}"
        ),
    ),
    "a zombie committed": (
        "effect repeated",
        sql(
            f"INSERT INTO chaos.effect SELECT event_id, group_name, true FROM chaos.effect WHERE {_ONE.format('accounts')}"
        ),
    ),
    "an uncommitted event was handled": (
        "handled, but not committed",
        sql("INSERT INTO chaos.run VALUES (gen_random_uuid(), 'ledger')"),
    ),
    "money was made": ("money made or lost", sql("UPDATE chaos.account SET balance = balance + 1 WHERE id = 1")),
    "money was moved twice": (
        "account moved without a done transfer",
        sql("UPDATE chaos.account SET balance = balance + 2 * (1.5 - id)::int WHERE id IN (1, 2)"),
    ),
    "a delivery stayed open": (
        "still open",
        sql(f"UPDATE eventbus.delivery SET state = 'pending', finished_at = NULL WHERE {_ONE.format('courier')}"),
    ),
    "dead without a letter": (
        "dead without an open letter, or the other way round",
        sql(f"UPDATE eventbus.delivery SET state = 'dead' WHERE {_ONE.format('courier')}"),
    ),
    "an event was recorded twice": (
        "published twice",
        sql(
            "INSERT INTO eventbus.event_log SELECT gen_random_uuid(), type, 1, source, key, data, metadata, now() "
            "FROM eventbus.event_log LIMIT 1"
        ),
    ),
    "an event that was returned is not there": (
        "returned, but not recorded",
        lambda books: books.note("n-99", "returned"),
    ),
    "a publisher met an error that is not of our tree": (
        "raised, but no error of the bus",
        lambda books: books.note("n-1", "untyped: psycopg2.OperationalError"),
    ),
    "an event that was refused is there": ("refused, but recorded", lambda books: books.note("n-1", "refused")),
    "nobody published it": (
        "recorded, but never published",
        sql("UPDATE eventbus.event_log SET data = data || '{\"number\": \"x\"}' WHERE data ->> 'number' = 'n-0'"),
    ),
    "a guest was passed over": (
        "owed to the guest",
        lambda books: books.visits.append(("2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z")),
    ),
}


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_loss_is_found(plant: str, books: Books) -> None:
    """Whatever is taken away, added or told falsely is named for what it is."""
    finding, act = PLANTED[plant]
    act(books)

    verdict = books.judge()

    assert verdict.findings[finding], verdict.problems
