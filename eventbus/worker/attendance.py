"""Attendance: what the main process of a worker does for its deliveries, from its start until the last of its children is gone.

leases    every third of a lease (10 s at most): renews what living children hold; knows no broker, and has a connection of its own
accounts  four times a second: settles what dead children held
relay     twice a second: wakes for what is due and was told to nobody
parked    every ten seconds: makes due what was parked and this worker's code can read
timings   every five seconds: writes down how long handlers ran
alerts    every two seconds: tells a webhook of causes of dead letters; while it hangs, it keeps nothing else waiting
"""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

from celery import Celery, bootsteps, signals
from celery.worker import state as worker_state

from eventbus.lifecycle.accounting import settle_account
from eventbus.lifecycle.alerting import Alerting
from eventbus.lifecycle.execution import Execution
from eventbus.lifecycle.leasing import renew_leases
from eventbus.lifecycle.parking import unpark
from eventbus.lifecycle.relaying import Relay
from eventbus.lifecycle.timing import Timekeeper
from eventbus.storage.database import Database
from eventbus.worker.children import Children
from eventbus.worker.duties import Duty

log = logging.getLogger(__name__)

_RENEWAL = timedelta(seconds=10)
#: After a failure: there must be time for a success before the leases end.
_RENEWAL_AGAIN = timedelta(seconds=1)
_ACCOUNTS = timedelta(milliseconds=250)
_SWEEP = timedelta(milliseconds=500)
_UNPARK = timedelta(seconds=10)
_TIMINGS = timedelta(seconds=5)
_ALERTS = timedelta(seconds=2)
#: So long an account waits for its pool to say what ended the process.
_REASON_SECONDS = 1.0
#: What a duty may still take when the worker ends.
_STOP_SECONDS = 2.0


class Attendance:
    """The duties of one worker.

    Args:
        renewing: A pool that nobody else uses: where handlers run in the main process they may have all connections of the bus's,
            and would lose what they hold. It is closed at the end.
    """

    def __init__(
        self, execution: Execution, relay: Relay, children: Children, alerting: Alerting, *, renewing: Database
    ) -> None:
        self._execution = execution
        self._renewing = renewing
        self._children = children
        self._first_seen: dict[int, float] = {}
        self._timekeeper = Timekeeper(database=execution.database, timings=execution.slots.timings)
        renewal = min(_RENEWAL, execution.lease / 3)
        self._duties = (
            Duty("leases", self.renew, period=renewal, again=min(_RENEWAL_AGAIN, renewal)),
            Duty("accounts", self.settle, period=_ACCOUNTS),
            Duty("relay", relay.sweep, period=_SWEEP),
            Duty("parked", self.unpark, period=_UNPARK),
            Duty("timings", self._timekeeper.write, period=_TIMINGS),
            Duty("alerts", alerting.send, period=_ALERTS),
        )

    def start(self) -> None:
        """Begin all duties."""
        for duty in self._duties:
            duty.start()

    def stop(self) -> None:
        """End all duties; called when the pool is gone, so that what its children held is settled before."""
        for duty in self._duties:
            duty.stop(timeout_seconds=_STOP_SECONDS)
        self._first_seen = dict.fromkeys((item.pid for item in self._execution.slots.list_accounts()), 0.0)
        Duty("last accounts", self.settle, period=_ACCOUNTS).do()
        Duty("last timings", self._timekeeper.write, period=_TIMINGS).do()
        self._renewing.dispose()

    def renew(self) -> None:
        """Renew the leases of the living.

        Slots are read before it is asked who lives: a slot that is taken in between is renewed next time, while one whose process
        died in between is found dead.
        """
        slots = self._execution.slots
        accounts = slots.list_accounts()
        living = [item for item in accounts if item.claim and not slots.is_dead(item)]
        renew_leases(self._renewing, living, lease=self._execution.lease)

    def unpark(self) -> None:
        """Make due what waits for code that this worker has: one of the old code may have parked it just now."""
        execution = self._execution
        unpark(execution.database, execution.known, execution.reading)

    def settle(self) -> None:
        """Settle the accounts of the dead."""
        self._children.look()
        slots = self._execution.slots
        accounts = slots.list_accounts()
        # Whose account is settled, or who never had one, as most in a mixed worker may: nobody will ask how these ended.
        self._children.keep(account.pid for account in accounts)
        for account in accounts:
            if not slots.is_dead(account):
                continue
            waited = time.monotonic() - self._first_seen.setdefault(account.pid, time.monotonic())
            reason = self._children.explain_end(account.pid)
            if reason is None and waited < _REASON_SECONDS:
                continue
            settle_account(
                self._execution,
                account,
                reason=reason or "its process died while the handler ran",
                is_timeout=self._children.is_out_of_time(account.pid),
            )
            self._first_seen.pop(account.pid, None)


def is_idle(worker: Any) -> bool:
    """Whether a worker runs, reads its queues, and has a process that does nothing."""
    if worker.blueprint.state != bootsteps.RUN:
        return False
    # The last step of the consumer's is its loop. Those before connect, and wait a second for what other workers say.
    consumer = worker.consumer
    if (
        consumer is None
        or consumer.blueprint.state != bootsteps.RUN
        or consumer.blueprint.started < len(consumer.steps)
    ):
        return False
    return bool(len(worker_state.reserved_requests) < worker.pool.num_processes)


def restart_consumer(worker: Any) -> None:
    """Let a worker's consumer connect to the broker anew."""
    consumer = worker.consumer

    def lose_connection(**_: Any) -> None:
        if worker.blueprint.state == bootsteps.RUN:
            raise ConnectionResetError("eventbus: this worker's queues were not read any more")

    if consumer.hub is not None:
        consumer.call_soon(lose_connection)
    else:
        # Without a hub, as with gevent, Celery only logs what such a call raises; but it asks the connection again and again.
        consumer.connection.drain_events = lose_connection


def attend(app: Celery, make: Callable[[Any], Attendance | None], stopping: Callable[[], None]) -> None:
    """Let each worker of *app* have an `Attendance`, made by *make* when its pool runs.

    Args:
        make: Takes the worker; gives None if it serves no group.
        stopping: Called when it is told to stop: what has not started is then given back.
    """

    class Step(bootsteps.StartStopStep):
        """From the start of the pool on. Its end is not the end: children finish what they run after that."""

        #: An app may have several buses.
        name = f"{__name__}.Attendance-{uuid4().hex[:8]}"
        requires = ("celery.worker.components:Pool",)

        def start(self, parent: Any) -> None:
            attendance = make(parent)
            if attendance is None:
                return
            attendance.start()
            signals.worker_shutting_down.connect(lambda **_: stopping(), weak=False)
            signals.worker_shutdown.connect(lambda **_: attendance.stop(), weak=False)

        def stop(self, parent: Any) -> None:  # noqa: ARG002 - bootsteps are called so
            stopping()

        close = terminate = stop

    app.steps["worker"].add(Step)
