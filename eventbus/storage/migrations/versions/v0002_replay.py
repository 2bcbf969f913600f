"""Replays: durable jobs, each with the events it is about, how far it has come, and what it did.

Every id up to ``cursor`` was dealt with; it moves in the transaction of the batch that dealt with them, so that whoever resumes
repeats nothing. ``runner`` is the process at work, a number drawn at each start, so that a second one takes over cleanly.
"""

from alembic import context, op

revision = "0002"
down_revision = "0001"

REPLAY = """
CREATE TABLE eventbus.replay (
    id uuid NOT NULL,
    group_name text NOT NULL,
    filter jsonb NOT NULL,
    include_dead boolean NOT NULL,
    rate double precision,
    state text NOT NULL DEFAULT 'planned',
    runner bigint,
    total bigint NOT NULL,
    reset bigint NOT NULL DEFAULT 0,
    revived bigint NOT NULL DEFAULT 0,
    inserted bigint NOT NULL DEFAULT 0,
    rerun bigint NOT NULL DEFAULT 0,
    left_open bigint NOT NULL DEFAULT 0,
    left_dead bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    unmatched bigint NOT NULL DEFAULT 0,
    cursor uuid NOT NULL,
    last_id uuid NOT NULL,
    requested_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CONSTRAINT replay_pkey PRIMARY KEY (id),
    CONSTRAINT replay_group_name_fkey FOREIGN KEY (group_name) REFERENCES eventbus.consumer_group (name),
    CONSTRAINT replay_state_check CHECK (state IN ('planned', 'running', 'interrupted', 'done', 'cancelled')),
    CONSTRAINT replay_finished_check CHECK ((finished_at IS NOT NULL) = (state IN ('done', 'cancelled'))),
    CONSTRAINT replay_runner_check CHECK ((runner IS NOT NULL) = (state = 'running')),
    CONSTRAINT replay_rate_check CHECK (rate > 0),
    CONSTRAINT replay_filter_check CHECK (jsonb_typeof(filter) = 'object'),
    CONSTRAINT replay_counts_check CHECK (
        least(total, reset, revived, inserted, rerun, left_open, left_dead, skipped, unmatched) >= 0)
);
"""


def upgrade() -> None:
    """Create the table in the schema that `eventbus migrate` was told."""
    schema = context.config.attributes["schema"]
    op.get_bind().exec_driver_sql(REPLAY.replace("eventbus.", f"{schema}."))
