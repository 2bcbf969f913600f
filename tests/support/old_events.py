"""Events of earlier days: published now, and given ids of then, by which the log is divided into weeks."""

#: Takes the ids of events, and how old they are to be.
AGE = """
WITH aged AS MATERIALIZED (
    SELECT id, eventbus.uuid_v7(clock_timestamp() - CAST(%s AS interval), gen_random_uuid()) AS then
    FROM eventbus.event_log WHERE id = ANY (CAST(%s AS uuid[]))
), events AS (
    UPDATE eventbus.event_log AS e SET id = aged.then FROM aged WHERE e.id = aged.id
), deliveries AS (
    UPDATE eventbus.delivery AS d SET event_id = aged.then FROM aged WHERE d.event_id = aged.id
)
SELECT CAST(aged.then AS text) FROM aged ORDER BY aged.id
"""
