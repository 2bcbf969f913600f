"""Old logs: what a delivery costs does not grow with the weeks before it, and nothing that is due there is forgotten."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis

from eventbus import Draft, EventBus
from eventbus.embedded import Servers
from eventbus.ids import EVERYWHERE, IdRange
from eventbus.lifecycle.relaying import relay
from eventbus.lifecycle.sweeping import sweep
from eventbus.storage import claiming, deliveries, settling
from eventbus.storage.connection import Direct
from eventbus.storage.database import Database
from tests.integration.conftest import MakeWorker
from tests.integration.test_group_task import equip, run_in_worker
from tests.integration.test_kept_plans import executed
from tests.integration.test_query_plans import marks, unanalysed_database
from tests.integration.test_slices import TRIED, begin
from tests.support.old_events import AGE
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns

Messages = Callable[[str], list[dict[str, Any]]]
WEEKS = 60
#: Weeks before this one, as `ensure_partitions` has made them in their time.
OLD_WEEKS = """
DO $$
DECLARE
    week timestamptz;
    parent text;
    part text;
BEGIN
    FOR week IN SELECT date_trunc('week', now(), 'UTC') - n * interval '168 hours' FROM generate_series(1, {weeks}) AS n LOOP
        FOREACH parent IN ARRAY ARRAY['event_log', 'delivery'] LOOP
            part := parent || '_' || to_char(week AT TIME ZONE 'UTC', 'IYYY_IW');
            EXECUTE format('CREATE TABLE eventbus.%I PARTITION OF eventbus.%I FOR VALUES FROM (%L) TO (%L)', part, parent,
                           eventbus.uuid_floor(week), eventbus.uuid_floor(week + interval '168 hours'));
        END LOOP;
    END LOOP;
END
$$
"""
EVENT = "SELECT eventbus.uuid_v7(date_trunc('week', now(), 'UTC') + CAST(:after AS interval), gen_random_uuid())"


@pytest.fixture(scope="module")
def connection(servers: Servers) -> Iterator[Direct]:
    """One to a database that is more than a year old; its kept plans were made when it was."""
    with unanalysed_database(servers) as (database, rows), database.autocommit() as direct:
        rows.all(OLD_WEEKS.format(weeks=WEEKS))
        yield direct


def hot(event_id: str, near: dict[str, str]) -> dict[str, Any]:
    """What is run for each delivery, or for each batch of them."""
    group = {"group": "g1", "subscriptions": [1, 2, 3]}
    one = {"event_id": event_id, "group": "g1", "claim": 1, "type": "order.created"}
    listed = {"events": [event_id], "group": "g1", "claim": 1, "first": event_id, "last": event_id}
    return {
        "claim one": (claiming.CLAIM_NAMED, {"event_id": event_id, "suspects": True, **group, **marks()}),
        "claim many": (claiming.CLAIM_FRESH, {"limit": 10, **group, **marks(), **near}),
        "claim a tried one": (claiming.CLAIM_TRIED, {"limit": 1, "suspects": True, **group, **marks(), **near}),
        "mark one": (settling.MARK_ALONE_DONE, {**one, "subscriptions": [1, 2, 3], **near}),
        "mark many": (settling.MARK_MANY_DONE, {"types": ["order.created"], **listed}),
    }


def weeks_opened(plan: list[dict[str, Any]]) -> set[str]:
    """The weeks whose tables a plan has opened."""
    names = [node.get("Relation Name", "") for node in plan]
    return {found[1] for name in names if (found := re.fullmatch(r"(?:delivery|event_log)_(.+)", name))}


@pytest.mark.parametrize("statement", hot("", {}))
@pytest.mark.parametrize(("after", "at_most"), [("3 days", 1), ("1 hour", 2)])
def test_only_the_weeks_that_are_meant_are_opened(connection: Direct, statement: str, after: str, at_most: int) -> None:
    """Of more than sixty: opening each, to find nothing in it, took longer than all else."""
    id = connection.value(EVENT, after=after)
    sql, parameters = hot(str(id), IdRange.around(id)._asdict())[statement]
    connection.rows(sql, **parameters)

    plan = executed(connection, sql, parameters)

    assert 0 < len(weeks_opened(plan)) <= at_most


def test_relays_look_into_every_week(connection: Direct) -> None:
    """By a plan that is kept: making it anew took longer than using it, twice a second for each worker."""
    parameters = {"limit": 5, "known": [1, 2, 3], "grace": timedelta()}
    connection.rows(deliveries.LIST_DUE, **parameters)
    connection.rows(deliveries.LIST_ORPHANS, limit=5)

    plan = executed(connection, deliveries.LIST_DUE, parameters)

    assert len(weeks_opened(plan)) > WEEKS


def test_a_new_events_slice_looks_around_it(
    bus: EventBus, worker: MakeWorker, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is due elsewhere is for the slices that relays set going: these go on to it from whatever event they are given."""
    ran: list[UUID] = []
    bus.subscribe("order.*", group="a", handler=lambda event: ran.append(event.id))
    execution = worker()
    drafts = [Draft(type="order.created", data={}, source="s") for _ in range(7)]
    ids = [str(event.id) for event in bus.publish_many(drafts)]
    old = [UUID(id) for (id,) in rows.all(AGE, "20 days", ids[:4])]
    rows.all(TRIED, str(old[0]))
    new = [UUID(id) for id in ids[4:]]

    def run(hint: UUID, *, everywhere: bool) -> list[UUID]:
        ran.clear()
        turn = begin(execution)
        assert turn.run_alone(hint, everywhere=everywhere) is None
        turn.run_batches(lambda *_: None)
        assert turn.close() is None
        return list(ran)

    assert run(new[1], everywhere=False) == [new[1], new[0], new[2]]
    assert run(new[1], everywhere=False) == []
    assert run(new[1], everywhere=True) == old
    looked: list[IdRange] = []
    real = claiming.claim_fresh

    def look(*arguments: Any, near: IdRange, **options: Any) -> Any:
        looked.append(near)
        return real(*arguments, near=near, **options)

    monkeypatch.setattr(claiming, "claim_fresh", look)
    assert run(new[1], everywhere=True) == []
    assert looked == [IdRange.around(new[1]), EVERYWHERE]


