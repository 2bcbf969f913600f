"""Runs of handlers, for monitoring: how many ended badly, and how long they took. All of it is counted from here on."""

from alembic import context, op

revision = "0009"
down_revision = "0008"

RUNS = """
CREATE TABLE eventbus.run_tally (
    backend integer NOT NULL,
    type text NOT NULL,
    group_name text NOT NULL,
    failed bigint NOT NULL DEFAULT 0,
    deaths bigint NOT NULL DEFAULT 0,
    retries bigint NOT NULL DEFAULT 0,
    dead bigint NOT NULL DEFAULT 0,
    CONSTRAINT run_tally_pkey PRIMARY KEY (backend, type, group_name),
    CONSTRAINT run_tally_counts_check CHECK (least(failed, deaths, retries, dead) >= 0)
) WITH (fillfactor = 50);

CREATE TABLE eventbus.run_duration (
    group_name text NOT NULL,
    type text NOT NULL,
    counts bigint[] NOT NULL,
    seconds double precision NOT NULL,
    CONSTRAINT run_duration_pkey PRIMARY KEY (group_name, type),
    CONSTRAINT run_duration_counts_check CHECK (cardinality(counts) = 16 AND seconds >= 0)
) WITH (fillfactor = 50);

CREATE TABLE eventbus.run_minute (
    minute timestamptz NOT NULL,
    group_name text NOT NULL,
    counts bigint[] NOT NULL,
    seconds double precision NOT NULL,
    CONSTRAINT run_minute_pkey PRIMARY KEY (minute, group_name),
    CONSTRAINT run_minute_counts_check CHECK (cardinality(counts) = 16 AND seconds >= 0)
);
"""


def upgrade() -> None:
    """Create the tables in the schema that `eventbus migrate` was told."""
    schema = context.config.attributes["schema"]
    op.get_bind().exec_driver_sql(RUNS.replace("eventbus.", f"{schema}."))
