"""Monitoring: which workers live, and how much was published and consumed, by minute and in total.

`traffic` is counted from rows and can be counted again. What is published is counted from the log, in spans of whole minutes;
what is consumed is tallied by the statement that marks deliveries done, in a row of its connection's own, and moved later.
"""

from alembic import context, op

revision = "0004"
down_revision = "0003"

WORKER = """
CREATE TABLE eventbus.worker (
    id uuid NOT NULL,
    name text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    pool text NOT NULL,
    concurrency integer NOT NULL,
    version text NOT NULL,
    groups text[] NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT worker_pkey PRIMARY KEY (id),
    CONSTRAINT worker_pid_check CHECK (pid > 0),
    CONSTRAINT worker_seen_check CHECK (seen_at >= started_at)
);
"""

# When a delivery was done before it was replayed: finished_at holds the last time only, and what it held counts for ever.
DONE_BEFORE = "ALTER TABLE eventbus.delivery ADD COLUMN done_before timestamptz[];"

TRAFFIC = """
CREATE TABLE eventbus.traffic (
    minute timestamptz NOT NULL,
    type text NOT NULL,
    group_name text NOT NULL,
    published bigint NOT NULL DEFAULT 0,
    consumed bigint NOT NULL DEFAULT 0,
    CONSTRAINT traffic_pkey PRIMARY KEY (minute, type, group_name),
    CONSTRAINT traffic_counts_check CHECK (published >= 0 AND consumed >= 0),
    CONSTRAINT traffic_group_name_check CHECK (CASE group_name WHEN '' THEN consumed = 0 ELSE published = 0 END)
);

CREATE TABLE eventbus.traffic_total (
    type text NOT NULL,
    group_name text NOT NULL,
    published bigint NOT NULL DEFAULT 0,
    consumed bigint NOT NULL DEFAULT 0,
    CONSTRAINT traffic_total_pkey PRIMARY KEY (type, group_name),
    CONSTRAINT traffic_total_counts_check CHECK (published >= 0 AND consumed >= 0),
    CONSTRAINT traffic_total_group_name_check CHECK (CASE group_name WHEN '' THEN consumed = 0 ELSE published = 0 END)
);

CREATE TABLE eventbus.traffic_tally (
    backend integer NOT NULL,
    minute timestamptz NOT NULL,
    type text NOT NULL,
    group_name text NOT NULL,
    consumed bigint NOT NULL,
    CONSTRAINT traffic_tally_pkey PRIMARY KEY (backend, minute, type, group_name),
    CONSTRAINT traffic_tally_consumed_check CHECK (consumed > 0)
) WITH (fillfactor = 50);

CREATE TABLE eventbus.traffic_span (
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    writers bigint[] NOT NULL,
    CONSTRAINT traffic_span_pkey PRIMARY KEY (started_at),
    CONSTRAINT traffic_span_ended_check CHECK (ended_at > started_at)
);
"""


def upgrade() -> None:
    """Create the tables in the schema that `eventbus migrate` was told."""
    schema = context.config.attributes["schema"]
    for part in (WORKER, DONE_BEFORE, TRAFFIC):
        op.get_bind().exec_driver_sql(part.replace("eventbus.", f"{schema}."))
