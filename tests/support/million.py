"""A bus that has seen a million events: seeded by SQL in seconds, for tests that measure lists and pages.

    1,000,000 events of 20 types ─┬─▶ 1,000,000 open deliveries, of five groups
                                  ├─▶   100,000 deliveries that are done, of a sixth
                                  └─▶    20,000 dead letters of 40 causes, each with its attempt, of a seventh

The weeks' partitions are filled without their indexes, which are made afterwards: a fifth of the time.
"""

from tests.support.rows import Rows

EVENTS = 1_000_000

GROUPS = """
INSERT INTO eventbus.consumer_group (name, queue) SELECT name, 'eventbus.' || name
FROM unnest('{load-0,load-1,load-2,load-3,load-4,load-done,load-dead}'::text[]) AS name;
INSERT INTO eventbus.subscription (group_name, pattern, handler, policy)
SELECT name, 'load.#', 'load:handle', '{}' FROM eventbus.consumer_group WHERE name LIKE 'load-%';
"""
EVENT_LOG = f"""
INSERT INTO eventbus.{{partition}} (id, type, version, source, data, metadata, created_at)
SELECT eventbus.uuid_v7(at, gen_random_uuid()), 'load.type' || n % 20, 1, 'load',
       jsonb_build_object('number', n, 'customer', jsonb_build_object('id', n % 1000)),
       jsonb_build_object('correlation_id', 'story-' || n / 5), at
FROM generate_series(1, {EVENTS}) AS n
CROSS JOIN LATERAL (SELECT {{end}} - ({EVENTS} - n) * interval '50 microseconds' AS at) AS clock
"""
DELIVERIES = """
WITH numbered AS MATERIALIZED (
    SELECT id, created_at, (data ->> 'number')::integer AS n FROM eventbus.{partition}
), wish AS (
    SELECT id, group_name FROM eventbus.subscription WHERE group_name LIKE 'load-%'
)
INSERT INTO eventbus.{target} (event_id, group_name, subscription_id, state, attempts, due_at, finished_at, claim, last_error)
SELECT e.id, wish.group_name, wish.id,
       CASE WHEN n % 50 < 45 THEN 'pending' WHEN n % 50 < 49 THEN 'retrying' ELSE 'running' END,
       CASE WHEN n % 50 BETWEEN 45 AND 48 THEN 1 ELSE 0 END, e.created_at, NULL::timestamptz,
       CASE WHEN n % 50 = 49 THEN n END, CASE WHEN n % 50 BETWEEN 45 AND 48 THEN 'ValueError: load' END
FROM numbered AS e JOIN wish ON wish.group_name = 'load-' || n % 5
UNION ALL
SELECT e.id, wish.group_name, wish.id, 'done', 0, e.created_at, e.created_at, NULL, NULL
FROM numbered AS e JOIN wish ON wish.group_name = 'load-done' WHERE n % 10 = 0
UNION ALL
SELECT e.id, wish.group_name, wish.id, 'dead', 1, e.created_at, e.created_at, NULL, 'ValueError: load'
FROM numbered AS e JOIN wish ON wish.group_name = 'load-dead' WHERE n % 50 = 0
"""
DEAD_LETTERS = """
INSERT INTO eventbus.dead_letter
    (event_id, group_name, type, attempts, deaths, error_type, error_message, traceback, fingerprint, failed_at)
SELECT d.event_id, d.group_name, e.type, 1, 0, 'ValueError', 'load ' || cause, 'ValueError: load ' || cause,
       substr(md5(cause::text), 1, 16), e.created_at
FROM eventbus.delivery AS d JOIN eventbus.event_log AS e ON e.id = d.event_id
CROSS JOIN LATERAL (SELECT (e.data ->> 'number')::integer / 50 % 40 AS cause) AS causes
WHERE d.group_name = 'load-dead' AND d.state = 'dead';
INSERT INTO eventbus.fingerprint (fingerprint, error_type, gist, place, groups, occurrences, first_seen_at, last_seen_at)
SELECT fingerprint, min(error_type), 'load ?', fingerprint, '{load-dead}', count(*), min(failed_at), max(failed_at)
FROM eventbus.dead_letter WHERE group_name = 'load-dead' GROUP BY fingerprint;
INSERT INTO eventbus.attempt (event_id, group_name, kind, number, error_type, error_message, failed_at, dead_letter_id)
SELECT event_id, group_name, 'error', 1, error_type, error_message, failed_at, id FROM eventbus.dead_letter
WHERE group_name = 'load-dead';
"""
BOUNDS = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = %s::regclass"
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'eventbus' AND tablename = %s"
CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'p'
"""


def fill(url: str) -> None:
    """Fill a migrated database, beside what is there: the newest event is a minute old, or a little in the future on a Monday."""
    rows = Rows(url)
    rows.all("SET work_mem = '256MB'; SET maintenance_work_mem = '256MB'; SET synchronous_commit = off")
    rows.all(GROUPS)
    week = "date_trunc('week', now(), 'UTC')"
    # Within this week, whose first minute is too short for a million events.
    end = f"greatest(now() - interval '1 minute', {week} + interval '51 seconds')"
    log, delivery = (_this_week(rows, table) for table in ("event_log", "delivery"))
    _without_indexes(rows, "event_log", log, EVENT_LOG.format(partition=log, end=end))
    _without_indexes(rows, "delivery", delivery, DELIVERIES.format(partition=log, target=delivery))
    rows.all(DEAD_LETTERS)
    rows.all("VACUUM ANALYZE")
    rows.close()


def _this_week(rows: Rows, table: str) -> str:
    return str(rows.value(f"SELECT '{table}_' || to_char(now() AT TIME ZONE 'UTC', 'IYYY_IW')"))


def _without_indexes(rows: Rows, parent: str, partition: str, statement: str) -> None:
    bounds = rows.value(BOUNDS, f"eventbus.{partition}")
    rows.all(f"ALTER TABLE eventbus.{parent} DETACH PARTITION eventbus.{partition}")
    keys = rows.all(CONSTRAINTS, f"eventbus.{partition}")
    for name, _ in keys:
        rows.all(f'ALTER TABLE eventbus.{partition} DROP CONSTRAINT "{name}"')
    indexes = rows.all(INDEXES, partition)
    for name, _ in indexes:
        rows.all(f'DROP INDEX eventbus."{name}"')
    rows.all(statement)
    for _, definition in indexes:
        rows.all(definition)
    for name, definition in keys:
        rows.all(f'ALTER TABLE eventbus.{partition} ADD CONSTRAINT "{name}" {definition}')
    rows.all(f"ALTER TABLE eventbus.{parent} ATTACH PARTITION eventbus.{partition} {bounds}")
