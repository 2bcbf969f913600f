"""The tables of operations, as SQLAlchemy knows them: what operators changed, and how much relays had to repair.

Like `tables`, and in the same metadata.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Identity, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from eventbus.storage.tables import metadata

_TIME = DateTime(timezone=True)
_CLOCK = text("clock_timestamp()")

#: Each change that an operator made, or began to make.
audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(always=True)),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("filter", JSONB, nullable=False),
    Column("asked", BigInteger),
    Column("changed", BigInteger),
    Column("result", Text, nullable=False, server_default=text("'began'")),
    Column("began_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("ended_at", _TIME),
    PrimaryKeyConstraint("id", name="audit_pkey"),
    CheckConstraint("jsonb_typeof(filter) = 'object'", name="audit_filter_check"),
    CheckConstraint("asked >= 0 AND changed >= 0", name="audit_counts_check"),
    CheckConstraint("(ended_at IS NULL) = (result = 'began')", name="audit_ended_check"),
)

#: Wake-ups that relays sent for each group, in all and in the last hour that had any.
repair = Table(
    "repair",
    metadata,
    Column("group_name", Text, nullable=False),
    Column("wake_ups", BigInteger, nullable=False),
    Column("hour", _TIME, nullable=False),
    Column("in_hour", BigInteger, nullable=False),
    Column("last_at", _TIME, nullable=False, server_default=_CLOCK),
    PrimaryKeyConstraint("group_name", name="repair_pkey"),
    CheckConstraint("in_hour > 0 AND wake_ups >= in_hour", name="repair_counts_check"),
)
