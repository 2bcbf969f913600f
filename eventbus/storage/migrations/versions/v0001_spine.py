"""The spine: groups, subscriptions, the event log, deliveries, their attempts and dead letters.

Log and deliveries are partitioned by week on the event's id, which is its time. A week without a partition goes to the
default one, so that no publish fails for want of housekeeping; `ensure_partitions` moves such rows where they belong.
"""

from alembic import context, op

revision = "0001"
down_revision = None

CLOCK = """
CREATE FUNCTION eventbus.uuid_v7(at timestamptz, random uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    -- 48 bits of milliseconds, the version, 12 bits of their fraction; then the variant and 62 random bits of a uuid v4.
    SELECT encode(int8send(((micros / 1000) << 16) | (7 << 12) | (((micros % 1000) << 12) / 1000))
                  || substring(uuid_send(random) FROM 9), 'hex')::uuid
    FROM (SELECT (extract(epoch FROM at) * 1000000)::bigint AS micros) AS clock
$$;

CREATE FUNCTION eventbus.uuid_floor(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    -- No event recorded at or after that time has a smaller id.
    SELECT encode(int8send(floor(extract(epoch FROM at) * 1000)::bigint << 16) || '\\x0000000000000000'::bytea, 'hex')::uuid
$$;
"""

GROUPS = """
CREATE TABLE eventbus.consumer_group (
    name text NOT NULL,
    queue text NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    owner text,
    description text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT consumer_group_pkey PRIMARY KEY (name),
    CONSTRAINT consumer_group_name_check CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$')
);

CREATE TABLE eventbus.subscription (
    id bigint GENERATED ALWAYS AS IDENTITY,
    group_name text NOT NULL,
    pattern text NOT NULL,
    handler text NOT NULL,
    policy jsonb NOT NULL,
    reads jsonb,
    version integer,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_at timestamptz,
    CONSTRAINT subscription_pkey PRIMARY KEY (id),
    CONSTRAINT subscription_group_name_fkey FOREIGN KEY (group_name) REFERENCES eventbus.consumer_group (name),
    CONSTRAINT subscription_group_name_pattern_key UNIQUE (group_name, pattern),
    CONSTRAINT subscription_version_check CHECK (version > 0)
);
CREATE INDEX subscription_pattern_idx ON eventbus.subscription (pattern) WHERE removed_at IS NULL;
"""

LOG = """
CREATE TABLE eventbus.event_log (
    id uuid NOT NULL,
    type text NOT NULL,
    version integer NOT NULL,
    source text NOT NULL,
    key text,
    data jsonb NOT NULL,
    metadata jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT event_log_pkey PRIMARY KEY (id),
    CONSTRAINT event_log_type_check CHECK (length(type) BETWEEN 1 AND 200),
    CONSTRAINT event_log_version_check CHECK (version > 0),
    CONSTRAINT event_log_metadata_check CHECK (metadata ? 'correlation_id')
) PARTITION BY RANGE (id);
CREATE INDEX event_log_type_idx ON eventbus.event_log (type, id);
CREATE INDEX event_log_correlation_idx ON eventbus.event_log ((metadata ->> 'correlation_id'), id);
CREATE TABLE eventbus.event_log_default PARTITION OF eventbus.event_log DEFAULT;

CREATE TABLE eventbus.delivery (
    event_id uuid NOT NULL,
    group_name text NOT NULL,
    subscription_id bigint NOT NULL,
    state text NOT NULL DEFAULT 'pending',
    attempts integer NOT NULL DEFAULT 0,
    deaths integer NOT NULL DEFAULT 0,
    suspect boolean NOT NULL DEFAULT false,
    rerun boolean NOT NULL DEFAULT false,
    claim bigint,
    due_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    worker text,
    task_id text,
    last_error text,
    replay_id uuid,
    CONSTRAINT delivery_pkey PRIMARY KEY (event_id, group_name),
    CONSTRAINT delivery_state_check CHECK (
        state IN ('pending', 'running', 'retrying', 'parked', 'done', 'dead', 'skipped', 'cancelled')),
    CONSTRAINT delivery_finished_check CHECK (
        (finished_at IS NOT NULL) = (state IN ('done', 'dead', 'skipped', 'cancelled'))),
    CONSTRAINT delivery_claim_check CHECK ((claim IS NOT NULL) = (state = 'running')),
    CONSTRAINT delivery_started_check CHECK (started_at IS NULL OR state = 'running'),
    CONSTRAINT delivery_rerun_check CHECK (NOT rerun OR state = 'running'),
    CONSTRAINT delivery_counts_check CHECK (attempts >= 0 AND deaths >= 0)
) PARTITION BY RANGE (event_id);
CREATE INDEX delivery_open_idx ON eventbus.delivery (group_name, subscription_id, due_at) WHERE finished_at IS NULL;
CREATE TABLE eventbus.delivery_default PARTITION OF eventbus.delivery DEFAULT WITH (fillfactor = 80);
"""

