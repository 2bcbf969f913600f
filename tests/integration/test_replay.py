"""Replay: which deliveries of which events become as if new, and what is left alone."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from eventbus import EventBus
from eventbus.broker import QUEUE_CAP
from eventbus.errors import InvalidInput, InvalidPattern, InvalidTime, UnknownGroup, UnknownReplay
from eventbus.event import Event
from eventbus.replay import DELIVERED, Outcome
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.replays import STATES, fill_log, put, put_all, states
from tests.support.rows import Rows

Messages = Callable[[str], list[dict[str, Any]]]
Cell = tuple[str | None, Outcome]

#: What becomes of each delivery without and with ``include_dead``, and where the subscription opts out: state and outcome.
LEFT_DEAD = Outcome.LEFT_DEAD
CELLS: dict[str, tuple[Cell, Cell, Cell]] = {
    "missing": (("pending", Outcome.INSERTED), ("pending", Outcome.INSERTED), ("skipped", Outcome.SKIPPED)),
    "pending": (("pending", Outcome.LEFT_OPEN), ("pending", Outcome.LEFT_OPEN), ("pending", Outcome.SKIPPED)),
    "running": (("running", Outcome.RERUN), ("running", Outcome.RERUN), ("running", Outcome.SKIPPED)),
    "retrying": (("retrying", Outcome.LEFT_OPEN), ("retrying", Outcome.LEFT_OPEN), ("retrying", Outcome.SKIPPED)),
    "parked": (("parked", Outcome.LEFT_OPEN), ("parked", Outcome.LEFT_OPEN), ("parked", Outcome.SKIPPED)),
    "done": (("pending", Outcome.RESET), ("pending", Outcome.RESET), ("skipped", Outcome.SKIPPED)),
    "dead": (("dead", LEFT_DEAD), ("pending", Outcome.REVIVED), ("dead", LEFT_DEAD)),
    "skipped": (("pending", Outcome.RESET), ("pending", Outcome.RESET), ("skipped", Outcome.SKIPPED)),
    "cancelled": (("pending", Outcome.RESET), ("pending", Outcome.RESET), ("skipped", Outcome.SKIPPED)),
    "discarded": (("cancelled", LEFT_DEAD), ("pending", Outcome.REVIVED), ("cancelled", LEFT_DEAD)),
}


def handle(event: Any) -> None: ...


@pytest.fixture
def shop(bus: EventBus) -> EventBus:
    """A bus with one group."""
    bus.subscribe("order.#", group="shop", handler=handle)
    bus.sync()
    return bus


def publish(bus: EventBus, *types: str, **options: Any) -> list[Event]:
    """One event of each type, in order."""
    return [bus.publish(type, {}, source="tests", **options) for type in types]


def meant(rows: Rows, replay: UUID | None, group: str = "shop") -> set[UUID]:
    """The events whose deliveries a replay has touched."""
    found = rows.all(
        "SELECT event_id FROM eventbus.delivery WHERE replay_id = %s AND group_name = %s", str(replay), group
    )
    return {UUID(id) for (id,) in found}


@pytest.mark.parametrize("include_dead", [False, True])
@pytest.mark.parametrize("opts_out", [False, True])
def test_every_delivery_becomes_what_the_rules_say(
    bus: EventBus, rows: Rows, include_dead: bool, opts_out: bool
) -> None:
    """Each state, with and without the dead, for a handler that wants replays and one that does not."""
    bus.subscribe("order.created", group="shop", handler=handle, replay="skip" if opts_out else "run")
    bus.sync()
    events = dict(zip(STATES, publish(bus, *["order.created"] * len(STATES)), strict=True))
    for name, event in events.items():
        put(rows, event, "shop", name)
    column = 2 if opts_out else int(include_dead)
    expected = {name: cells[column] for name, cells in CELLS.items()}
    counted = [outcome for _, outcome in expected.values()]

    planned = bus.replay("order.created", group="shop", include_dead=include_dead, dry_run=True)
    began = bus.clock()
    replay = bus.replay("order.created", group="shop", include_dead=include_dead)

    assert planned.id is None
    assert planned.count == replay.count == sum(outcome in DELIVERED for outcome in counted)
    assert planned.outcomes == replay.outcomes == {outcome: counted.count(outcome) for outcome in Outcome}
    for name, (state, outcome) in expected.items():
        row = rows.delivery(events[name].id, "shop")
        assert row["state"] == state, name
        stamped = outcome in DELIVERED or (outcome is Outcome.SKIPPED and state == "skipped")
        assert row["replay_id"] == (str(replay.id) if stamped else None), name
        assert row["rerun"] is (outcome is Outcome.RERUN), name
        if outcome in (Outcome.RESET, Outcome.REVIVED, Outcome.INSERTED):
            fresh = {"attempts": 0, "deaths": 0, "suspect": False, "finished_at": None, "last_error": None}
            assert row | fresh == row, name
        if stamped and state == "skipped":
            assert datetime.fromisoformat(row["finished_at"]) > began, name


@pytest.mark.parametrize("include_dead", [False, True])
def test_a_dead_letter_is_resolved_with_its_delivery(shop: EventBus, rows: Rows, include_dead: bool) -> None:
    """It names the replay; what was discarded keeps its reason, but counts as retried, and an untouched one stays open."""
    dead, discarded = publish(shop, "order.created", "order.created")
    put(rows, dead, "shop", "dead")
    put(rows, discarded, "shop", "discarded")

    replay = shop.replay("#", group="shop", include_dead=include_dead)

    found = rows.all("SELECT event_id, status, note, resolved_at IS NULL FROM eventbus.dead_letter ORDER BY id")
    retried = ("retried", f"replay {replay.id}", False) if include_dead else ("open", None, True)
    kept = ("retried" if include_dead else "discarded", "hopeless", False)
    assert found == [(str(dead.id), *retried), (str(discarded.id), *kept)]


def test_a_running_delivery_runs_once_more_after_it_ends(worker: MakeWorker, bus: EventBus, rows: Rows) -> None:
    """Its present run was claimed before the replay and does not know of it; the next one does, and is the last."""
    seen: list[UUID | None] = []

    def note(event: Event, delivery: Any) -> None:
        seen.append(delivery.replay)

    bus.subscribe("order.created", group="shop", handler=note)
    execution = worker()
    [event] = publish(bus, "order.created")
    claimed = execution.take("shop", event.id, task_id=None)
    assert claimed

    replay = bus.replay("order.created", group="shop")
    execution.run(claimed)
    again = execution.take("shop", None, task_id=None)
    assert again
    execution.run(again)

    assert replay.outcomes[Outcome.RERUN] == 1
    assert seen == [None, replay.id]
    assert rows.delivery(event.id, "shop")["state"] == "done"
    assert execution.take("shop", None, task_id=None) is None


def test_a_replayed_delivery_whose_process_dies_for_the_last_time_runs_once_more(
    worker: MakeWorker, bus: EventBus, rows: Rows
) -> None:
    """Its deaths were those before the replay: charging the last one must not lose the run that was asked for."""
    bus.subscribe("order.created", group="shop", handler=handle, max_retries=0)
    execution = worker()
    [event] = publish(bus, "order.created")
    put(rows, event, "shop", "running")
    rows.all("UPDATE eventbus.delivery SET deaths = 2, suspect = true")
    bus.replay("order.created", group="shop")
    rows.all("UPDATE eventbus.delivery SET due_at = now() - interval '1 second'")

    claimed = execution.take("shop", event.id, task_id=None)
    assert claimed
    assert claimed.died
    execution.run(claimed)

    row = rows.delivery(event.id, "shop")
    assert (row["state"], row["deaths"], row["suspect"], row["rerun"]) == ("pending", 0, False, False)
    assert rows.count("dead_letter") == 0


def test_a_replayed_delivery_that_dies_and_is_retried_stays_part_of_the_replay(
    worker: MakeWorker, bus: EventBus, rows: Rows
) -> None:
    """What a handler leaves out in a replay is left out in every run of it, until another replay takes over."""
    bus.subscribe("order.created", group="shop", handler=handle)
    worker()
    [event] = publish(bus, "order.created")
    put_all(rows, "shop", "done")
    first = bus.replay("#", group="shop")
    put(rows, event, "shop", "dead")

    assert bus.retry_dead_letters(group="shop") == 1
    assert rows.delivery(event.id, "shop")["replay_id"] == str(first.id)

    second = bus.replay("#", group="shop")
    assert rows.delivery(event.id, "shop")["replay_id"] == str(second.id)


def test_what_is_selected_is_what_was_asked_for(shop: EventBus, rows: Rows) -> None:
    """By type, pattern, ids, correlation id, and any of them together."""
    events = publish(shop, "order.created", "order.paid", "order.line.added", correlation_id="story")
    others = publish(shop, "order.created", "invoice.sent")
    created, paid, added = events

    for options, expected in (
        ({"pattern": "order.created"}, [created, others[0]]),
        ({"pattern": "order.*"}, [created, paid, others[0]]),
        ({"pattern": "order.#"}, [*events, others[0]]),
        ({"pattern": "#"}, [*events, others[0]]),
        ({"pattern": "*.paid"}, [paid]),
        ({"pattern": "nothing.*"}, []),
        ({"event_ids": [created.id, str(added.id), uuid4(), created.id]}, [created, added]),
        ({"event_ids": []}, []),
        ({"event_ids": [uuid4()]}, []),
        ({"event_ids": [created.id, paid.id], "pattern": "order.paid"}, [paid]),
        ({"event_ids": [created.id, others[0].id], "correlation_id": "story"}, [created]),
        ({"correlation_id": "story"}, events),
        ({"correlation_id": "story", "pattern": "order.*"}, [created, paid]),
        ({"correlation_id": "unheard-of"}, []),
    ):
        ids = {event.id for event in expected}
        arguments: dict[str, Any] = options
        assert shop.replay(group="shop", dry_run=True, **arguments).count == len(ids), options
        replay = shop.replay(group="shop", **arguments)
        assert replay.count == len(ids), options
        assert meant(rows, replay.id) == ids, options


def test_times_bound_what_is_selected_to_the_microsecond(shop: EventBus, rows: Rows) -> None:
    """From since on, before until; both as times and as spans before the database's now."""
    events = publish(shop, *["order.created"] * 5)
    times = [event.created_at for event in events]
    tick = timedelta(microseconds=1)

    for since, until, expected in (
        (times[1], None, events[1:]),
        (times[1] + tick, None, events[2:]),
        (None, times[3], events[:3]),
        (None, times[3] + tick, events[:4]),
        (times[1].isoformat(), times[3].isoformat(), events[1:3]),
        ("1h ago", None, events),
        ("1d", "0s", events),
        (None, "1h", []),
        (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), events),
        (None, datetime(1900, 1, 1, tzinfo=UTC), []),
        (datetime(9999, 1, 1, tzinfo=UTC), None, []),
    ):
        replay = shop.replay(group="shop", since=since, until=until)
        assert meant(rows, replay.id) == {event.id for event in expected}, (since, until)
        assert replay.count == len(expected)


