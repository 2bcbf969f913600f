"""The tables of the bus, as SQLAlchemy knows them: for reading, and for queries that are put together at run time.

Migrations make the tables; a test holds these definitions equal to what they make. Partitions are left out. Where another
schema is configured, ``execution_options(schema_translate_map={"eventbus": schema})`` leads there.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB

metadata = MetaData(schema="eventbus")

_TIME = DateTime(timezone=True)
_CLOCK = text("clock_timestamp()")
_OPEN = text("status = 'open'")

#: Who wants events.
consumer_group = Table(
    "consumer_group",
    metadata,
    Column("name", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("owner", Text),
    Column("description", Text),
    Column("created_at", _TIME, nullable=False, server_default=_CLOCK),
    PrimaryKeyConstraint("name", name="consumer_group_pkey"),
    CheckConstraint("name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'", name="consumer_group_name_check"),
)

#: Which events a group wants; ``removed_at`` makes it a tombstone. Every transaction that begins after ``visible_at`` sees it.
subscription = Table(
    "subscription",
    metadata,
    Column("id", BigInteger, Identity(always=True)),
    Column("group_name", Text, nullable=False),
    Column("pattern", Text, nullable=False),
    Column("handler", Text, nullable=False),
    Column("policy", JSONB, nullable=False),
    Column("reads", JSONB),
    Column("version", Integer),
    Column("created_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("last_seen_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("removed_at", _TIME),
    Column("visible_at", _TIME),
    PrimaryKeyConstraint("id", name="subscription_pkey"),
    ForeignKeyConstraint(["group_name"], ["eventbus.consumer_group.name"], name="subscription_group_name_fkey"),
    UniqueConstraint("group_name", "pattern", name="subscription_group_name_pattern_key"),
    CheckConstraint("version > 0", name="subscription_version_check"),
    Index("subscription_pattern_idx", "pattern", postgresql_where=text("removed_at IS NULL")),
)

#: Every event, append-only, partitioned by week.
event_log = Table(
    "event_log",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("type", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("key", Text),
    Column("data", JSONB, nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("created_at", _TIME, nullable=False),
    PrimaryKeyConstraint("id", name="event_log_pkey"),
    CheckConstraint("length(type) BETWEEN 1 AND 200", name="event_log_type_check"),
    CheckConstraint("version > 0", name="event_log_version_check"),
    CheckConstraint("metadata ? 'correlation_id'", name="event_log_metadata_check"),
    Index("event_log_type_idx", "type", "id"),
    Index("event_log_correlation_idx", text("(metadata ->> 'correlation_id')"), "id"),
    postgresql_partition_by="RANGE (id)",
)

#: One event for one group, partitioned like the log.
delivery = Table(
    "delivery",
    metadata,
    Column("event_id", Uuid, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("subscription_id", BigInteger, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("deaths", Integer, nullable=False, server_default=text("0")),
    Column("suspect", Boolean, nullable=False, server_default=text("false")),
    Column("rerun", Boolean, nullable=False, server_default=text("false")),
    Column("claim", BigInteger),
    Column("due_at", _TIME, nullable=False),
    Column("started_at", _TIME),
    Column("finished_at", _TIME),
    Column("worker", Text),
    Column("task_id", Text),
    Column("last_error", Text),
    Column("replay_id", Uuid),
    Column("done_before", ARRAY(_TIME)),
    PrimaryKeyConstraint("event_id", "group_name", name="delivery_pkey"),
    CheckConstraint(
        "state IN ('pending', 'running', 'retrying', 'parked', 'done', 'dead', 'skipped', 'cancelled')",
        name="delivery_state_check",
    ),
    CheckConstraint(
        "(finished_at IS NOT NULL) = (state IN ('done', 'dead', 'skipped', 'cancelled'))",
        name="delivery_finished_check",
    ),
    CheckConstraint("(claim IS NOT NULL) = (state = 'running')", name="delivery_claim_check"),
    CheckConstraint("started_at IS NULL OR state = 'running'", name="delivery_started_check"),
    CheckConstraint("NOT rerun OR state = 'running'", name="delivery_rerun_check"),
    CheckConstraint("attempts >= 0 AND deaths >= 0", name="delivery_counts_check"),
    CheckConstraint(
        "state <> 'pending' OR (attempts = 0 AND deaths = 0 AND NOT suspect)", name="delivery_pending_check"
    ),
    Index(
        "delivery_due_idx",
        "group_name",
        "subscription_id",
        "state",
        "due_at",
        postgresql_where=text("finished_at IS NULL"),
    ),
    postgresql_partition_by="RANGE (event_id)",
)

#: Each failed run.
attempt = Table(
    "attempt",
    metadata,
    Column("id", BigInteger, Identity(always=True)),
    Column("event_id", Uuid, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("error_type", Text, nullable=False),
    Column("error_message", Text, nullable=False),
    Column("worker", Text),
    Column("failed_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("dead_letter_id", BigInteger),
    PrimaryKeyConstraint("id", name="attempt_pkey"),
    CheckConstraint("kind IN ('error', 'death')", name="attempt_kind_check"),
    CheckConstraint("number > 0", name="attempt_number_check"),
    Index("attempt_delivery_idx", "event_id", "group_name"),
)

#: Each delivery that was given up, open or resolved.
dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", BigInteger, Identity(always=True)),
    Column("event_id", Uuid, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),
    Column("error_type", Text, nullable=False),
    Column("error_message", Text, nullable=False),
    Column("traceback", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("failed_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("status", Text, nullable=False, server_default=text("'open'")),
    Column("resolved_at", _TIME),
    Column("note", Text),
    PrimaryKeyConstraint("id", name="dead_letter_pkey"),
    CheckConstraint("status IN ('open', 'retried', 'discarded')", name="dead_letter_status_check"),
    CheckConstraint("(resolved_at IS NOT NULL) = (status <> 'open')", name="dead_letter_resolved_check"),
    CheckConstraint("status <> 'discarded' OR note IS NOT NULL", name="dead_letter_note_check"),
    Index("dead_letter_open_key", "event_id", "group_name", unique=True, postgresql_where=_OPEN),
    Index("dead_letter_open_idx", "group_name", "id", postgresql_where=_OPEN),
    Index("dead_letter_event_idx", "event_id"),
    Index("dead_letter_fingerprint_idx", "fingerprint", "id"),
    Index("dead_letter_open_fingerprint_idx", "fingerprint", postgresql_where=_OPEN),
)

_COUNTS = ("reset", "revived", "inserted", "rerun", "left_open", "left_dead", "skipped", "unmatched")

#: Durable jobs that deliver a slice of the log to a group again.
replay = Table(
    "replay",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("filter", JSONB, nullable=False),
    Column("include_dead", Boolean, nullable=False),
    Column("rate", Double),
    Column("state", Text, nullable=False, server_default="planned"),
    Column("runner", BigInteger),
    Column("total", BigInteger, nullable=False),
    *(Column(name, BigInteger, nullable=False, server_default=text("0")) for name in _COUNTS),
    Column("cursor", Uuid, nullable=False),
    Column("last_id", Uuid, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("created_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("updated_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("finished_at", _TIME),
    PrimaryKeyConstraint("id", name="replay_pkey"),
    ForeignKeyConstraint(["group_name"], ["eventbus.consumer_group.name"], name="replay_group_name_fkey"),
    CheckConstraint("state IN ('planned', 'running', 'interrupted', 'done', 'cancelled')", name="replay_state_check"),
    CheckConstraint("(finished_at IS NOT NULL) = (state IN ('done', 'cancelled'))", name="replay_finished_check"),
    CheckConstraint("(runner IS NOT NULL) = (state = 'running')", name="replay_runner_check"),
    CheckConstraint("rate > 0", name="replay_rate_check"),
    CheckConstraint("jsonb_typeof(filter) = 'object'", name="replay_filter_check"),
    CheckConstraint(f"least(total, {', '.join(_COUNTS)}) >= 0", name="replay_counts_check"),
)

#: Which event of a source holds an idempotency key.
publish_key = Table(
    "publish_key",
    metadata,
    Column("source", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", _TIME, nullable=False),
    PrimaryKeyConstraint("source", "key", name="publish_key_pkey"),
    CheckConstraint("length(key) BETWEEN 1 AND 200", name="publish_key_key_check"),
    CheckConstraint("octet_length(digest) = 32", name="publish_key_digest_check"),
    Index("publish_key_created_idx", "created_at"),
)

_MODES = ("BACKWARD", "FORWARD", "FULL", "BACKWARD_TRANSITIVE", "FORWARD_TRANSITIVE", "FULL_TRANSITIVE", "NONE")

#: Every version of every event type, as JSON Schema; ``revision`` rises with every change of the table.
event_schema = Table(
    "event_schema",
    metadata,
    Column("type", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("json_schema", JSON, nullable=False),
    Column("wire_fingerprint", Text, nullable=False),
    Column("text_fingerprint", Text, nullable=False),
    Column("compatibility", Text, nullable=False),
    Column("owner", Text),
    Column("description", Text),
    Column("deprecation", Text),
    Column("changelog", Text),
    Column("accepted", JSONB, nullable=False, server_default=text("'[]'")),
    Column("registered_by", Text, nullable=False),
    Column("registered_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("updated_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("retired_at", _TIME),
    Column("revision", BigInteger, nullable=False),
    PrimaryKeyConstraint("type", "version", name="event_schema_pkey"),
    CheckConstraint("length(type) BETWEEN 1 AND 200", name="event_schema_type_check"),
    CheckConstraint("version > 0", name="event_schema_version_check"),
    CheckConstraint("json_typeof(json_schema) = 'object'", name="event_schema_document_check"),
    CheckConstraint(
        "length(wire_fingerprint) = 64 AND length(text_fingerprint) = 64", name="event_schema_fingerprint_check"
    ),
    CheckConstraint(f"compatibility IN {_MODES}", name="event_schema_compatibility_check"),
    CheckConstraint("jsonb_typeof(accepted) = 'array'", name="event_schema_accepted_check"),
    UniqueConstraint("revision", name="event_schema_revision_key"),
)