FAILURES = """
CREATE TABLE eventbus.attempt (
    id bigint GENERATED ALWAYS AS IDENTITY,
    event_id uuid NOT NULL,
    group_name text NOT NULL,
    kind text NOT NULL,
    number integer NOT NULL,
    error_type text NOT NULL,
    error_message text NOT NULL,
    worker text,
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    dead_letter_id bigint,
    CONSTRAINT attempt_pkey PRIMARY KEY (id),
    CONSTRAINT attempt_kind_check CHECK (kind IN ('error', 'death')),
    CONSTRAINT attempt_number_check CHECK (number > 0)
);
CREATE INDEX attempt_delivery_idx ON eventbus.attempt (event_id, group_name);

CREATE TABLE eventbus.dead_letter (
    id bigint GENERATED ALWAYS AS IDENTITY,
    event_id uuid NOT NULL,
    group_name text NOT NULL,
    type text NOT NULL,
    attempts integer NOT NULL,
    deaths integer NOT NULL,
    error_type text NOT NULL,
    error_message text NOT NULL,
    traceback text NOT NULL,
    fingerprint text NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    status text NOT NULL DEFAULT 'open',
    resolved_at timestamptz,
    note text,
    CONSTRAINT dead_letter_pkey PRIMARY KEY (id),
    CONSTRAINT dead_letter_status_check CHECK (status IN ('open', 'retried', 'discarded')),
    CONSTRAINT dead_letter_resolved_check CHECK ((resolved_at IS NOT NULL) = (status <> 'open')),
    CONSTRAINT dead_letter_note_check CHECK (status <> 'discarded' OR note IS NOT NULL)
);
CREATE UNIQUE INDEX dead_letter_open_key ON eventbus.dead_letter (event_id, group_name) WHERE status = 'open';
CREATE INDEX dead_letter_open_idx ON eventbus.dead_letter (group_name, id) WHERE status = 'open';
CREATE INDEX dead_letter_event_idx ON eventbus.dead_letter (event_id);
"""

PARTITIONS = """
CREATE FUNCTION eventbus.ensure_partitions(ahead interval DEFAULT '4 weeks') RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    week timestamptz;
    parent text;
    part text;
    id_column text;
    created integer := 0;
BEGIN
    PERFORM set_config('lock_timeout', '5s', true);
    PERFORM pg_advisory_xact_lock(hashtext('eventbus.ensure_partitions'));
    -- In hours: a day is 23 or 25 hours long where the session's time zone changes its offset.
    FOR week IN SELECT generate_series(date_trunc('week', now(), 'UTC'), now() + ahead, '168 hours') LOOP
        FOREACH parent IN ARRAY ARRAY['event_log', 'delivery'] LOOP
            part := parent || '_' || to_char(week AT TIME ZONE 'UTC', 'IYYY_IW');
            CONTINUE WHEN to_regclass('eventbus.' || part) IS NOT NULL;
            id_column := CASE parent WHEN 'delivery' THEN 'event_id' ELSE 'id' END;
            EXECUTE format('CREATE TABLE eventbus.%I (LIKE eventbus.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, parent);
            IF parent = 'delivery' THEN
                EXECUTE format('ALTER TABLE eventbus.%I SET (fillfactor = 80)', part);
            END IF;
            EXECUTE format('LOCK TABLE eventbus.%I IN ACCESS EXCLUSIVE MODE', parent || '_default');
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

SELECT eventbus.ensure_partitions();
"""


def upgrade() -> None:
    """Create everything in the schema that `eventbus migrate` was told."""
    schema = context.config.attributes["schema"]
    for part in (CLOCK, GROUPS, LOG, FAILURES, PARTITIONS):
        op.get_bind().exec_driver_sql(part.replace("eventbus.", f"{schema}.").replace("%", "%%"))
