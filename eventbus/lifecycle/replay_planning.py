"""Planning a replay: what was asked for becomes a fixed part of the log, and is counted before anything changes.

ask ─▶ check ─▶ fix times, types and the last id ─▶ count deliveries by what would become of them
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from eventbus.errors import InvalidInput
from eventbus.lifecycle.windows import resolve_window
from eventbus.replay import DELIVERED, Counts, Outcome, Selection, judge, total
from eventbus.storage import latecomers, replay_selection, subscriptions
from eventbus.storage.database import Connection, Database
from eventbus.storage.latecomers import Latecomer
from eventbus.storage.replays import Job
from eventbus.storage.subscriptions import Target, find_target
from eventbus.subscription import check_group, check_pattern, matches, overlap
from eventbus.wire import is_text

_MOST_EVENT_IDS = 100_000


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a caller asks to be replayed, as given: all that is given must hold."""

    group: str
    pattern: str | None = None
    since: object = None
    until: object = None
    event_ids: Iterable[UUID | str] | None = None
    correlation_id: str | None = None
    include_dead: bool = False
    #: No event with a larger id: the `Selection.last_id` of an earlier plan, of which this is to mean the same.
    last_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A replay that is ready to start: its events are fixed."""

    group: str
    selection: Selection
    include_dead: bool
    #: How many deliveries would have each outcome now.
    outcomes: Counts

    @property
    def count(self) -> int:
        """Deliveries that the group would handle because of the replay."""
        return total(self.outcomes, DELIVERED)

    @property
    def unread(self) -> int:
        """Events that match no subscription and that its batches will not come across: types are sorted out before."""
        return 0 if self.selection.types is None else self.outcomes.get(Outcome.UNMATCHED, 0)

    @property
    def total(self) -> int:
        """Deliveries that the replay would look at."""
        return total(self.outcomes, set(Outcome) - {Outcome.UNMATCHED})


def plan(database: Database, asked: Asked) -> Plan:
    """Fix which events are *asked* for, and count them.

    Raises:
        InvalidInput: Nothing was asked for, or something that cannot be used; a subclass says what.
        UnknownGroup: The group never subscribed.
    """
    ids = _checked(asked)
    with database.autocommit() as connection:
        subscriptions.require_group(connection, asked.group)
        targets = subscriptions.list_targets(connection, asked.group)
        selection, unmatched = _select(connection, asked, ids, targets)
        outcomes = _count(connection, asked, selection, targets)
        outcomes[Outcome.UNMATCHED] += replay_selection.count_events(connection, selection, unmatched)
    return Plan(group=asked.group, selection=selection, include_dead=asked.include_dead, outcomes=dict(outcomes))


def check_rate(rate: object) -> float | None:
    """*rate*, if it is None or a positive number of deliveries per second.

    Raises:
        InvalidInput: It is not.
    """
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= sys.float_info.max:
        raise InvalidInput(f"rate={rate!r:.60} must be a positive number of events per second.")
    return float(rate)


def _checked(asked: Asked) -> tuple[UUID, ...] | None:
    """The event ids of *asked*, sorted, after making sure that all of it can be used."""
    check_group(asked.group)
    if asked.pattern is not None:
        check_pattern(asked.pattern)
    given = (asked.pattern, asked.since, asked.until, asked.event_ids, asked.correlation_id)
    if all(item is None for item in given):
        raise InvalidInput(
            "say what to replay: a pattern, a time, event ids or a correlation id; pattern '#' replays the whole log."
        )
    if asked.correlation_id is not None and not is_text(asked.correlation_id):
        raise InvalidInput(f"correlation_id={asked.correlation_id!r:.60} is not a text that an event can have.")
    return None if asked.event_ids is None else _event_ids(asked.event_ids)


def _event_ids(given: Iterable[UUID | str]) -> tuple[UUID, ...]:
    if isinstance(given, str | UUID):
        raise InvalidInput(f"event_ids={str(given)!r:.60} must be a list of ids.")
    try:
        ids = sorted({item if isinstance(item, UUID) else UUID(item) for item in given})
    except (TypeError, ValueError, AttributeError):
        raise InvalidInput("event_ids must be the ids of events, such as those that publish() returned.") from None
    if len(ids) > _MOST_EVENT_IDS:
        raise InvalidInput(
            f"event_ids holds {len(ids):,} ids: give at most {_MOST_EVENT_IDS:,}, or a pattern and times."
        )
    return tuple(ids)


def _select(
    connection: Connection, asked: Asked, ids: tuple[UUID, ...] | None, targets: Sequence[Target]
) -> tuple[Selection, list[str]]:
    """What is selected, and the types that the pattern matches but no subscription does."""
    pattern = asked.pattern or "#"
    # Before anything else is fixed: who has ended by then has committed before the rest is read. Whoever names events knows that
    # they are there.
    older = [] if ids is not None else latecomers.list_open(connection, concerned(targets, pattern))
    bounds = resolve_window(connection, asked.since, asked.until)
    types: tuple[str, ...] | None = None
    unmatched: list[str] = []
    if ids is None and asked.correlation_id is None:
        types, unmatched = _types(connection, pattern, targets)
    selection = Selection(
        pattern=pattern,
        since=bounds.since,
        until=bounds.until,
        event_ids=ids,
        correlation_id=asked.correlation_id,
        types=types,
        first_id=bounds.first_id,
        last_id=bounds.last_id if asked.last_id is None else min(bounds.last_id, asked.last_id),
        unsettled_since=_unsettled_since(asked, ids, older),
        patterns=tuple(target.pattern for target in targets),
    )
    return selection, unmatched


def concerned(targets: Sequence[Target], pattern: str) -> list[int]:
    """The ids of *targets* that may get what matches *pattern*: who has not seen one of them may owe it something."""
    return [target.id for target in targets if overlap(target.pattern, pattern)]


def _unsettled_since(asked: Asked, ids: tuple[UUID, ...] | None, older: Sequence[Latecomer]) -> datetime | None:
    moments = [item.began for item in older]
    if asked.last_id is not None and ids is None:
        # Who was open when that was planned may have committed since: so what lies behind it is looked through, too.
        moments.append(datetime.fromtimestamp((asked.last_id.int >> 80) / 1000, UTC))
    return min(moments, default=None)


def reach_on(connection: Connection, job: Job) -> Selection:
    """What *job* is about, up to the newest event that is there by now: to be looked through for latecomers."""
    newest = resolve_window(connection, None, None).last_id
    types = job.selection.types
    if types is not None:
        found, _ = _types(connection, job.selection.pattern, targets_of(connection, job))
        types = tuple(type for type in found if is_meant(job, type))
    return replace(job.selection, types=types, last_id=newest)


def targets_of(connection: Connection, job: Job) -> list[Target]:
    """The subscriptions of *job*'s group that were there when it was planned, or have taken the place of one that was."""
    found = subscriptions.list_targets(connection, job.group)
    planned = job.selection.patterns
    if planned is None:
        return [target for target in found if target.created_at <= job.created_at]
    return [target for target in found if any(overlap(target.pattern, pattern) for pattern in planned)]