@pytest.mark.parametrize("options", [{}, {"until": datetime(9999, 1, 1, tzinfo=UTC)}])
def test_what_is_published_later_is_not_part_of_a_replay(shop: EventBus, rows: Rows, options: dict[str, Any]) -> None:
    """The last id is fixed when it is planned: a handler that publishes what it is fed does not go round for ever."""
    publish(shop, "order.created")
    put_all(rows, "shop", "done")
    planned = shop.replaying.plan(asking(**options))
    job = shop.replaying.create(planned)
    [later] = publish(shop, "order.created")

    replay = shop.resume_replay(job.id)

    assert replay.count == 1
    assert rows.delivery(later.id, "shop")["replay_id"] is None


def asking(**options: Any) -> Any:
    """What the command line would ask for."""
    from eventbus.lifecycle.replay_planning import Asked

    return Asked(**{"group": "shop", "pattern": "#", **options})


def test_an_empty_log_has_nothing_to_replay(shop: EventBus) -> None:
    """And that is no error."""
    assert shop.replay("#", group="shop").count == 0


def test_each_event_goes_to_the_subscription_that_matches_it_now(make_bus: MakeBus, rows: Rows) -> None:
    """Of living subscriptions the newest seen, as at publish; what none matches is left out and counted."""
    old = make_bus()
    old.subscribe("order.created", group="shop", handler=handle)
    old.sync()
    [created] = publish(old, "order.created")
    put_all(rows, "shop", "done")
    [paid] = publish(old, "order.paid")
    old.remove_group("shop")
    new = make_bus()
    new.subscribe("*.created", group="shop", handler=handle)
    [stored] = new.sync()

    for options in ({"pattern": "order.*"}, {"event_ids": [created.id, paid.id]}):
        arguments: dict[str, Any] = options
        planned = new.replay(group="shop", dry_run=True, **arguments)
        replay = new.replay(group="shop", **arguments)
        assert planned.outcomes[Outcome.UNMATCHED] == replay.outcomes[Outcome.UNMATCHED] == 1
        assert planned.count == replay.count == 1

    row = rows.delivery(created.id, "shop")
    assert (row["subscription_id"], row["state"]) == (stored.id, "pending")
    assert rows.all("SELECT FROM eventbus.delivery WHERE event_id = %s", str(paid.id)) == []


