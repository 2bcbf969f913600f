"""Fingerprints: what dead letters of one cause have in common, and what is to be told about it.

Letters that were written before get their place among them from the first worker that keeps house, in batches.
"""

from alembic import context, op

revision = "0008"
down_revision = "0007"

FINGERPRINTS = """
CREATE TABLE eventbus.fingerprint (
    fingerprint text NOT NULL,
    error_type text NOT NULL,
    gist text NOT NULL,
    place text NOT NULL,
    groups text[] NOT NULL,
    state text NOT NULL DEFAULT 'new',
    occurrences bigint NOT NULL DEFAULT 1,
    news_occurrence bigint NOT NULL DEFAULT 1,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    state_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_id bigint NOT NULL DEFAULT 0,
    note text,
    CONSTRAINT fingerprint_pkey PRIMARY KEY (fingerprint),
    CONSTRAINT fingerprint_state_check CHECK (state IN ('new', 'acknowledged', 'resolved', 'returned')),
    CONSTRAINT fingerprint_occurrences_check CHECK (news_occurrence BETWEEN 1 AND occurrences),
    CONSTRAINT fingerprint_seen_check CHECK (last_seen_at >= first_seen_at)
);

CREATE TABLE eventbus.alert (
    id bigint GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    fingerprint text NOT NULL,
    dead_letter_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    ended_at timestamptz,
    result text,
    CONSTRAINT alert_pkey PRIMARY KEY (id),
    CONSTRAINT alert_kind_check CHECK (kind IN ('new', 'returned')),
    CONSTRAINT alert_attempts_check CHECK (attempts >= 0),
    CONSTRAINT alert_result_check CHECK (result IN ('sent', 'given up', 'expired')),
    CONSTRAINT alert_ended_check CHECK ((ended_at IS NULL) = (result IS NULL))
);
CREATE INDEX alert_open_idx ON eventbus.alert (id) WHERE ended_at IS NULL;
CREATE INDEX alert_ended_idx ON eventbus.alert (ended_at);
CREATE INDEX dead_letter_fingerprint_idx ON eventbus.dead_letter (fingerprint, id);
CREATE INDEX dead_letter_open_fingerprint_idx ON eventbus.dead_letter (fingerprint) WHERE status = 'open';
"""


def upgrade() -> None:
    """Create the tables and indexes in the schema that `eventbus migrate` was told."""
    schema = context.config.attributes["schema"]
    op.get_bind().exec_driver_sql(FINGERPRINTS.replace("eventbus.", f"{schema}."))
