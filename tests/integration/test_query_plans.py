"""Query plans: the hot statements find their rows by index, whether PostgreSQL has counted the rows or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from eventbus.embedded import Servers
from eventbus.embedded.databases import create_database, drop_database
from eventbus.event import Draft
from eventbus.ids import EVERYWHERE
from eventbus.storage import (
    claiming,
    dead_letters,
    deliveries,
    event_log,
    fingerprints,
    overview,
    parking,
    replay_selection,
    schema_history,
    settling,
    traffic,
)
from eventbus.storage.database import Connection, Database
from eventbus.storage.migrations import upgrade
from eventbus.storage.overview import events as event_views
from eventbus.storage.overview import failings, groups, pulse, rates, reasons, stories
from eventbus.storage.preparing import Hot
from eventbus.subscription import candidates
from tests.support.rows import Rows

#: Events of any time.
NEAR = EVERYWHERE._asdict()
#: 20,000 events of this week for two groups; one in ten is open, one in a hundred a dead letter.
FILL = """
INSERT INTO eventbus.consumer_group (name, queue) SELECT 'g' || n, 'q' FROM generate_series(1, 200) AS n;
INSERT INTO eventbus.subscription (group_name, pattern, handler, policy)
SELECT 'g' || 1 + n % 200, CASE WHEN n < 2 THEN 'order.created' ELSE 'other.' || n END, 'h', '{}'
FROM generate_series(0, 2999) AS n;
INSERT INTO eventbus.event_log (id, type, version, source, data, metadata, created_at)
SELECT eventbus.uuid_v7(now() - n * interval '1 ms', gen_random_uuid()), 'order.created', 1, 's', '{}',
       '{"correlation_id": "c"}', now() FROM generate_series(1, 20000) AS n;
INSERT INTO eventbus.delivery (event_id, group_name, subscription_id, state, due_at, finished_at)
SELECT e.id, g, s.id, CASE WHEN n % 10 = 0 THEN 'pending' WHEN n % 100 = 1 THEN 'dead' ELSE 'done' END, now() - n * interval '1 ms',
       CASE WHEN n % 10 <> 0 THEN now() END
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM eventbus.event_log) AS e
CROSS JOIN (VALUES ('g1'), ('g2')) AS groups (g)
JOIN eventbus.subscription AS s ON s.group_name = g AND s.pattern = 'order.created';
INSERT INTO eventbus.dead_letter
    (event_id, group_name, type, attempts, deaths, error_type, error_message, traceback, fingerprint, status, resolved_at)
SELECT event_id, group_name, 'order.created', 1, 0, 'E', 'm', 't', 'f' || abs(hashtext(CAST(event_id AS text))) % 10,
       CASE WHEN state = 'dead' THEN 'open' ELSE 'retried' END, CASE WHEN state <> 'dead' THEN now() END
FROM eventbus.delivery WHERE state IN ('dead', 'done');
INSERT INTO eventbus.fingerprint (fingerprint, error_type, gist, place, groups)
SELECT 'f' || n, 'E', 'm', '', '{g1}' FROM generate_series(0, 99) AS n;
INSERT INTO eventbus.attempt (event_id, group_name, kind, number, error_type, error_message, dead_letter_id)
SELECT event_id, group_name, 'error', 1, 'E', 'm', id FROM eventbus.dead_letter;
"""


@contextmanager
def unanalysed_database(servers: Servers) -> Iterator[tuple[Database, Rows]]:
    """An empty database whose tables nobody analyses unless told to, and a look behind it."""
    name = f"eventbus_plans_{uuid4().hex[:12]}"
    url = create_database(servers.database_url, name)
    driver_url = url.replace("postgresql://", "postgresql+psycopg2://")
    upgrade(driver_url)
    database, rows = Database(driver_url), Rows(url)
    for (table,) in rows.all(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'eventbus'::regnamespace"
    ):
        rows.all(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    yield database, rows
    rows.close()
    database.dispose()
    drop_database(servers.database_url, name)


@pytest.fixture(scope="module", params=["analysed", "un-analysed"])
def filled(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Database]:
    """A database with enough rows, with and without statistics; shared, for nothing here is committed."""
    with unanalysed_database(servers) as (database, rows):
        rows.all(FILL)
        if request.param == "analysed":
            rows.all("VACUUM ANALYZE")
        yield database


@pytest.fixture
def connection(filled: Database) -> Iterator[Connection]:
    """A transaction that is rolled back."""
    with filled.engine.connect() as raw:
        yield Connection(raw, schema="eventbus")


def nodes(connection: Connection, statement: str, **parameters: Any) -> list[dict[str, Any]]:
    """Every step of the plan by which *statement* was just run."""
    return steps(connection.value(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", **parameters))


def steps(explained: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every step of a plan, as EXPLAIN has told it."""
    todo, seen = [explained[0]["Plan"]], []
    while todo:
        node = todo.pop()
        seen.append(node)
        todo.extend(node.get("Plans", ()))
    return seen


