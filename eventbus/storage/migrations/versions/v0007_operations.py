"""Operations: what operators changed, and how much relays had to repair."""

from alembic import context, op

revision = "0007"
down_revision = "0006"

OPERATIONS = """
CREATE TABLE eventbus.audit (
    id bigint GENERATED ALWAYS AS IDENTITY,
    who text NOT NULL,
    action text NOT NULL,
    filter jsonb NOT NULL,
    asked bigint,
    changed bigint,
    result text NOT NULL DEFAULT 'began',
    began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    CONSTRAINT audit_pkey PRIMARY KEY (id),
    CONSTRAINT audit_filter_check CHECK (jsonb_typeof(filter) = 'object'),
    CONSTRAINT audit_counts_check CHECK (asked >= 0 AND changed >= 0),
    CONSTRAINT audit_ended_check CHECK ((ended_at IS NULL) = (result = 'began'))
);

CREATE TABLE eventbus.repair (
    group_name text NOT NULL,
    wake_ups bigint NOT NULL,
    hour timestamptz NOT NULL,
    in_hour bigint NOT NULL,
    last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT repair_pkey PRIMARY KEY (group_name),
    CONSTRAINT repair_counts_check CHECK (in_hour > 0 AND wake_ups >= in_hour)
);
"""


def upgrade() -> None:
    """Create the tables in the schema that `eventbus migrate` was told."""
    schema = context.config.attributes["schema"]
    op.get_bind().exec_driver_sql(OPERATIONS.replace("eventbus.", f"{schema}."))