def is_meant(job: Job, type: str) -> bool:
    """Whether events of *type* were meant by *job*, and its group subscribed to them when it was planned."""
    patterns = job.selection.patterns
    was_subscribed = patterns is None or any(matches(pattern, type) for pattern in patterns)
    return matches(job.selection.pattern, type) and was_subscribed


def _types(connection: Connection, pattern: str, targets: Sequence[Target]) -> tuple[tuple[str, ...], list[str]]:
    """The types in the log that *pattern* matches: those that a subscription has, and those that none has."""
    meant = [type for type in replay_selection.list_types(connection) if matches(pattern, type)]
    types = tuple(type for type in meant if find_target(targets, type))
    return types, [type for type in meant if type not in types]


def _count(connection: Connection, asked: Asked, selection: Selection, targets: Sequence[Target]) -> Counter[Outcome]:
    outcomes = Counter(dict.fromkeys(Outcome, 0))
    for tally in replay_selection.count_deliveries(connection, selection, group=asked.group):
        if not matches(selection.pattern, tally.type):
            continue
        target = find_target(targets, tally.type)
        outcome = Outcome.UNMATCHED
        if target is not None:
            outcome = judge(
                tally.state,
                discarded=tally.discarded,
                opts_out=target.opts_out,
                include_dead=asked.include_dead,
            )
        outcomes[outcome] += tally.count
    return outcomes
