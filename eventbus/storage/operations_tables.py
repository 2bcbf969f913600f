"""The tables of operations, as SQLAlchemy knows them: what operators changed, what relays repaired, what keeps failing.

Like `tables`, and in the same metadata.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

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

#: What dead letters of one cause have in common.
fingerprint = Table(
    "fingerprint",
    metadata,
    Column("fingerprint", Text, nullable=False),
    Column("error_type", Text, nullable=False),
    Column("gist", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("groups", ARRAY(Text), nullable=False),
    Column("state", Text, nullable=False, server_default=text("'new'")),
    Column("occurrences", BigInteger, nullable=False, server_default=text("1")),
    #: The occurrence that was the first, or the first after it was resolved.
    Column("news_occurrence", BigInteger, nullable=False, server_default=text("1")),
    Column("first_seen_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("last_seen_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("state_since", _TIME, nullable=False, server_default=_CLOCK),
    #: Every dead letter with an id up to this one was seen at its end.
    Column("settled_id", BigInteger, nullable=False, server_default=text("0")),
    Column("note", Text),
    PrimaryKeyConstraint("fingerprint", name="fingerprint_pkey"),
    CheckConstraint("state IN ('new', 'acknowledged', 'resolved', 'returned')", name="fingerprint_state_check"),
    CheckConstraint("news_occurrence BETWEEN 1 AND occurrences", name="fingerprint_occurrences_check"),
    CheckConstraint("last_seen_at >= first_seen_at", name="fingerprint_seen_check"),
)

#: What is to be told about a fingerprint that is new or has returned; each once.
alert = Table(
    "alert",
    metadata,
    Column("id", BigInteger, Identity(always=True)),
    Column("kind", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("dead_letter_id", BigInteger, nullable=False),
    Column("created_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("due_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text),
    Column("ended_at", _TIME),
    Column("result", Text),
    PrimaryKeyConstraint("id", name="alert_pkey"),
    CheckConstraint("kind IN ('new', 'returned')", name="alert_kind_check"),
    CheckConstraint("attempts >= 0", name="alert_attempts_check"),
    CheckConstraint("result IN ('sent', 'given up', 'expired')", name="alert_result_check"),
    CheckConstraint("(ended_at IS NULL) = (result IS NULL)", name="alert_ended_check"),
    Index("alert_open_idx", "id", postgresql_where=text("ended_at IS NULL")),
    Index("alert_ended_idx", "ended_at"),
)