def test_what_cannot_be_run_now_hides_nothing_elsewhere(bus: EventBus, worker: MakeWorker, rows: Rows) -> None:
    """Suspects of today are all that a relay names, and one is running: what is old and due is run all the same."""
    ran: list[UUID] = []
    bus.subscribe("order.*", group="a", handler=lambda event: ran.append(event.id))
    execution = worker()
    events = bus.publish_many(Draft(type="order.created", data={}, source="s") for _ in range(4))
    [(old,)] = rows.all(AGE, "20 days", [str(events[0].id)])
    rows.all(
        "UPDATE eventbus.delivery SET state = 'retrying', suspect = true, due_at = now() - interval '1 hour' WHERE event_id <> %s",
        old,
    )
    assert execution.slots.begin_suspect()

    turn = begin(execution)
    turn.run_alone(events[1].id)
    turn.run_batches(lambda *_: None)
    turn.close()

    assert ran == [UUID(old)]


def test_wake_ups_for_what_is_not_new_are_for_everything(
    bus: EventBus, execution: SingleRuns, rows: Rows, messages: Messages, redis_client: "redis.Redis[bytes]"
) -> None:
    """They say so by a further argument, which Celery hands on to the task."""
    queue = bus.settings.queue("a")

    def sent(act: Callable[[], Any]) -> list[list[str]]:
        redis_client.delete(queue)
        act()
        return [json.loads(base64.b64decode(message["body"]))[0] for message in messages("a")]

    draft = Draft(type="order.created", data={}, source="s")
    new = [sent(lambda: bus.publish("order.created", {}, source="s")), sent(lambda: bus.publish_many([draft, draft]))]
    rows.all("UPDATE eventbus.delivery SET due_at = now() - interval '1 minute'")
    due = [sent(lambda: relay(bus.database, bus.broker)), sent(lambda: sweep(bus.database, bus.broker))]
    rows.all("UPDATE eventbus.delivery SET state = 'done', finished_at = now()")
    due.append(sent(lambda: bus.replay("#", group="a")))

    assert [[len(args) for args in some] for some in new] == [[1], [1, 1]]
    assert [[args[1:] for args in some] for some in due] == [[["everywhere"]] * 3] * 3


