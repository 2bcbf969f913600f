"""What handlers leave behind: rows in the test's database, so that a test counts effects and not log lines."""

import json
import os
from functools import cache
from typing import Any

import sqlalchemy

from eventbus import Delivery, Event

TABLES = """
CREATE TABLE public.effect (
    id bigint GENERATED ALWAYS AS IDENTITY, event_id uuid, group_name text NOT NULL, attempt integer, facts jsonb NOT NULL,
    pid integer NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON public.effect (event_id, group_name);
CREATE TABLE public.history (
    id bigint GENERATED ALWAYS AS IDENTITY, event_id uuid NOT NULL, group_name text NOT NULL, state text NOT NULL,
    due_at timestamptz NOT NULL, worker text, at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION public.remember() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.history (event_id, group_name, state, due_at, worker)
    VALUES (NEW.event_id, NEW.group_name, NEW.state, NEW.due_at, NEW.worker);
    RETURN NULL;
END
$$;
CREATE TRIGGER remember AFTER INSERT OR UPDATE ON eventbus.delivery FOR EACH ROW EXECUTE FUNCTION public.remember();
"""
INSERT = sqlalchemy.text(
    "INSERT INTO public.effect (event_id, group_name, attempt, facts, pid) VALUES (:event_id, :group, :attempt, :facts, :pid)"
)


def note(event: Event, delivery: Delivery, **facts: Any) -> None:
    """Leave a row that stays, whatever becomes of the run."""
    with _engine(os.getpid()).connect() as connection:
        connection.execute(INSERT, row(event, delivery, **facts))


def row(event: Event, delivery: Delivery, **facts: Any) -> dict[str, Any]:
    """The parameters of `INSERT`."""
    return {
        "event_id": event.id,
        "group": delivery.group,
        "attempt": delivery.attempt,
        "facts": json.dumps(facts),
        "pid": os.getpid(),
    }


def note_ordinary(word: str) -> None:
    """Leave a row of a task that is no handler."""
    with _engine(os.getpid()).connect() as connection:
        facts = json.dumps({"word": word})
        connection.execute(
            INSERT, {"event_id": None, "group": "ordinary", "attempt": None, "facts": facts, "pid": os.getpid()}
        )


def wait_for_gate(number: int) -> None:
    """Return when the test opens the gate, an advisory lock that it holds until then."""
    with _engine(os.getpid()).connect() as connection:
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock_shared(:number)"), {"number": number})
        connection.execute(sqlalchemy.text("SELECT pg_advisory_unlock_shared(:number)"), {"number": number})


@cache
def _engine(_pid: int) -> sqlalchemy.Engine:
    url = os.environ["EVENTBUS_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://")
    return sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
