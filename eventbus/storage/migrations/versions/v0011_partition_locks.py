"""Partitions are made without a deadlock: once a week every claim met one, in the other order."""

from alembic import context, op

revision = "0011"
down_revision = "0010"

ENSURE = """
CREATE OR REPLACE FUNCTION eventbus.ensure_partitions(ahead interval DEFAULT '4 weeks') RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    week timestamptz;
    parent text;
    part text;
    id_column text;
    missing text[];
    created integer := 0;
BEGIN
    PERFORM set_config('lock_timeout', '5s', true);
    PERFORM pg_advisory_xact_lock(hashtext('eventbus.ensure_partitions'));
    -- Whoever reads the log before deliveries may hold the one and want the other. This gives up before anybody else has to:
    -- weeks are made ahead, so there is time to try again.
    PERFORM set_config('lock_timeout', GREATEST(1, CAST(setting AS integer) / 4) || 'ms', true)
    FROM pg_settings WHERE name = 'deadlock_timeout';
    -- In hours: a day is 23 or 25 hours long where the session's time zone changes its offset.
    FOR week IN SELECT generate_series(date_trunc('week', now(), 'UTC'), now() + ahead, '168 hours') LOOP
        missing := ARRAY(
            SELECT name FROM unnest(ARRAY['delivery', 'event_log']) AS name
            WHERE to_regclass('eventbus.' || name || '_' || to_char(week AT TIME ZONE 'UTC', 'IYYY_IW')) IS NULL
        );
        CONTINUE WHEN missing = '{}';
        FOREACH parent IN ARRAY missing LOOP
            part := parent || '_' || to_char(week AT TIME ZONE 'UTC', 'IYYY_IW');
            EXECUTE format('CREATE TABLE eventbus.%I (LIKE eventbus.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, parent);
            IF parent = 'delivery' THEN
                EXECUTE format('ALTER TABLE eventbus.%I SET (fillfactor = 80)', part);
            END IF;
        END LOOP;
        -- In the order in which claims open them, and before anything is held that somebody waits for.
        LOCK TABLE eventbus.delivery_default, eventbus.event_log_default IN ACCESS EXCLUSIVE MODE;
        FOREACH parent IN ARRAY missing LOOP
            part := parent || '_' || to_char(week AT TIME ZONE 'UTC', 'IYYY_IW');
            id_column := CASE parent WHEN 'delivery' THEN 'event_id' ELSE 'id' END;
            EXECUTE format('WITH moved AS (DELETE FROM eventbus.%I WHERE %I >= $1 AND %2$I < $2 RETURNING *) '
                           'INSERT INTO eventbus.%3$I SELECT * FROM moved', parent || '_default', id_column, part)
                USING eventbus.uuid_floor(week), eventbus.uuid_floor(week + interval '168 hours');
            EXECUTE format('ALTER TABLE eventbus.%I ATTACH PARTITION eventbus.%I FOR VALUES FROM (%L) TO (%L)', parent, part,
                           eventbus.uuid_floor(week), eventbus.uuid_floor(week + interval '168 hours'));
            created := created + 1;
        END LOOP;
    END LOOP;
    RETURN created;
END
$$;
"""


def upgrade() -> None:
    """Replace it."""
    schema = context.config.attributes["schema"]
    op.get_bind().exec_driver_sql(ENSURE.replace("eventbus.", f"{schema}.").replace("%", "%%"))
