"""Since when a subscription is seen by each transaction that begins: a replay to a new group waits for those that began before."""

from alembic import context, op

revision = "0012"
down_revision = "0011"

VISIBLE = """
ALTER TABLE eventbus.subscription ADD COLUMN visible_at timestamptz;
UPDATE eventbus.subscription SET visible_at = clock_timestamp();
"""


def upgrade() -> None:
    """Add the column in the schema that `eventbus migrate` was told."""
    schema = context.config.attributes["schema"]
    op.get_bind().exec_driver_sql(VISIBLE.replace("eventbus.", f"{schema}."))
