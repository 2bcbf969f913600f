"""Relaying: every worker looks for deliveries that are due and that nobody was told of, and wakes for them.

    due for a moment ─▶ wake-ups, while the group's queue is short
    the longest due has not moved since the last sweep ─▶ this worker's own queue   others may take the wake-ups in vain
    … and a free worker has not read its own queue either ─▶ its consumer is restarted

A relay wakes only for what its own worker can run, and never for a paused group: anything else would spin. Any number of them may
run: the broker tops a queue up to a length, whoever asks.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from eventbus.broker import Broker
from eventbus.lifecycle.sweeping import settle_orphans, wake_up
from eventbus.storage import deliveries, repairs
from eventbus.storage.database import Database
from eventbus.storage.deliveries import Due

log = logging.getLogger(__name__)

#: Wake-ups that a queue is topped up to; each of them may run many deliveries.
CAP = 100
#: What has been due for less was most likely just published, and a worker is on its way.
GRACE = timedelta(milliseconds=250)
#: Sweeps after which a delivery that has not moved is taken for one that nobody hears of.
PATIENCE = 2
_ORPHAN_SWEEPS = 20
#: Sweeps that a consumer is left alone after a restart: on a machine that is out of breath it only needs time.
_RESTART_SWEEPS = 20


@dataclass(kw_only=True)
class Stuck:
    """The longest due delivery of a group, and for how many sweeps it has been that."""

    due: Due
    sweeps: int = 1


@dataclass(kw_only=True)
class Relay:
    """One worker's relay: `sweep` is called twice a second, so that what is due starts within two."""

    database: Database
    broker: Broker
    #: The ids of the subscriptions that this worker can run.
    subscriptions: Sequence[int]
    #: The queue that this worker alone consumes.
    own_queue: str
    #: Whether this worker reads its queues and has a free process; asked while something is stuck.
    is_idle: Callable[[], bool]
    restart_consumer: Callable[[], None]
    _stuck: dict[str, Stuck] = field(default_factory=dict)
    _restarted_sweep: int = -_RESTART_SWEEPS
    _sweeps: int = 0
    _was_idle: bool = False

    def sweep(self) -> None:
        """Wake for what is due.

        Raises:
            DatabaseError: Nothing was looked at.
            BrokerUnreachable: Some or all wake-ups were not sent.
        """
        self._sweeps += 1
        if self._sweeps % _ORPHAN_SWEEPS == 1:
            settle_orphans(self.database)
        with self.database.autocommit() as connection:
            found = deliveries.list_due(connection, limit=CAP, known=self.subscriptions, grace=GRACE)
        by_group = _by_group(found)
        self._stuck = {group: self._look(group, items[0]) for group, items in by_group.items()}
        sent = {group: self._top_up(group, items) for group, items in by_group.items()}
        self._go_direct()
        _note_repairs(self.database, sent)

    def _look(self, group: str, oldest: Due) -> Stuck:
        before = self._stuck.get(group)
        if before is None or (before.due.event_id, before.due.due_at) != (oldest.event_id, oldest.due_at):
            return Stuck(due=oldest)
        return Stuck(due=oldest, sweeps=before.sweeps + 1)

    def _top_up(self, group: str, items: Sequence[Due]) -> int:
        sent = _top_up(self.broker, items)
        if sent:
            log.info("relayed", extra={"group": group, "wake_ups": sent})
        return sent

    def _go_direct(self) -> None:
        stuck = [item.due for item in self._stuck.values() if item.sweeps >= PATIENCE]
        if not stuck:
            self._was_idle = False
            return
        was_idle, self._was_idle = self._was_idle, self.is_idle()
        sent = self.broker.top_up(self.own_queue, [wake_up(due) for due in stuck], len(stuck))
        if sent:
            log.info("relayed_directly", extra={"groups": [due.group for due in stuck], "wake_ups": sent})
        # What an earlier sweep has sent is still there, and nothing has kept this worker from reading it since then.
        elif was_idle and self._was_idle and self._sweeps - self._restarted_sweep >= _RESTART_SWEEPS:
            log.error("consumer_restarted", extra={"queue": self.own_queue})
            self._restarted_sweep = self._sweeps
            self.restart_consumer()


def relay(database: Database, broker: Broker) -> None:
    """Fill the queue of each group that has due deliveries up to what a relay keeps there, for a process that runs none.

    Raises:
        BrokerUnreachable: Some or all were not sent.
    """
    with database.autocommit() as connection:
        found = deliveries.list_due(connection, limit=CAP, grace=GRACE)
    sent = {group: _top_up(broker, items) for group, items in _by_group(found).items()}
    if repaired := _note_repairs(database, sent):
        log.info("relayed", extra={"groups": repaired})


def _by_group(found: Sequence[Due]) -> dict[str, list[Due]]:
    by_group: dict[str, list[Due]] = {}
    for due in found:
        by_group.setdefault(due.group, []).append(due)
    return by_group


def _top_up(broker: Broker, items: Sequence[Due]) -> int:
    """No more messages than due deliveries: it may be long before anybody takes them."""
    return broker.top_up(items[0].queue, [wake_up(item) for item in items], min(CAP, len(items)))


def _note_repairs(database: Database, sent: dict[str, int]) -> dict[str, int]:
    """Keep how many wake-ups were *sent* for each group; those of them for which any were."""
    if repaired := {group: count for group, count in sent.items() if count}:
        with database.autocommit() as connection:
            repairs.note(connection, repaired)
    return repaired
