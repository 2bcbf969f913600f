"""A million events, each owed to one of ten groups and not yet handled: a bus that has fallen far behind."""

from tests.support.rows import Rows

EVENTS = 1_000_000

#: Indexes are made when the rows are there, which takes a third of the time.
_INDEXES = """
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index AS i
JOIN pg_class AS t ON t.oid = i.indrelid
WHERE t.relkind = 'p' AND t.relname IN ('event_log', 'delivery') AND NOT i.indisprimary
"""
_GROUPS = """
INSERT INTO eventbus.consumer_group (name, queue) SELECT 'group-' || n, 'eventbus.group-' || n FROM generate_series(0, 9) AS n;
INSERT INTO eventbus.subscription (group_name, pattern, handler, policy)
SELECT 'group-' || n, 'order.*', 'shop.handle', '{}' FROM generate_series(0, 9) AS n
"""
_FILL = """
WITH written AS (
    INSERT INTO eventbus.event_log (id, type, version, source, data, metadata, created_at)
    SELECT eventbus.uuid_v7(at, gen_random_uuid()), 'order.' || n %% 20, 1, 'shop', '{"orderId": "o-1", "total": 1}',
           jsonb_build_object('correlation_id', 'c-' || n / 4), at
    FROM generate_series(1, %s) AS n CROSS JOIN LATERAL (SELECT now() - n * interval '0.5 s' AS at) AS clock
    RETURNING id, created_at
)
INSERT INTO eventbus.delivery (event_id, group_name, subscription_id, state, attempts, due_at)
SELECT owed.id, s.group_name, s.id,
       CASE WHEN number %% 50 = 0 THEN 'retrying' ELSE 'pending' END,
       CASE number %% 50 WHEN 0 THEN 1 ELSE 0 END, owed.created_at
FROM (SELECT id, created_at, row_number() OVER () AS number FROM written) AS owed
JOIN eventbus.subscription AS s ON s.group_name = 'group-' || number %% 10
"""


def fill(rows: Rows) -> None:
    """Write them into an empty bus, as statistics and vacuum would find them after a while."""
    rows.all(_GROUPS)
    indexes = rows.all(_INDEXES)
    for name, _ in indexes:
        rows.all(f"DROP INDEX {name}")
    rows.all(_FILL, EVENTS)
    for _, definition in indexes:
        rows.all(definition.replace(" ON ONLY ", " ON "))
    rows.all("VACUUM ANALYZE eventbus.event_log, eventbus.delivery")
