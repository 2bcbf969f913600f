"""Slices: what was never tried and what was tried are found apart, each oldest first, whatever the backlog of the other.

``pending`` means "never tried, or as if never" from here on, so the state alone tells which rows may be claimed in batches.
"""

from alembic import context, op

revision = "0005"
down_revision = "0004"

SLICES = """
CREATE FUNCTION eventbus.uuid_time(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    -- When an event was recorded, to the millisecond, from its id.
    SELECT to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
$$;
UPDATE eventbus.delivery SET state = 'retrying' WHERE state = 'pending' AND (attempts > 0 OR deaths > 0 OR suspect);
ALTER TABLE eventbus.delivery ADD CONSTRAINT delivery_pending_check
    CHECK (state <> 'pending' OR (attempts = 0 AND deaths = 0 AND NOT suspect));
CREATE INDEX delivery_due_idx ON eventbus.delivery (group_name, subscription_id, state, due_at) WHERE finished_at IS NULL;
DROP INDEX eventbus.delivery_open_idx;
"""


def upgrade() -> None:
    """Tell tried rows from untried ones by their state."""
    schema = context.config.attributes["schema"]
    op.get_bind().exec_driver_sql(SLICES.replace("eventbus.", f"{schema}.").replace("%", "%%"))
