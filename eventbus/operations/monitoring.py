"""Monitoring: the methods of a bus that say what it does and how it is."""

from collections.abc import Sequence
from importlib.metadata import version

from eventbus.errors import BrokerUnreachable
from eventbus.lifecycle import counting, diagnosing, health
from eventbus.lifecycle.diagnosing import Finding
from eventbus.lifecycle.health import Health
from eventbus.operations.parts import Parts
from eventbus.storage.overview import Stats
from eventbus.storage.workers import Seen


class MonitoringOperations(Parts):
    """What a bus tells of itself."""

    def stats(self) -> Stats:
        """Published, consumed and dead in numbers, and the open deliveries of each group; from PostgreSQL alone."""
        return counting.read_stats(self.database)

    def recount(self) -> None:
        """Count what `stats` says anew from the log and the deliveries, reading all of them."""
        counting.recount(self.database)

    def broker_depths(self, groups: Sequence[str]) -> dict[str, int] | None:
        """How many messages wait in the queue of each group; None while the broker cannot be asked."""
        try:
            return {group: self.broker.depth(self.settings.queue(group)) for group in groups}
        except BrokerUnreachable:
            return None

    def health(self) -> Health:
        """Whether PostgreSQL has our tables and the broker takes messages, asked now."""
        return health.check(self.database, self.broker)

    def live_workers(self, *groups: str, host: str | None = None) -> dict[str, list[Seen]]:
        """The workers that serve each of *groups*, or of all groups that have one; seen in the last 30 seconds."""
        return health.find_workers(self.database, groups=groups, host=host)

    def diagnose(self) -> list[Finding]:
        """A check-up of the whole bus: what is well, what is odd and what is wrong, with what to do."""
        return diagnosing.diagnose(self.database, self.broker, version=version("eventbus"))
