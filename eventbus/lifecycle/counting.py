"""Counting: the traffic of the bus is brought up to date, by one process at a time and in small transactions.

    due? ─▶ lock ─▶ move tallies ─▶ count again what may have changed ─▶ count what is new ─▶ (commit) ─▶ due? …

Whoever dies in between has changed nothing, and the next one goes on. What is not counted yet is read from the log by whoever
asks for numbers: being late makes them dearer, never wrong.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from eventbus.durations import Durations, summarize
from eventbus.errors import DatabaseBusy, InvalidInput, NotPermitted
from eventbus.lifecycle.auditing import audited
from eventbus.storage import overview, runs, traffic
from eventbus.storage.database import Connection, Database
from eventbus.storage.overview import Stats, measures, pulse, space
from eventbus.storage.overview.measures import Measures
from eventbus.storage.overview.pulse import Pulse
from eventbus.storage.overview.space import Space

#: Events of one transaction, about; and spans that it counts again.
_EVENTS, _SPANS = 100_000, 20
#: How far back rates are shown.
_WATCHED = timedelta(hours=1)
#: How often a recount begins anew, and after what pause.
_TRIES, _PAUSE_SECONDS = 5, 0.1
#: How long the minutes of handlers' durations are kept.
KEPT = timedelta(days=7)

Watch = Callable[[int, int], None]


def read_stats(database: Database) -> Stats:
    """The bus in numbers, including all that has committed. Counts first what nobody has counted yet, for a moment at most."""
    _catch_up(database)
    with database.autocommit() as connection:
        return overview.read_stats(connection)


def read_measures(database: Database) -> Measures:
    """What metrics tell; counts first, as `read_stats` does."""
    _catch_up(database)
    with database.autocommit() as connection:
        return measures.read_measures(connection)


def read_pulse(database: Database) -> Pulse:
    """What the whole bus does now, with the last hour's rates; counts first, as `read_stats` does."""
    _catch_up(database)
    with database.autocommit() as connection:
        return pulse.read_pulse(connection, span=_WATCHED)


def read_space(database: Database) -> Space:
    """How large the tables are, and what vacuum has to do; from the server's estimates."""
    with database.autocommit() as connection:
        return space.read_space(connection)


def read_durations(database: Database, *, since: timedelta) -> dict[str, Durations]:
    """How long the runs of each group took since so long ago, by group; one without runs is left out.

    Raises:
        InvalidInput: *since* is not a time between a minute and what is kept.
    """
    if not isinstance(since, timedelta) or not timedelta(minutes=1) <= since <= KEPT:
        raise InvalidInput(f"since={since!r:.60} must be a timedelta between a minute and {KEPT.days} days.")
    with database.autocommit() as connection:
        found = runs.read_recent(connection, since=since)
    return {group: summarize(histogram) for group, histogram in found.items()}


def _catch_up(database: Database) -> None:
    # Who may only look need not count: what is not counted is read.
    with suppress(NotPermitted):
        count_traffic(database)


def count_traffic(database: Database, *, patience: timedelta = timedelta(seconds=1)) -> None:
    """Count until nothing is due, somebody else is counting, or *patience* has run out."""
    deadline = time.monotonic() + patience.total_seconds()
    while _count_some(database) and time.monotonic() < deadline:
        pass


def recount(database: Database, *, watch: Watch = lambda _done, _total: None) -> None:
    """Count everything anew from the log and the deliveries, which takes as long as reading them.

    What was deleted from them is not counted any more. Whoever stops it has changed nothing.

    Args:
        watch: Told how many days of the log are counted, and of how many.
    """
    with audited(database, "stats recount", {}):
        refused = 0
        while True:
            try:
                if _recount(database, watch):
                    return
            except DatabaseBusy:  # somebody counted between the first look and the lock
                refused += 1
                if refused == _TRIES:
                    raise
            time.sleep(_PAUSE_SECONDS)


def _recount(database: Database, watch: Watch) -> bool:
    """Count everything, unless somebody else is counting."""
    with database.transaction(of_one_moment=True) as connection:
        is_alone = traffic.try_lock(connection)
        if is_alone:
            traffic.recount(connection, watch=watch)
        return is_alone


def _count_some(database: Database) -> bool:
    """Do a part of what is due; whether there was any that could be done."""
    with database.autocommit() as connection:
        if not traffic.is_due(connection):
            return False
    with database.transaction() as connection:
        return traffic.try_lock(connection) and _count(connection)


def _count(connection: Connection) -> bool:
    moved = traffic.move_tallies(connection)
    spans = traffic.list_stale(connection, limit=_SPANS)
    fresh = traffic.next_span(connection, limit=_EVENTS)
    if fresh is not None:
        spans.append(fresh)
    for span in spans:
        traffic.count_span(connection, span)
    traffic.forget_spans(connection, spans)
    return moved > 0 or bool(spans)
