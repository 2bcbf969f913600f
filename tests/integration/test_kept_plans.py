"""Kept plans: a hot statement's plan is made once for a connection, on empty tables perhaps, and has to be good on full ones."""

import contextlib
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.exc import DataError

from eventbus.embedded import Servers
from eventbus.storage import bulk, claiming, deliveries, event_log, preparing, settling
from eventbus.storage.connection import Direct, compiled
from eventbus.subscription import candidates
from tests.integration.test_query_plans import FILL, NEAR, assert_by_index, marks, seen, steps, unanalysed_database

PLANS = """
SELECT sum(generic_plans)::int AS kept, sum(custom_plans)::int AS made FROM pg_prepared_statements WHERE name LIKE 'eventbus%'
"""


@pytest.fixture(scope="module")
def connection(servers: Servers) -> Iterator[Direct]:
    """One that has run every hot statement on empty tables, which have been filled since."""
    with unanalysed_database(servers) as (database, rows), database.autocommit() as direct:
        for statement, parameters in (claims(str(uuid4())) | marking(str(uuid4())) | publishing()).values():
            with contextlib.suppress(DataError):  # what commits raises where its row is not found
                direct.rows(statement, **parameters)
        rows.all(FILL)
        yield direct


def claims(event_id: str) -> dict[str, Any]:
    """What takes deliveries, or looks for them, by name."""
    group = {"group": "g1", "subscriptions": [1, 2, 3]}
    return {
        "named": (claiming.CLAIM_NAMED, {"event_id": event_id, "suspects": True, **group, **marks()}),
        "fresh": (claiming.CLAIM_FRESH, {"limit": 10, **group, **marks(), **NEAR}),
        "tried": (claiming.CLAIM_TRIED, {"limit": 1, "suspects": True, **group, **marks(), **NEAR}),
        "due": (deliveries.FIND_DUE, group),
    }


def marking(event_id: str) -> dict[str, Any]:
    """What settles them."""
    one = {"event_id": event_id, "group": "g1", "claim": 1, "type": "order.created"}
    many = {"events": [event_id], "group": "g1", "claim": 1, "types": ["order.created"], **NEAR}
    return {
        "in session": (settling.COMMIT_DONE, one),
        "alone": (settling.MARK_ALONE_DONE, {**one, "subscriptions": [1, 2, 3], **NEAR}),
        "many": (settling.MARK_MANY_DONE, many),
    }


def publishing() -> dict[str, Any]:
    """What records events."""
    patterns = list(candidates("order.created"))
    one = {
        "random": str(uuid4()),
        "type": "order.created",
        "version": 1,
        "source": "s",
        "data": "1",
        "metadata": '{"correlation_id": "c"}',
    }
    many = {
        "token": str(uuid4()),
        "after": None,
        **{f"{name}s": str(one[name]) for name in ("random", "type", "version", "source")},
        **{name: one[name] for name in ("data", "metadata")},
        "keys": "",
        "digests": "",
        "wanted": json.dumps([{"type": "order.created", "patterns": patterns}]),
        "kept": timedelta(days=7),
        "patience": "1000ms",
    }
    return {"one event": (event_log.APPEND, {**one, "patterns": patterns}), "many events": (bulk.APPEND, many)}


def executed(connection: Direct, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Every step by which the connection's kept plan just ran *statement*, which is undone."""
    _, run, _ = preparing._commands(compiled(statement, "eventbus"))
    cursor = connection.driver.cursor()
    cursor.execute("BEGIN")
    try:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {run}", parameters)
        found = cursor.fetchone()[0]
    finally:
        cursor.execute("ROLLBACK")
    return steps(found if isinstance(found, list) else json.loads(found))


def test_no_statement_is_planned_again(connection: Direct) -> None:
    """PostgreSQL would plan claims and settlements for each value anew, which takes as long as they do."""
    for statement, parameters in claims(str(uuid4())).values():
        for _ in range(6):
            connection.rows(statement, **parameters)
            connection.change("UPDATE eventbus.delivery SET state = 'pending', claim = NULL WHERE state = 'running'")

    counts = connection.row(PLANS)

    assert counts is not None
    assert counts.made == 0
    assert counts.kept >= 24


@pytest.mark.parametrize("name", ["named", "fresh", "tried", "due"])
def test_a_claim_on_full_tables_is_as_good_as_it_was_on_empty_ones(connection: Direct, name: str) -> None:
    """By its index, whether statistics came since or not; and of the partitions, only those that may have it."""
    event_id = connection.value("SELECT CAST(event_id AS text) FROM eventbus.delivery WHERE state = 'pending' LIMIT 1")
    statement, parameters = claims(event_id)[name]

    plan = executed(connection, statement, parameters)

    assert_by_index(plan, at_most=70)
    if name == "named":
        assert sum(map(seen, of_delivery(plan))) <= 3


@pytest.mark.parametrize("name", ["in session", "alone", "many"])
def test_settling_on_full_tables_is_as_good_as_it_was_on_empty_ones(connection: Direct, name: str) -> None:
    """The row that is named, and no other."""
    event_id = connection.value("SELECT CAST(event_id AS text) FROM eventbus.delivery WHERE state = 'pending' LIMIT 1")
    connection.change(
        "UPDATE eventbus.delivery SET state = 'running', claim = 1 WHERE group_name = 'g1' AND event_id = CAST(:id AS uuid)",
        id=event_id,
    )
    statement, parameters = marking(event_id)[name]

    plan = executed(connection, statement, parameters)

    assert_by_index(plan, at_most=20)
    assert any(node.get("Index Name", "").endswith("_pkey") and seen(node) == 1 for node in of_delivery(plan))


@pytest.mark.parametrize("name", ["one event", "many events"])
def test_publishing_on_full_tables_is_as_good_as_it_was_on_empty_ones(connection: Direct, name: str) -> None:
    """Among 3,000 subscriptions."""
    statement, parameters = publishing()[name]

    plan = executed(connection, statement, parameters)

    assert_by_index(plan, at_most=20)


def of_delivery(plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps that read deliveries."""
    return [
        node
        for node in plan
        if node.get("Relation Name", "").startswith("delivery") and node["Node Type"] != "ModifyTable"
    ]