def assert_by_index(plan: list[dict[str, Any]], *, at_most: int) -> None:
    """No large table was read from end to end, and no step saw more than *at_most* rows."""
    shown = [(node["Node Type"], node.get("Relation Name"), node.get("Index Name"), seen(node)) for node in plan]
    # Reading an empty partition from end to end is right.
    scanned = [relation for kind, relation, _, count in shown if kind == "Seq Scan" and count > 0]
    large = [name for name in scanned if name.startswith(("delivery", "event_log", "dead_letter", "attempt"))]

    assert not large, shown
    assert max(seen(node) for node in plan if node.get("Relation Name") != "consumer_group") <= at_most, shown


def seen(node: dict[str, Any]) -> int:
    """How many rows a step has looked at."""
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


def marks() -> dict[str, Any]:
    """What a claim writes."""
    return {"claim": 1, "lease": timedelta(seconds=30), "worker": "w", "task_id": None}


def subscription_ids(connection: Connection, *groups: str) -> list[int]:
    """The ids of the subscriptions of some groups."""
    found = connection.rows(
        "SELECT id FROM eventbus.subscription WHERE group_name = ANY (CAST(:groups AS text[])) ORDER BY id",
        groups=list(groups),
    )
    return [row.id for row in found]


def test_a_named_claim_reads_one_row(connection: Connection) -> None:
    """By the primary key, also where a partial index looks tempting."""
    event_id = connection.value("SELECT event_id FROM eventbus.delivery WHERE state = 'pending' LIMIT 1")
    ids = subscription_ids(connection, "g1")

    plan = nodes(
        connection,
        claiming.CLAIM_NAMED,
        event_id=str(event_id),
        group="g1",
        subscriptions=ids,
        suspects=True,
        **marks(),
    )

    assert_by_index(plan, at_most=20)
    assert any(node.get("Index Name", "").endswith("_pkey") for node in plan)


@pytest.mark.parametrize("groups", [("g1",), ("g1", "g3")], ids=["one pattern", "many patterns"])
def test_a_batch_does_not_grow_with_the_backlog(connection: Connection, groups: tuple[str, ...]) -> None:
    """2,000 are due: a claim reads about as many as it takes."""
    ids = subscription_ids(connection, *groups)

    plan = nodes(connection, claiming.CLAIM_FRESH, group="g1", subscriptions=ids, limit=10, **marks(), **NEAR)

    assert_by_index(plan, at_most=60)


def test_a_claim_of_a_tried_one_does_not_grow_with_the_backlog(connection: Connection) -> None:
    """What was never tried, 2,000 rows, is not even looked at."""
    ids = subscription_ids(connection, "g1")

    plan = nodes(
        connection, claiming.CLAIM_TRIED, group="g1", subscriptions=ids, limit=1, suspects=True, **marks(), **NEAR
    )

    assert_by_index(plan, at_most=40)


