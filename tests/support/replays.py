"""Deliveries in a state of the test's choice, written behind the back of the bus."""

from typing import Any

from eventbus.event import Event
from tests.support.rows import Rows

#: Every way a delivery may stand, with what its row then holds; ``missing`` has no row, ``discarded`` is one way to be cancelled.
STATES: dict[str, str | None] = {
    "missing": None,
    "pending": "state = 'pending'",
    "running": "state = 'running', claim = 7, started_at = now(), due_at = now() + interval '1 hour'",
    "retrying": "state = 'retrying', attempts = 1, due_at = now() + interval '1 hour'",
    "parked": "state = 'parked'",
    "done": "state = 'done', finished_at = now()",
    "dead": "state = 'dead', finished_at = now(), attempts = 4, deaths = 1, suspect = true, last_error = 'ValueError'",
    "skipped": "state = 'skipped', finished_at = now()",
    "cancelled": "state = 'cancelled', finished_at = now(), attempts = 1",
    "discarded": "state = 'cancelled', finished_at = now(), attempts = 4",
}
LETTERS = {
    "dead": ("open", None, None),
    "discarded": ("discarded", "2026-05-01T12:00:00Z", "hopeless"),
}


def put(rows: Rows, event: Event, group: str, name: str) -> None:
    """Bring the delivery of *event* to *group* into one of `STATES`, with the dead letter that belongs to it."""
    changes = STATES[name]
    here = "WHERE event_id = %s AND group_name = %s"
    if changes is None:
        rows.all(f"DELETE FROM eventbus.delivery {here}", str(event.id), group)
        return
    rows.all(f"UPDATE eventbus.delivery SET {changes} {here}", str(event.id), group)
    if letter := LETTERS.get(name):
        rows.all(
            "INSERT INTO eventbus.dead_letter (event_id, group_name, type, attempts, deaths, error_type, error_message, traceback, "
            "fingerprint, status, resolved_at, note) VALUES (%s, %s, %s, 4, 1, 'ValueError', 'no', 'tb', 'f', %s, %s, %s)",
            str(event.id),
            group,
            event.type,
            *letter,
        )


def put_all(rows: Rows, group: str, name: str) -> None:
    """Bring all deliveries of *group* into one of `STATES`, at once."""
    rows.all(f"UPDATE eventbus.delivery SET {STATES[name]} WHERE group_name = %s", group)


def states(rows: Rows, group: str) -> dict[str, int]:
    """How many deliveries of *group* are in each state."""
    found = rows.all("SELECT state, count(*) FROM eventbus.delivery WHERE group_name = %s GROUP BY 1", group)
    return {state: int(count) for state, count in found}


def fill_log(rows: Rows, count: int, *, type: str = "order.created", ago: str = "1 hour", **metadata: Any) -> None:
    """Write *count* events of *type* into the log, spread over the time since *ago*, without deliveries."""
    correlation = metadata.get("correlation_id", "bulk")
    rows.all(
        "INSERT INTO eventbus.event_log (id, type, version, source, data, metadata, created_at) "
        "SELECT eventbus.uuid_v7(at, gen_random_uuid()), %s, 1, 'tests', '{}', jsonb_build_object('correlation_id', %s::text), at "
        "FROM generate_series(1, %s) AS n CROSS JOIN LATERAL (SELECT now() - %s::interval * (1 - n / (%s + 1.0)) AS at) AS clock",
        type,
        correlation,
        count,
        ago,
        count,
    )