def test_a_task_looks_where_its_message_says(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """A message for a new event leaves alone what is due of weeks ago; one that is for everything does not."""
    events = bus.publish_many(Draft(type="order.created", data={}, source="s") for _ in range(2))
    [(old,)] = rows.all(AGE, "20 days", [str(events[0].id)])
    task = equip(bus, execution)
    state = "SELECT state FROM eventbus.delivery WHERE event_id = %s"

    first = run_in_worker(task, str(events[1].id))[1]
    left = rows.value(state, old)
    second = run_in_worker(task, str(events[1].id), "everywhere")[1]

    assert (first["done"], left, second["done"], rows.value(state, old)) == (1, "pending", 1, "done")


@pytest.fixture
def execution(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of the group ``a``, whose handler does nothing."""
    bus.subscribe("order.created", group="a", handler=lambda event: None)
    return worker()


def test_a_wake_up_that_names_no_time_looks_everywhere(bus: EventBus, worker: MakeWorker, rows: Rows) -> None:
    """Such as one that somebody has sent by hand."""
    ran: list[UUID] = []
    bus.subscribe("order.*", group="a", handler=lambda event: ran.append(event.id))
    execution = worker()
    events = bus.publish_many(Draft(type="order.created", data={}, source="s") for _ in range(2))
    [(old,)] = rows.all(AGE, "10 days", [str(events[0].id)])

    for hint in (None, uuid4()):
        turn = begin(execution)
        turn.run_alone(hint)
        turn.run_batches(lambda *_: None)
        turn.close()
        assert ran == [UUID(old), events[1].id]


@pytest.mark.parametrize(
    ("at", "first", "last"),
    [
        ("2026-11-25T12:00:00Z", "2026-11-23", "2026-11-30"),
        ("2026-11-23T12:00:00Z", "2026-11-16", "2026-11-30"),
        ("2026-11-29T12:00:00Z", "2026-11-23", "2026-12-07"),
        ("2026-11-24T00:00:00Z", "2026-11-23", "2026-11-30"),
        ("2026-11-23T23:59:59.999Z", "2026-11-16", "2026-11-30"),
        ("1970-01-01T12:00:00Z", "1970-01-01", "1970-01-05"),
    ],
)
def test_a_range_of_ids_is_of_whole_weeks(database: Database, at: str, first: str, last: str) -> None:
    """As they are divided among tables: that of the event, and the next one if it is less than a day away."""
    with database.autocommit() as connection:
        id = connection.value("SELECT eventbus.uuid_v7(CAST(:at AS timestamptz), gen_random_uuid())", at=at)
        floors = [
            str(connection.value("SELECT eventbus.uuid_floor(CAST(:at AS timestamptz))", at=f"{edge}T00:00:00Z"))
            for edge in (first, last)
        ]

    near = IdRange.around(id)

    assert (near.first, UUID(near.last).int + 1) == (floors[0], UUID(floors[1]).int)


def test_what_says_no_time_is_of_all_times() -> None:
    """And the first and the last time that an id can say are in the range around them."""
    assert IdRange.around(uuid4()) == EVERYWHERE
    assert (UUID(EVERYWHERE.first).int, UUID(EVERYWHERE.last).int) == (0, (1 << 128) - 1)
    for edge in ("00000000-0000-7000-8000-000000000000", "ffffffff-ffff-7fff-bfff-ffffffffffff"):
        assert IdRange.around(UUID(edge)).first <= edge <= IdRange.around(UUID(edge)).last


def test_a_range_of_listed_ids_holds_them() -> None:
    """And nothing before or after; of none, nothing at all."""
    ids = sorted(str(uuid4()) for _ in range(3))

    assert IdRange.of([ids[1], ids[2], ids[0]]) == (ids[0], ids[2])
    assert IdRange.of([]).first > IdRange.of([]).last