def test_a_sweep_reads_what_it_wakes(connection: Connection) -> None:
    """Each subscription's oldest by its index, whatever the backlog and the history."""
    plan = nodes(connection, deliveries.LIST_DUE, limit=5, known=None, grace=timedelta())

    assert_by_index(plan, at_most=9000)


def test_a_relay_reads_what_its_worker_knows(connection: Connection) -> None:
    """Neither the backlog nor what other workers serve costs it anything."""
    ids = subscription_ids(connection, "g1")[:1]

    plan = nodes(connection, deliveries.LIST_DUE, limit=100, known=ids, grace=timedelta(milliseconds=250))

    assert_by_index(plan, at_most=3000)


@pytest.mark.parametrize("statement", ["relay", "claim", "slice's end"])
def test_a_paused_groups_backlog_is_not_read(connection: Connection, statement: str) -> None:
    """However long it has grown: 2,000 due rows cost no more than a few would."""
    ids = subscription_ids(connection, "g1")[:1]
    connection.change("UPDATE eventbus.consumer_group SET paused = true WHERE name = 'g1'")

    if statement == "relay":
        plan = nodes(connection, deliveries.LIST_DUE, limit=10, known=ids, grace=timedelta())
    elif statement == "claim":
        plan = nodes(connection, claiming.CLAIM_FRESH, group="g1", subscriptions=ids, limit=10, **marks(), **NEAR)
    else:
        plan = nodes(connection, deliveries.FIND_DUE, group="g1", subscriptions=ids)

    # The planner may look for the oldest before it asks whether the group is paused, but no further.
    read = [seen(node) for node in plan if node.get("Relation Name", "").startswith("delivery")]
    assert sum(read) <= 10


def test_looking_for_one_that_is_due_reads_a_few(connection: Connection) -> None:
    """As a slice does when it ends."""
    ids = subscription_ids(connection, "g1")

    plan = nodes(connection, deliveries.FIND_DUE, group="g1", subscriptions=ids)

    assert_by_index(plan, at_most=60)


def test_settling_many_reads_these(connection: Connection) -> None:
    """By the primary key."""
    rows = connection.rows(
        "SELECT event_id FROM eventbus.delivery WHERE state = 'pending' AND group_name = 'g1' LIMIT 50"
    )
    ids = [str(row.event_id) for row in rows]
    wanted = {"group": "g1", "claim": 7, **NEAR}
    connection.change(
        "UPDATE eventbus.delivery SET state = 'running', claim = 7 "
        "WHERE group_name = 'g1' AND event_id = ANY (CAST(:ids AS uuid[]))",
        ids=ids,
    )

    renewed = nodes(connection, settling.RENEW, events=ids, lease=timedelta(seconds=9), **wanted)
    given_back = nodes(connection, settling.GIVE_BACK, events=ids[:10], **wanted)
    rest = nodes(
        connection, settling.GIVE_BACK_CLAIM, subscriptions=subscription_ids(connection, "g1"), but=ids[20:], **wanted
    )
    done = nodes(connection, settling.MARK_MANY_DONE, events=ids[20:], types=["order.created"] * 30, **wanted)
    alone = nodes(
        connection,
        settling.MARK_ALONE_DONE,
        event_id=ids[19],
        type="order.created",
        subscriptions=subscription_ids(connection, "g1"),
        **wanted,
    )

    for plan in (renewed, given_back, rest, done):
        assert_by_index(plan, at_most=400)
    assert_by_index(alone, at_most=60)


def test_publishing_looks_subscriptions_up(connection: Connection) -> None:
    """The cost does not grow with the number of subscriptions."""
    draft = Draft(type="order.created", data=1, source="s")

    plan = nodes(
        connection,
        event_log.APPEND,
        random=str(uuid4()),
        type=draft.type,
        version=1,
        source="s",
        data="1",
        metadata='{"correlation_id": "c"}',
        patterns=list(candidates(draft.type)),
    )

    assert_by_index(plan, at_most=20)
    assert any(node.get("Index Name") == "subscription_pattern_idx" for node in plan)


