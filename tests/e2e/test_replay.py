"""Replay with real workers: what a group has lost, or never had, it gets back exactly once."""

from collections.abc import Callable

import pytest
from celery import Celery

from eventbus import Event, EventBus
from tests.conftest import StartWorker
from tests.support import wait_until
from tests.support.rows import Rows

TIMEOUT = 60.0
EVENTS = 500
GROUP = """
    from celery import Celery
    from sqlalchemy import text
    from eventbus import EventBus

    app = Celery("app")
    bus = EventBus(app)

    @bus.subscribe("order.created", group="GROUP")
    def note(event, delivery, session):
        session.execute(
            text("INSERT INTO public.effect VALUES (:id, :group, :number, :replay)"),
            {"id": event.id, "group": delivery.group, "number": event.data["number"], "replay": delivery.replay},
        )
"""
EFFECTS = "CREATE TABLE public.effect (event_id uuid NOT NULL, group_name text NOT NULL, number integer, replay uuid)"


@pytest.fixture
def publisher(environment: dict[str, str]) -> EventBus:
    """A bus of a service that only publishes."""
    return EventBus(Celery("publisher", broker=environment["EVENTBUS_BROKER_URL"], set_as_current=False))


@pytest.fixture
def handled(database_url: str, environment: dict[str, str]) -> Callable[[str], list[tuple[str, str | None]]]:
    """A function that waits until a group has nothing left to do, and returns which events it handled, in which replay."""
    rows = Rows(database_url)
    rows.all(EFFECTS)

    def wait(group: str) -> list[tuple[str, str | None]]:
        left = "SELECT count(*) FROM eventbus.delivery WHERE group_name = %s AND finished_at IS NULL"

        # Nobody sweeps: each delivery that becomes due has a wake-up of its own.
        wait_until(
            lambda: rows.value(left, group) == 0,
            timeout=TIMEOUT,
            message=lambda: f"{rows.value(left, group)} open deliveries",
        )
        found = rows.all("SELECT event_id, replay FROM public.effect WHERE group_name = %s ORDER BY 1", group)
        return [(event_id, replay) for event_id, replay in found]

    return wait


def expected(events: list[Event], replay: object) -> list[tuple[str, str | None]]:
    """Each event once."""
    return sorted((str(event.id), None if replay is None else str(replay)) for event in events)


def test_a_replay_restores_what_was_lost_and_brings_a_late_group_its_history(
    publisher: EventBus,
    handled: Callable[[str], list[tuple[str, str | None]]],
    start_worker: StartWorker,
    database_url: str,
) -> None:
    """Five hundred handled, their effects lost, five hundred restored; a group that came late gets them all, too."""
    start_worker(code=GROUP.replace("GROUP", "shop"), concurrency=2)
    before = publisher.publish("order.created", {"number": -1}, source="tests")
    handled("shop")
    since = publisher.publish("order.paid", {}, source="tests").created_at
    events = [publisher.publish("order.created", {"number": n}, source="tests") for n in range(EVENTS)]
    assert handled("shop") == expected([before, *events], None)
    rows = Rows(database_url)
    rows.all("TRUNCATE public.effect")

    planned = publisher.replay("order.*", group="shop", since=since, dry_run=True)
    replay = publisher.replay("order.*", group="shop", since=since)

    assert planned.count == replay.count == EVENTS
    assert handled("shop") == expected(events, replay.id)

    start_worker(code=GROUP.replace("GROUP", "late"), module="late", concurrency=2)
    assert handled("late") == []

    late = publisher.replay("order.created", group="late")

    assert late.count == EVENTS + 1
    assert handled("late") == expected([before, *events], late.id)
    rows.close()
    publisher.database.dispose()
    publisher.app.close()


RUNNING = """
    from celery import Celery
    from sqlalchemy import text
    from eventbus import EventBus

    app = Celery("app")
    bus = EventBus(app)

    @bus.subscribe("order.created", group="shop", max_retries=0)
    def note(event, session):
        session.execute(text("INSERT INTO public.effect VALUES (:id, 'shop', 0, NULL)"), {"id": event.id})
        session.execute(text("SELECT pg_advisory_xact_lock(4711)"))
        if event.data["fails"]:
            raise ValueError("as asked")
"""


@pytest.mark.parametrize(("fails", "runs"), [(False, 2), (True, 0)])
def test_what_is_replayed_while_it_runs_runs_once_more(
    publisher: EventBus, start_worker: StartWorker, database_url: str, fails: bool, runs: int
) -> None:
    """Without a sweep, whether its first run ends well or would have been its last."""
    rows = Rows(database_url)
    rows.all(EFFECTS)
    start_worker(code=RUNNING, concurrency=1)
    state = "SELECT state, replay_id IS NOT NULL FROM eventbus.delivery"
    with rows.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(4711)")
        publisher.publish("order.created", {"fails": fails}, source="tests")
        wait_until(
            lambda: rows.all(state) == [("running", False)], timeout=TIMEOUT, message=lambda: str(rows.all(state))
        )

        publisher.replay("order.created", group="shop")

    ended = "dead" if fails else "done"
    wait_until(lambda: rows.all(state) == [(ended, True)], timeout=TIMEOUT, message=lambda: str(rows.all(state)))
    assert rows.value("SELECT count(*) FROM public.effect") == runs
    assert rows.value("SELECT count(*) FROM eventbus.dead_letter") == int(fails)
    rows.close()
    publisher.database.dispose()
    publisher.app.close()
