"""Replay jobs: what is to be replayed, how far it has come, and who is at it.

    planned ─▶ running ─┬─▶ done
       ▲ resume  │ ▲    └─▶ cancelled
       └─────────┴─┴── interrupted

Each change of a running job names its runner: a process whose job was resumed elsewhere changes nothing more.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from eventbus.replay import Counts, Outcome, ReplayState, Selection, total
from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc, as_utc_or_none, as_uuid
from eventbus.wire import canonical, decode

#: A running job that has not moved for so long was killed, or waits for a lock.
QUIET = timedelta(seconds=15)

_EPOCH = "1970-01-01T00:00:00+00:00"
_TALLIES = ", ".join(outcome.value for outcome in Outcome)
_COLUMNS = f"""
id, group_name, CAST(filter AS text) AS filter, include_dead, rate, state, runner, total, {_TALLIES}, cursor, last_id, requested_by,
created_at, updated_at, finished_at, clock_timestamp() - updated_at AS quiet
"""
CREATE = f"""
INSERT INTO eventbus.replay (id, group_name, filter, include_dead, rate, total, unmatched, cursor, last_id, requested_by)
VALUES (eventbus.uuid_v7(clock_timestamp(), gen_random_uuid()), :group, CAST(:filter AS jsonb), :include_dead, :rate, :total,
        :unmatched, CAST(:cursor AS uuid), CAST(:last AS uuid), :requested_by)
RETURNING {_COLUMNS}
"""
FIND = f"SELECT {_COLUMNS} FROM eventbus.replay WHERE id = CAST(:id AS uuid)"
LOCK = f"{FIND} FOR UPDATE"
# The state as `Job.shown_state` has it.
LIST = f"""
SELECT {_COLUMNS} FROM eventbus.replay
WHERE (CAST(:before AS uuid) IS NULL OR id < CAST(:before AS uuid)) AND (CAST(:group AS text) IS NULL OR group_name = :group)
AND (CAST(:state AS text) IS NULL OR :state = CASE
    WHEN state = 'running' AND updated_at < clock_timestamp() - CAST(:quiet AS interval) THEN 'interrupted' ELSE state END)
AND (CAST(:since AS timestamptz) IS NULL OR created_at >= CAST(:since AS timestamptz))
AND (CAST(:until AS timestamptz) IS NULL OR created_at < CAST(:until AS timestamptz))
ORDER BY id DESC LIMIT :limit
"""
TAKE = f"""
UPDATE eventbus.replay SET state = 'running', runner = :runner, updated_at = clock_timestamp()
WHERE id = CAST(:id AS uuid) AND finished_at IS NULL RETURNING {_COLUMNS}
"""
_MINE = "id = CAST(:id AS uuid) AND state = 'running' AND runner = :runner"
ADVANCE = f"""
UPDATE eventbus.replay SET cursor = CAST(:cursor AS uuid), updated_at = clock_timestamp(), total = total + :late,
    {", ".join(f"{outcome.value} = {outcome.value} + :{outcome.value}" for outcome in Outcome)}
WHERE {_MINE} RETURNING {_COLUMNS}
"""
TOUCH = f"UPDATE eventbus.replay SET updated_at = clock_timestamp() WHERE {_MINE} RETURNING id"
STOP = f"""
UPDATE eventbus.replay SET state = :state, runner = NULL, updated_at = clock_timestamp(),
    finished_at = CASE WHEN :state = 'done' THEN clock_timestamp() END