@pytest.mark.parametrize("type", [None, "order.created"])
def test_open_dead_letters_of_a_group_are_listed_by_index(connection: Connection, type: str | None) -> None:
    """A page costs a page, beside a long history of resolved ones."""
    plan = nodes(
        connection,
        dead_letters.LIST,
        status="open",
        before=None,
        limit=20,
        **dead_letters.Filter(group="g1", types=None if type is None else (type,)).parameters(),
    )

    assert_by_index(plan, at_most=400)


def test_dead_letters_of_a_cause_are_found_by_index(connection: Connection) -> None:
    """A page of them, and what is open."""
    wanted = dead_letters.Filter(fingerprint="f1").parameters()

    for status in (None, "open"):
        letters = nodes(connection, dead_letters.LIST, status=status, before=None, limit=20, **wanted)
        assert_by_index(letters, at_most=400)
    assert_by_index(nodes(connection, fingerprints.FIND, fingerprint="f1"), at_most=200)
    page = nodes(connection, fingerprints.LIST, state=None, group="g1", before=None, below=None, limit=20)
    assert_by_index(page, at_most=410)


def test_causes_are_settled_by_index(connection: Connection) -> None:
    """Only what is open is asked whether it is; and no letters are read but those of the cause, one in ten."""
    assert_by_index(nodes(connection, fingerprints.LOCK_QUIET, limit=100), at_most=410)
    assert_by_index(nodes(connection, fingerprints.SETTLE, fingerprints=["f1", "f50"], limit=100), at_most=4000)


def test_a_dead_letter_shows_its_attempts_by_index(connection: Connection) -> None:
    """By event and group."""
    event_id = connection.value("SELECT event_id FROM eventbus.dead_letter LIMIT 1")

    plan = nodes(connection, dead_letters.ATTEMPTS, event_id=str(event_id), group="g1", id=1)

    assert_by_index(plan, at_most=5)
    assert any(node.get("Index Name") == "attempt_delivery_idx" for node in plan)


def test_open_deliveries_of_a_subscription_are_counted_by_index(connection: Connection) -> None:
    """Only what is open is read."""
    ids = subscription_ids(connection, "g1")

    plan = nodes(connection, deliveries.COUNT_OPEN, group="g1", subscriptions=ids)

    assert_by_index(plan, at_most=2000)


@pytest.fixture
def counted(connection: Connection) -> Connection:
    """All but the last 100 events were counted, and there is traffic of a week."""
    connection.change(
        "INSERT INTO eventbus.traffic_span SELECT '1970-01-01Z', max(created_at) - interval '100 ms', '{}' FROM eventbus.event_log"
    )
    connection.change(
        "INSERT INTO eventbus.traffic SELECT date_trunc('minute', now()) - n * interval '1 min', 'order.created', '', n, 0 "
        "FROM generate_series(1, 10000) AS n"
    )
    connection.change("INSERT INTO eventbus.traffic_total VALUES ('order.created', '', 20000, 0)")
    return connection


def test_traffic_is_read_from_what_was_counted(counted: Connection) -> None:
    """Of the log, only what came since is read; of the minutes, none."""
    since = counted.value(overview.COUNTED_UNTIL, beginning=traffic.BEGINNING)

    plan = nodes(counted, overview.TRAFFIC, since=since, beginning=traffic.BEGINNING)

    assert_by_index(plan, at_most=110)
    # By the index of types only where PostgreSQL skips from type to type in it: before, it read all of it.
    if int(counted.value("SHOW server_version_num")) < 180000:
        assert all(name.endswith("_pkey") for node in plan if (name := node.get("Index Name")))
    assert not [node for node in plan if node.get("Relation Name") == "traffic"]


def test_a_small_table_without_a_fitting_index_is_not_compiled_for(filled: Database) -> None:
    """Connections that prefer indexes make it look dear: before PostgreSQL 18, so dear that machine code would be made for it."""
    with filled.autocommit() as connection:
        connection.value(Hot("SELECT CAST(:one AS integer)"), one=1)
        [found] = connection.value(
            f"EXPLAIN (FORMAT JSON) {overview.TRAFFIC}", since=traffic.BEGINNING, beginning=traffic.BEGINNING
        )

    assert "JIT" not in found


