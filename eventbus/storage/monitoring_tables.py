"""The tables of monitoring, as SQLAlchemy knows them: which workers live, how much happened, and how handlers' runs went.

Like `tables`, and in the same metadata.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.schema import SchemaItem

from eventbus.storage.tables import metadata

_TIME = DateTime(timezone=True)
_CLOCK = text("clock_timestamp()")

#: Celery workers that serve groups; one that did not say goodbye is known by a ``seen_at`` that stands still.
worker = Table(
    "worker",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("pool", Text, nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("groups", ARRAY(Text), nullable=False),
    Column("started_at", _TIME, nullable=False, server_default=_CLOCK),
    Column("seen_at", _TIME, nullable=False, server_default=_CLOCK),
    PrimaryKeyConstraint("id", name="worker_pkey"),
    CheckConstraint("pid > 0", name="worker_pid_check"),
    CheckConstraint("seen_at >= started_at", name="worker_seen_check"),
)


def _counts(table: str) -> tuple[SchemaItem, ...]:
    """What was published, of a type; and what was consumed, of a type by a group: a row has one of them."""
    return (
        Column("type", Text, nullable=False),
        Column("group_name", Text, nullable=False),
        Column("published", BigInteger, nullable=False, server_default=text("0")),
        Column("consumed", BigInteger, nullable=False, server_default=text("0")),
        CheckConstraint("published >= 0 AND consumed >= 0", name=f"{table}_counts_check"),
        CheckConstraint(
            "CASE group_name WHEN '' THEN consumed = 0 ELSE published = 0 END", name=f"{table}_group_name_check"
        ),
    )


#: What happened in each minute.
traffic = Table(
    "traffic",
    metadata,
    Column("minute", _TIME, nullable=False),
    *_counts("traffic"),
    PrimaryKeyConstraint("minute", "type", "group_name", name="traffic_pkey"),
)

#: The sum of all minutes, also of those that are no longer kept.
traffic_total = Table(
    "traffic_total",
    metadata,
    *_counts("traffic_total"),
    PrimaryKeyConstraint("type", "group_name", name="traffic_total_pkey"),
)

#: What was consumed lately, by the connection that marked it done: no two ever wait for one row.
traffic_tally = Table(
    "traffic_tally",
    metadata,
    Column("backend", Integer, nullable=False),
    Column("minute", _TIME, nullable=False),
    Column("type", Text, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("consumed", BigInteger, nullable=False),
    PrimaryKeyConstraint("backend", "minute", "type", "group_name", name="traffic_tally_pkey"),
    CheckConstraint("consumed > 0", name="traffic_tally_consumed_check"),
)

#: Stretches of the log that were counted lately, with the transactions that may still add to them.
traffic_span = Table(
    "traffic_span",
    metadata,
    Column("started_at", _TIME, nullable=False),
    Column("ended_at", _TIME, nullable=False),
    Column("writers", ARRAY(BigInteger), nullable=False),
    PrimaryKeyConstraint("started_at", name="traffic_span_pkey"),
    CheckConstraint("ended_at > started_at", name="traffic_span_ended_check"),
)

#: Runs that did not end well, by the connection that kept them; 0 has those of connections that were added up.
run_tally = Table(
    "run_tally",
    metadata,
    Column("backend", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("group_name", Text, nullable=False),
    *(
        Column(name, BigInteger, nullable=False, server_default=text("0"))
        for name in ("failed", "deaths", "retries", "dead")
    ),
    PrimaryKeyConstraint("backend", "type", "group_name", name="run_tally_pkey"),
    CheckConstraint("least(failed, deaths, retries, dead) >= 0", name="run_tally_counts_check"),
)


def _durations(table: str) -> tuple[SchemaItem, ...]:
    """Runs in each bucket of `eventbus.durations`, and how long they took together."""
    return (
        Column("counts", ARRAY(BigInteger), nullable=False),
        Column("seconds", Double, nullable=False),
        CheckConstraint("cardinality(counts) = 16 AND seconds >= 0", name=f"{table}_counts_check"),
    )


#: How long all runs took.
run_duration = Table(
    "run_duration",
    metadata,
    Column("group_name", Text, nullable=False),
    Column("type", Text, nullable=False),
    *_durations("run_duration"),
    PrimaryKeyConstraint("group_name", "type", name="run_duration_pkey"),
)

#: How long the runs of each minute took.
run_minute = Table(
    "run_minute",
    metadata,
    Column("minute", _TIME, nullable=False),
    Column("group_name", Text, nullable=False),
    *_durations("run_minute"),
    PrimaryKeyConstraint("minute", "group_name", name="run_minute_pkey"),
)
