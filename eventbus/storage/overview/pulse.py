"""Pulse: the whole bus at a moment, as the console's pages show it; each part from the query that every other view asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from eventbus.delivery import State
from eventbus.durations import Durations, summarize
from eventbus.storage import overview, repairs, runs, workers
from eventbus.storage.database import Connection
from eventbus.storage.overview import Stats, stats_of
from eventbus.storage.overview.condition import read_clock
from eventbus.storage.overview.groups import GroupState, Wish, read_groups, read_wishes
from eventbus.storage.overview.rates import Rates, read_rates
from eventbus.storage.repairs import Repairs
from eventbus.storage.workers import Seen

# By the index of open deliveries, as `overview.DEPTHS`.
STATES = (
    "SELECT group_name, state, count(*) AS deliveries FROM eventbus.delivery WHERE finished_at IS NULL GROUP BY 1, 2"
)


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """What the bus does now; each part as of its own moment."""

    #: By the database's clock, before anything was read.
    read_at: datetime
    stats: Stats
    #: Deliveries that are not final, by group and state; a group without any is left out.
    open: Mapping[str, Mapping[State, int]]
    groups: Sequence[GroupState]
    #: Living subscriptions, by group and pattern.
    wishes: Sequence[Wish]
    workers: Sequence[Seen]
    repairs: Mapping[str, Repairs]
    rates: Rates
    #: How long handlers ran in the same time, by group; one without runs is left out.
    durations: Mapping[str, Durations]

    @property
    def retrying(self) -> int:
        """Deliveries that failed and will be tried again."""
        return sum(states.get(State.RETRYING, 0) for states in self.open.values())

    @property
    def oldest_lag(self) -> timedelta:
        """How long the delivery waits that has been due the longest."""
        return max((group.lag for group in self.groups), default=timedelta())


def read_pulse(connection: Connection, *, span: timedelta) -> Pulse:
    """All of it; rates of the last *span*."""
    read_at = read_clock(connection)
    groups = read_groups(connection)
    states = _read_states(connection)
    published, consumed = overview.read_traffic(connection)
    depths = {group.name: sum(states.get(group.name, {}).values()) for group in groups}
    return Pulse(
        read_at=read_at,
        stats=stats_of(published, consumed, dead=overview.count_dead(connection), depths=depths),
        open=states,
        groups=groups,
        wishes=[wish for wish in read_wishes(connection) if wish.removed_at is None],
        workers=workers.list_live(connection),
        repairs=repairs.read(connection),
        rates=read_rates(connection, span=span),
        durations={name: summarize(found) for name, found in runs.read_recent(connection, since=span).items()},
    )


def _read_states(connection: Connection) -> dict[str, dict[State, int]]:
    found: dict[str, dict[State, int]] = {}
    for row in connection.rows(STATES):
        found.setdefault(row.group_name, {})[State(row.state)] = row.deliveries
    return found