def test_open_dead_letters_are_counted_by_index(counted: Connection) -> None:
    """400 are open, beside ten times as many that were resolved."""
    plan = nodes(counted, overview.DEAD)

    assert_by_index(plan, at_most=400)


def test_depths_are_counted_by_the_index_of_what_is_open(counted: Connection) -> None:
    """4,000 are open, of 40,000."""
    plan = nodes(counted, overview.DEPTHS)

    assert_by_index(plan, at_most=4010)


def test_the_last_hour_is_read_by_index(counted: Connection) -> None:
    """Its minutes, what nobody has counted yet, the newest failed runs; and what is open, state by state."""
    counted.change("ANALYZE eventbus.traffic")
    since = counted.value(rates.FIRST_MINUTE, span=timedelta(hours=1))
    until = counted.value(overview.COUNTED_UNTIL, beginning=traffic.BEGINNING)

    minutes = nodes(counted, rates.MINUTES, since=since, beginning=traffic.BEGINNING, **{"from": until})
    failures = nodes(counted, rates.FAILURES, since=since, limit=100)
    states = nodes(counted, pulse.STATES)

    assert_by_index(minutes, at_most=110)
    assert "traffic_pkey" in {node.get("Index Name") for node in minutes}
    assert_by_index(failures, at_most=110)
    assert_by_index(states, at_most=4010)


def test_a_span_is_counted_by_index(counted: Connection) -> None:
    """The events of its minutes, by their ids; and what is known of these minutes."""
    until = counted.value("SELECT max(created_at) FROM eventbus.event_log")
    traffic.try_lock(counted)

    plan = nodes(counted, traffic.COUNT_SPAN, started=until - timedelta(milliseconds=500), ended=until)

    assert_by_index(plan, at_most=510)
    known = [node for node in plan if node.get("Relation Name") == "traffic" and node["Node Type"] != "ModifyTable"]
    assert max(map(seen, known)) <= 20


def test_whether_something_is_to_be_counted_costs_next_to_nothing(counted: Connection) -> None:
    """Every worker asks every other second."""
    assert_by_index(nodes(counted, traffic.IS_DUE, **traffic.LIMITS), at_most=5)


def test_where_the_next_span_ends_is_found_by_index(counted: Connection) -> None:
    """As many events are read as it may have."""
    counted.change("UPDATE eventbus.traffic_span SET ended_at = '2000-01-01Z'")

    assert_by_index(
        nodes(counted, traffic.NEXT_SPAN, limit=50, **{**traffic.LIMITS, "settled": -timedelta(hours=1)}), at_most=60
    )


def test_parked_deliveries_are_counted_without_the_others(connection: Connection) -> None:
    """A look at the index for each of 3,000 subscriptions, and at none of the deliveries that are open."""
    plan = nodes(connection, overview.PARKED)

    assert_by_index(plan, at_most=3010)
    assert max(seen(node) for node in plan if node.get("Relation Name", "").startswith("delivery")) == 0


def test_parked_deliveries_are_found_at_the_end_of_the_index(connection: Connection) -> None:
    """However many others are open: each worker that starts looks for them."""
    [subscription] = subscription_ids(connection, "g1")[:1]
    connection.change(
        "UPDATE eventbus.delivery SET state = 'parked', due_at = 'infinity' WHERE group_name = 'g1' AND event_id IN "
        "(SELECT event_id FROM eventbus.delivery WHERE group_name = 'g1' AND state = 'pending' LIMIT 20)"
    )

    plan = nodes(connection, parking.LIST_PARKED_VERSIONS, group="g1", subscription=subscription)

    assert_by_index(plan, at_most=100)


