"""Monitoring: the methods of a bus that say what it does and how it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version

from eventbus.durations import Durations, Histogram
from eventbus.errors import BrokerUnreachable
from eventbus.lifecycle import counting, diagnosing, health
from eventbus.lifecycle.diagnosing import Finding
from eventbus.lifecycle.fingerprinting import STATES
from eventbus.lifecycle.health import Health
from eventbus.operations.parts import Parts
from eventbus.storage.overview import Stats
from eventbus.storage.overview.pulse import Pulse
from eventbus.storage.overview.space import Space
from eventbus.storage.runs import Tally
from eventbus.storage.workers import Seen


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The bus in numbers, as a monitoring system keeps them; by type, by (type, group), or by group."""

    published: Mapping[str, int]
    handled: Mapping[tuple[str, str], int]
    #: Runs that did not end well since ever: failed, deaths, retries and dead of each.
    runs: Mapping[tuple[str, str], Tally]
    #: How long runs took since ever, as far as workers have written it down.
    durations: Mapping[tuple[str, str], Histogram]
    #: Open dead letters.
    dead: Mapping[tuple[str, str], int]
    #: Causes of dead letters, by state.
    fingerprints: Mapping[str, int]
    #: Deliveries that are not final.
    open: Mapping[str, int]
    #: Those of them that could be taken now.
    due: Mapping[str, int]
    #: Those that wait for code which can read their events.
    parked: Mapping[str, int]
    lag_seconds: Mapping[str, float]
    workers: Mapping[str, int]
    paused: Mapping[str, int]
    #: Wake-ups that relays had to send.
    repairs: Mapping[str, int]
    #: Messages in each group's queue; None while the broker cannot be asked.
    broker_messages: Mapping[str, int] | None


class MonitoringOperations(Parts):
    """What a bus tells of itself."""

    def stats(self) -> Stats:
        """Published, consumed and dead in numbers, and the open deliveries of each group; from PostgreSQL alone."""
        return counting.read_stats(self.database)

    def pulse(self) -> Pulse:
        """What the whole bus does now: numbers, open deliveries by state, groups, workers, and the last hour by the minute."""
        return counting.read_pulse(self.database)

    def space(self) -> Space:
        """How large the tables and partitions are, and what vacuum has to do; from the server's estimates, counting nothing."""
        return counting.read_space(self.database)

    def recount(self, *, watch: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Count what `stats` says anew from the log and the deliveries, reading all of them.

        Args:
            watch: Told how many days of the log are counted, and of how many. Nothing is changed until all are.
        """
        counting.recount(self.database, watch=watch)

    def broker_depths(self, groups: Sequence[str]) -> dict[str, int] | None:
        """How many messages wait in the queue of each group; None while the broker cannot be asked."""
        try:
            return {group: self.broker.depth(self.settings.queue(group)) for group in groups}
        except BrokerUnreachable:
            return None

    def measure(self) -> Measured:
        """All that metrics tell, as far as transactions have committed."""
        reading = counting.read_measures(self.database)
        groups = [group.name for group in reading.groups]
        return Measured(
            published=reading.published,
            handled=reading.handled,
            runs=reading.tallies,
            durations=reading.durations,
            dead=reading.dead,
            fingerprints={state: reading.fingerprints.get(state, 0) for state in STATES},
            open={group: backlog.open for group, backlog in reading.backlogs.items()},
            due={group: backlog.due for group, backlog in reading.backlogs.items()},
            parked={group: reading.parked.get(group, 0) for group in reading.backlogs},
            lag_seconds={group.name: group.lag.total_seconds() for group in reading.groups},
            workers={name: sum(name in worker.groups for worker in reading.workers) for name in groups},
            paused={group.name: int(group.paused) for group in reading.groups},
            repairs={group: sent.wake_ups for group, sent in reading.repairs.items()},
            broker_messages=self.broker_depths(groups),
        )

    def durations(self, *, since: timedelta = timedelta(hours=1)) -> dict[str, Durations]:
        """How long each group's handlers ran lately: runs, mean, p50, p95 and p99; from the histogram that metrics serve.

        Args:
            since: So long ago, to the minute; up to 7 days. Groups without runs are left out; the last five seconds may be missing.

        Raises:
            InvalidInput: Not such a time.
        """
        return counting.read_durations(self.database, since=since)

    def health(self) -> Health:
        """Whether PostgreSQL has our tables and the broker takes messages, asked now."""
        return health.check(self.database, self.broker)

    def live_workers(self, *groups: str, host: str | None = None) -> dict[str, list[Seen]]:
        """The workers that serve each of *groups*, or of all groups that have one; seen in the last 30 seconds."""
        return health.find_workers(self.database, groups=groups, host=host)

    def workers(self) -> list[Seen]:
        """All workers that were seen in the last 30 seconds, by name; those that serve no group too."""
        return health.list_workers(self.database)

    def diagnose(self) -> list[Finding]:
        """A check-up of the whole bus: what is well, what is odd and what is wrong, with what to do."""
        return diagnosing.diagnose(self.database, self.broker, version=version("eventbus"))