def test_a_group_without_living_subscriptions_gets_nothing(shop: EventBus, rows: Rows) -> None:
    """It is known, and the count says that nothing matches."""
    publish(shop, "order.created")
    shop.remove_group("shop")

    replay = shop.replay("#", group="shop")

    assert (replay.count, replay.outcomes[Outcome.UNMATCHED]) == (0, 1)
    assert states(rows, "shop") == {"cancelled": 1}


def test_a_group_that_unsubscribed_and_came_back_gets_what_it_missed(shop: EventBus, rows: Rows) -> None:
    """Cancelled then, never delivered meanwhile: both are delivered by replay."""
    publish(shop, "order.created")
    shop.remove_group("shop")
    publish(shop, "order.created")
    shop.sync()

    replay = shop.replay("#", group="shop")

    assert replay.outcomes[Outcome.RESET] == replay.outcomes[Outcome.INSERTED] == 1
    assert states(rows, "shop") == {"pending": 2}


def test_other_groups_are_left_alone(shop: EventBus, rows: Rows) -> None:
    """A replay is to one group: what another has of the same events neither counts nor changes, letters included."""
    shop.subscribe("order.#", group="other", handler=handle)
    shop.sync()
    states = {"done": "done", "dead": "dead", "cancelled": "discarded", "pending": "running"}
    for event, (state, other) in zip(publish(shop, *["order.created"] * 4), states.items(), strict=True):
        put(rows, event, "shop", state)
        put(rows, event, "other", other)
    of_other = (
        "SELECT to_jsonb(d) FROM eventbus.delivery AS d WHERE group_name = 'other' UNION ALL "
        "SELECT to_jsonb(l) FROM eventbus.dead_letter AS l WHERE group_name = 'other' ORDER BY 1"
    )
    before = rows.all(of_other)

    planned = shop.replay("#", group="shop", include_dead=True, dry_run=True)
    replay = shop.replay("#", group="shop", include_dead=True)

    expected = {Outcome.RESET: 2, Outcome.REVIVED: 1, Outcome.LEFT_OPEN: 1}
    assert planned.outcomes == replay.outcomes == dict.fromkeys(Outcome, 0) | expected
    assert rows.all(of_other) == before