WHERE {_MINE} RETURNING {_COLUMNS}
"""
CANCEL = """
UPDATE eventbus.replay SET state = 'cancelled', runner = NULL, updated_at = clock_timestamp(), finished_at = clock_timestamp()
WHERE id = CAST(:id AS uuid) AND finished_at IS NULL RETURNING id
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A replay as the database has it."""

    id: UUID
    group: str
    selection: Selection
    include_dead: bool
    #: Deliveries made due per second, at most; None: as fast as it goes.
    rate: float | None
    state: ReplayState
    #: Who is at it: a number drawn at each start.
    runner: int | None
    #: Deliveries that it is about, counted when it was planned; with those of events that committed late, once they are there.
    total: int
    #: What was done so far.
    counts: Counts
    #: Every event up to this id was dealt with.
    cursor: UUID
    #: Who asked for it.
    requested_by: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    #: How long ago it moved.
    quiet: timedelta

    @property
    def seen(self) -> int:
        """Deliveries that were dealt with so far."""
        return total(self.counts, set(Outcome) - {Outcome.UNMATCHED})

    @property
    def shown_state(self) -> ReplayState:
        """The state, in which a job whose process seems to be gone is interrupted."""
        if self.state is ReplayState.RUNNING and self.quiet > QUIET:
            return ReplayState.INTERRUPTED
        return self.state


@dataclass(frozen=True, kw_only=True)
class Sought:
    """Which jobs; None asks for all."""

    group: str | None = None
    #: As `Job.shown_state` has it.
    state: str | None = None
    #: When it was created.
    since: datetime | None = None
    until: datetime | None = None


def create(
    connection: Connection,
    selection: Selection,
    *,
    group: str,
    include_dead: bool,
    rate: float | None,
    total: int,
    unmatched: int,
    requested_by: str,
) -> Job:
    """Write a job that is planned."""
    row = connection.row(
        CREATE,
        group=group,
        filter=canonical(selection.as_json()),
        include_dead=include_dead,
        rate=rate,
        total=total,
        unmatched=unmatched,
        cursor=str(selection.first_id),
        last=str(selection.last_id),
        requested_by=requested_by,
    )
    assert row is not None
    return _job(row)


def find(connection: Connection, id: UUID) -> Job | None:
    """The job of that id, or None."""
    return _job_or_none(connection.row(FIND, id=str(id)))


def lock(connection: Connection, id: UUID) -> Job:
    """The job of that id, which must exist; nobody else changes it until the transaction ends."""
    row = connection.row(LOCK, id=str(id))
    assert row is not None
    return _job(row)


def list_newest(connection: Connection, sought: Sought, *, before: UUID | None, limit: int) -> list[Job]:
    """Up to *limit* jobs that are *sought*, with ids below *before*, newest first."""
    above = None if before is None else str(before)
    return [_job(row) for row in connection.rows(LIST, before=above, limit=limit, quiet=QUIET, **vars(sought))]


def take(connection: Connection, id: UUID) -> Job | None:
    """Become the runner of a job, whoever was it before; None if it has ended or does not exist."""
    return _job_or_none(connection.row(TAKE, id=str(id), runner=secrets.randbits(63)))


def advance(connection: Connection, job: Job, *, cursor: UUID, counts: Counts, late: int = 0) -> Job | None:
    """Note that everything up to *cursor* was dealt with, adding *counts*; None if *job* has another runner, or ended.

    Args:
        late: So many of them were not counted when the job was planned.
    """
    added = {outcome.value: counts.get(outcome, 0) for outcome in Outcome}
    return _job_or_none(connection.row(ADVANCE, cursor=str(cursor), late=late, **added, **_mine(job)))


def touch(connection: Connection, job: Job) -> bool:
    """Note that *job*'s runner lives; False if it has another runner, or ended."""
    return connection.row(TOUCH, **_mine(job)) is not None


def finish(connection: Connection, job: Job) -> Job | None:
    """Note that *job* is done; None if it has another runner, or ended."""
    return _job_or_none(connection.row(STOP, state="done", **_mine(job)))


def interrupt(connection: Connection, job: Job) -> Job | None:
    """Note that nobody works on *job* any more; None if it has another runner, or ended."""
    return _job_or_none(connection.row(STOP, state="interrupted", **_mine(job)))


def cancel(connection: Connection, id: UUID) -> bool:
    """Give up a job that has not ended; whether it was one. Waits for the batch that is under way."""
    return connection.row(CANCEL, id=str(id)) is not None


def _mine(job: Job) -> dict[str, Any]:
    return {"id": str(job.id), "runner": job.runner}


def _job_or_none(row: Row[Any] | None) -> Job | None:
    return None if row is None else _job(row)


def _job(row: Row[Any]) -> Job:
    return Job(
        id=as_uuid(row.id),
        group=row.group_name,
        selection=_selection(decode(row.filter)),
        include_dead=row.include_dead,
        rate=row.rate,
        state=ReplayState(row.state),
        runner=row.runner,
        total=row.total,
        counts={outcome: getattr(row, outcome.value) for outcome in Outcome},
        cursor=as_uuid(row.cursor),
        requested_by=row.requested_by,
        created_at=as_utc(row.created_at),
        updated_at=as_utc(row.updated_at),
        finished_at=as_utc_or_none(row.finished_at),
        quiet=row.quiet,
    )


def _selection(stored: Mapping[str, Any]) -> Selection:
    ids, types = stored["event_ids"], stored["types"]
    return Selection(
        pattern=stored["pattern"],
        since=_time(stored["since"]),
        until=_time(stored["until"]),
        event_ids=None if ids is None else tuple(map(UUID, ids)),
        correlation_id=stored["correlation_id"],
        types=None if types is None else tuple(types),
        first_id=UUID(stored["first_id"]),
        last_id=UUID(stored["last_id"]),
        # What was planned by code that did not look whether anything was open.
        unsettled_since=_time(stored.get("unsettled_since", None if ids else _EPOCH)),
        patterns=None if stored.get("patterns") is None else tuple(stored["patterns"]),
    )


def _time(stored: str | None) -> datetime | None:
    return None if stored is None else datetime.fromisoformat(stored)