def test_the_history_of_a_type_is_read_batch_by_batch(connection: Connection) -> None:
    """Each batch is read once, in the order of the index."""
    last = schema_history.newest_event(connection, "order.created")

    plan = nodes(
        connection,
        schema_history.NEXT,
        type="order.created",
        after=str(schema_history.BEGINNING),
        last=str(last),
        limit=100,
    )

    assert_by_index(plan, at_most=200)


#: What is looked for, how many rows of a page of ten may be read for it, and what must not be touched.
LISTS: list[tuple[dict[str, Any], int]] = [
    ({}, 12),
    ({"types": ["order.created"]}, 12),
    ({"types": ["order.created", "order.paid"]}, 30),
    ({"types": [f"order.t{n}" for n in range(20)]}, 10_000),
    ({"correlation_id": "c"}, 12),
    ({"group": "g1", "state": "pending"}, 130),
    ({"types": ["order.created"], "group": "g1", "state": "parked"}, 10_000),
    ({"types": ["order.created"], "data": {("a", "b"): "1"}}, 10_000),
]


@pytest.mark.parametrize(("wanted", "at_most"), LISTS, ids=lambda value: str(value)[:60])
def test_a_page_of_events_reads_a_page(connection: Connection, wanted: dict[str, Any], at_most: int) -> None:
    """What no index knows is looked for in 10,000 events and no more, whatever the length of the log."""
    bounds = replay_selection.resolve_bounds(connection, since=None, until=None)
    asked = event_views.Wanted(bounds=bounds, **wanted)
    source, conditions = event_views._access(asked)
    reads = event_views.MOST_READ if conditions else 11
    parameters = event_views._parameters(asked, before=UUID(int=(1 << 128) - 1), reads=reads)

    plan = nodes(connection, event_views.page_statement(source, conditions), limit=11, **parameters)

    assert_by_index([node for node in plan if node["Node Type"] != "Append"], at_most=at_most)
    assert not [node for node in plan if node["Node Type"] == "Sort" and seen(node) > 50]


def test_a_story_is_read_by_its_correlation_id(connection: Connection) -> None:
    """As many events as are shown, and their deliveries by their keys."""
    rows = connection.rows(stories.EVENTS, correlation="c", limit=21)
    events = nodes(connection, stories.EVENTS, correlation="c", limit=21)
    standings = nodes(connection, stories.STANDINGS, ids=[str(row.id) for row in rows])

    assert_by_index(events, at_most=21)
    assert_by_index(standings, at_most=50)


def test_why_reads_what_it_tells(connection: Connection) -> None:
    """The dead letter and the failed runs of one delivery."""
    event_id = str(connection.value("SELECT event_id FROM eventbus.dead_letter LIMIT 1"))

    for statement in (reasons.LETTER, reasons.RUNS):
        assert_by_index(nodes(connection, statement, event_id=event_id, group="g1"), at_most=5)


def test_what_failed_of_an_event_is_found_by_it(connection: Connection) -> None:
    """Its runs and its dead letters, beside those of all other events; and `attempt_delivery_idx` knows the event first."""
    event_id = str(connection.value("SELECT event_id FROM eventbus.dead_letter LIMIT 1"))

    assert_by_index(nodes(connection, failings.RUNS, event_id=event_id, limit=200), at_most=5)
    assert_by_index(nodes(connection, failings.LETTERS, event_id=event_id), at_most=5)


def test_how_late_groups_are_is_found_by_index(connection: Connection) -> None:
    """The oldest of each subscription, of 4,000 that are due and 40,000 deliveries in all."""
    for group in (None, "g1"):
        assert_by_index(nodes(connection, groups.STATES, group=group), at_most=9000)
    assert_by_index(nodes(connection, groups.OPEN, group="g1"), at_most=2000)


def test_open_dead_letters_that_are_meant_are_counted_by_index(connection: Connection) -> None:
    """Those of the group, beside a long history of resolved ones."""
    wanted = dead_letters.Filter(group="g1", types=("order.created",)).parameters()

    assert_by_index(nodes(connection, dead_letters.OPEN_IDS, **wanted), at_most=410)