def test_what_was_cancelled_after_a_retry_was_not_discarded(shop: EventBus, rows: Rows) -> None:
    """A letter that was retried is history: its delivery comes with those that were never dead."""
    [event] = publish(shop, "order.created")
    put(rows, event, "shop", "discarded")
    rows.all("UPDATE eventbus.dead_letter SET status = 'retried'")

    planned = shop.replay("#", group="shop", dry_run=True)
    replay = shop.replay("#", group="shop")

    assert planned.outcomes[Outcome.RESET] == replay.outcomes[Outcome.RESET] == 1


def test_as_many_ids_may_be_given_as_the_refusal_says(shop: EventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one less; an id that is given twice counts once."""
    ids = [event.id for event in publish(shop, *["order.created"] * 3)]
    monkeypatch.setattr("eventbus.lifecycle.replay_planning._MOST_EVENT_IDS", 2)

    assert shop.replay(group="shop", event_ids=[ids[0], *ids[:2]]).count == 2
    with pytest.raises(InvalidInput, match="holds 3 ids: give at most 2"):
        shop.replay(group="shop", event_ids=ids)


def test_deliveries_are_due_at_once_and_in_the_order_of_their_events(shop: EventBus, rows: Rows) -> None:
    """Whoever claims the oldest due row follows the log, across kinds of rows."""
    events = publish(shop, *["order.created"] * 30)
    put_all(rows, "shop", "done")
    for event in events[::3]:
        put(rows, event, "shop", "missing")

    shop.replay("#", group="shop")

    found = rows.all("SELECT event_id, due_at <= now() FROM eventbus.delivery WHERE replay_id IS NOT NULL")
    assert len(found) == 30
    assert all(due for _, due in found)
    for kind in (events[::3], [event for event in events if event not in events[::3]]):
        ids = {str(event.id) for event in kind}
        # No two are due at one moment: the order of those would be anyone's guess.
        ordered = rows.all("SELECT event_id FROM eventbus.delivery ORDER BY due_at, event_id DESC")
        assert [id for (id,) in ordered if id in ids] == sorted(ids)


def test_a_batch_wakes_the_group_for_each_delivery(shop: EventBus, rows: Rows, messages: Messages) -> None:
    """One message for each delivery that became due, until the queue holds plenty; none for what was open or skipped."""
    events = publish(shop, *["order.created"] * 3)
    before = len(messages("shop"))
    put(rows, events[0], "shop", "done")

    shop.replay("#", group="shop")

    told = messages("shop")[before:]
    assert [item["headers"]["argsrepr"] for item in told] == [f"order.created {events[0].id}"]

    fill_log(rows, 1200)
    shop.replay("order.created", group="shop", since="2h ago", until=events[0].created_at)

    # One batch of 1,000 and one of 200.
    assert len(messages("shop")) == QUEUE_CAP


def test_a_replay_does_not_need_the_broker(make_bus: MakeBus, rows: Rows) -> None:
    """What is due in PostgreSQL is found when the broker is back."""
    bus = make_bus(broker_url="redis://127.0.0.1:1/0")
    bus.subscribe("order.#", group="shop", handler=handle)
    bus.sync()
    publish(bus, "order.created")
    put_all(rows, "shop", "done")

    assert bus.replay("#", group="shop").count == 1
    assert states(rows, "shop") == {"pending": 1}


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({}, InvalidInput, "pattern '#' replays the whole log"),
        ({"pattern": "order..created"}, InvalidPattern, "not a pattern"),
        ({"pattern": "#", "group": "nobody"}, UnknownGroup, "known groups are shop"),
        ({"pattern": "#", "group": "No Group"}, InvalidInput, "not a group name"),
        ({"since": datetime(2026, 5, 1)}, InvalidTime, "has no offset"),  # noqa: DTZ001
        ({"until": "noon"}, InvalidTime, "is not a time"),
        ({"since": "1h", "until": "2h"}, InvalidTime, "is not before until=2h"),
        ({"event_ids": ["x"]}, InvalidInput, "the ids of events"),
        ({"event_ids": [3]}, InvalidInput, "the ids of events"),
        ({"event_ids": 3}, InvalidInput, "the ids of events"),
        ({"event_ids": str(uuid4())}, InvalidInput, "must be a list"),
        ({"event_ids": (UUID(int=n) for n in range(100_001))}, InvalidInput, "holds 100,001 ids"),
        ({"correlation_id": 3}, InvalidInput, "is not a text"),
        ({"correlation_id": "a\x00b"}, InvalidInput, "is not a text"),
        ({"pattern": "#", "rate": 0}, InvalidInput, "rate=0"),
        ({"pattern": "#", "rate": -1.5}, InvalidInput, "rate=-1.5"),
        ({"pattern": "#", "rate": float("nan")}, InvalidInput, "rate=nan"),
        ({"pattern": "#", "rate": float("inf")}, InvalidInput, "rate=inf"),
        ({"pattern": "#", "rate": 10**400}, InvalidInput, "rate=1000"),
        ({"pattern": "#", "rate": True}, InvalidInput, "rate=True"),
        ({"pattern": "#", "rate": "fast"}, InvalidInput, "rate='fast'"),
        ({"pattern": "#", "rate": "fast", "dry_run": True}, InvalidInput, "rate='fast'"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    shop: EventBus, rows: Rows, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    """A message for whoever must act, and no job."""
    with pytest.raises(error, match=says):
        shop.replay(**{"group": "shop", **options})

    assert rows.count("replay") == 0


def test_an_unknown_replay_is_said_to_be_unknown(shop: EventBus) -> None:
    """To find, resume and cancel alike; and a list has a size."""
    for act in (shop.find_replay, shop.resume_replay, shop.cancel_replay):
        with pytest.raises(UnknownReplay, match="replay list"):
            act(uuid4())
    for limit in (0, 1001):
        with pytest.raises(InvalidInput, match="limit"):
            shop.replays(limit=limit)


def test_the_database_refuses_impossible_jobs(shop: EventBus, rows: Rows) -> None:
    """What no code should write cannot be written."""
    import psycopg2

    shop.replay("#", group="shop")

    for change in (
        "state = 'lost'",
        "finished_at = NULL",
        "state = 'running', finished_at = NULL",
        "runner = 1",
        "rate = 0",
        "total = -1",
        "unmatched = -1",
        "filter = '[]'",
        "group_name = 'nobody'",
    ):
        with pytest.raises(psycopg2.IntegrityError):
            rows.all(f"UPDATE eventbus.replay SET {change}")
