"""Measures: what metrics tell, from the same queries as every other view."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eventbus.durations import Histogram
from eventbus.storage import fingerprints, overview, repairs, runs, workers
from eventbus.storage.database import Connection
from eventbus.storage.overview import Backlog
from eventbus.storage.overview.groups import GroupState, read_groups
from eventbus.storage.repairs import Repairs
from eventbus.storage.runs import Tally
from eventbus.storage.workers import Seen


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Numbers by type, by (type, group) and by group."""

    published: Mapping[str, int]
    handled: Mapping[tuple[str, str], int]
    dead: Mapping[tuple[str, str], int]
    backlogs: Mapping[str, Backlog]
    #: Deliveries that wait for code which can read their events.
    parked: Mapping[str, int]
    groups: Sequence[GroupState]
    workers: Sequence[Seen]
    repairs: Mapping[str, Repairs]
    #: Runs that did not end well, by type and group.
    tallies: Mapping[tuple[str, str], Tally]
    #: How long runs took, by type and group.
    durations: Mapping[tuple[str, str], Histogram]
    #: Causes of dead letters by state.
    fingerprints: Mapping[str, int]


def read_measures(connection: Connection) -> Measures:
    """All of them; each as of its own moment."""
    published, handled = overview.read_traffic(connection)
    return Measures(
        published=published,
        handled=handled,
        dead=overview.count_dead(connection),
        backlogs=overview.count_backlogs(connection),
        parked=overview.count_parked(connection),
        groups=read_groups(connection),
        workers=workers.list_live(connection),
        repairs=repairs.read(connection),
        tallies=runs.read_tallies(connection),
        durations=runs.read_durations(connection),
        fingerprints=fingerprints.count_states(connection),
    )
