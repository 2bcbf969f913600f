"""Serving: which groups a worker serves, and what happens when it starts.

    import of the app's modules ─▶ subscriptions declared ─▶ a task and a queue per group
    worker starts ─▶ groups of its queues ─▶ registered in PostgreSQL ─▶ equipment for its tasks
    its pool runs ─▶ Attendance: leases, accounts, relay

Without -Q a worker serves every group that its app declares, in whichever module, as soon as that is imported.
"""

import gc
import logging
import sys
from collections.abc import Callable
from typing import Any

from celery import Celery, signals
from kombu import Queue

from eventbus.broker import Broker, require_agreement
from eventbus.errors import ConfigurationError, DatabaseUnreachable, EventBusError
from eventbus.lifecycle.alerting import Alerting
from eventbus.lifecycle.attending import Attendant
from eventbus.lifecycle.execution import Execution
from eventbus.lifecycle.pace import Pace
from eventbus.lifecycle.reading import Reading
from eventbus.lifecycle.registration import Known, register
from eventbus.lifecycle.relaying import Relay
from eventbus.lifecycle.slices import SLICE_SECONDS
from eventbus.lifecycle.slots import MOST, Slots
from eventbus.lifecycle.waking import Waking
from eventbus.settings import Settings
from eventbus.storage.database import Database
from eventbus.subscription import Subscription, Subscriptions
from eventbus.worker.attendance import Attendance, attend, is_idle, restart_consumer
from eventbus.worker.children import Children
from eventbus.worker.housekeeping import keep_house_in_workers, own_database
from eventbus.worker.log_format import show_facts
from eventbus.worker.task import DeliveryTask, Equipment, Runtime
from eventbus.worker.task_events import TaskEvents
from eventbus.worker.tolerance import (
    accept_wake_ups,
    drop_lost_messages,
    keep_connecting,
    tolerate_ended_children,
    tolerate_malformed_items,
)

log = logging.getLogger(__name__)

#: What a worker that cannot start exits with, as the command line would.
_EXIT_BAD_INPUT, _EXIT_UNREACHABLE = 2, 4


class Serving:
    """Ties the subscriptions of one bus to the workers of its Celery app."""

    def __init__(
        self,
        app: Celery,
        subscriptions: Subscriptions,
        *,
        settings: Callable[[], Settings],
        database: Callable[[], Database],
        broker: Callable[[], Broker],
        waking: Callable[[], Waking],
        reading: Callable[[], Reading],
    ) -> None:
        self._app = app
        self._subscriptions = subscriptions
        self._settings = settings
        self._database = database
        self._broker = broker
        self._waking = waking
        self._reading = reading
        self._runtime = Runtime()
        self._is_mistaken = False
        # Not before the app is complete: its configuration may still change, and reading it here would freeze it.
        app.on_after_finalize.connect(self._declare_all, weak=False)
        signals.worker_init.connect(self._on_worker_init, weak=False)
        attend(app, make=self._attendance, stopping=self._stop)
        keep_house_in_workers(app, settings=settings, groups=self._served)
        show_facts()

    def declared(self, subscription: Subscription) -> None:
        """Give a group that was declared after the app was complete its task and queue."""
        if self._app.finalized:
            self._declare(subscription.group)

    def _served(self) -> list[str] | None:
        """The groups of this worker: none, if it seems that it should have some; None, if it has nothing to do with us."""
        tools = self._runtime.equipment
        if tools is None:
            return [] if self._is_mistaken else None
        return sorted(tools.execution.known.by_group)

    def _declare_all(self, **_: Any) -> None:
        for group in self._subscriptions.groups():
            self._declare(group)

    def _declare(self, group: str) -> None:
        name = self._settings().queue(group)
        if name in self._app.tasks:
            return
        task_class = type("GroupTask", (DeliveryTask,), {"name": name, "group": group, "runtime": self._runtime})
        task: Any = self._app.register_task(task_class())
        # Celery warns of a queue that a task's class names. This one is for whoever sends the task without the bus.
        task.queue = name
        self._app.amqp.queues.add(Queue(name, routing_key=name))

    def _on_worker_init(self, sender: Any, **_: Any) -> None:
        if sender.app is not self._app:
            return
        try:
            self._start(sender)
        except EventBusError as error:
            log.critical("worker_cannot_start: %s", error)
            sys.stderr.write(f"eventbus: {error}\n")
            raise SystemExit(
                _EXIT_UNREACHABLE if isinstance(error, DatabaseUnreachable) else _EXIT_BAD_INPUT
            ) from error
        except Exception as error:
            # Celery would only log what a signal's receiver raises, and start a worker that cannot work.
            log.exception("worker_cannot_start")
            raise SystemExit(1) from error

    def _start(self, worker: Any) -> None:
        settings = self._settings()
        queues = self._app.amqp.queues
        is_told = queues._consume_from is not None  # Celery offers no public way to ask
        if not is_told:  # started without -Q
            queues.select([*queues.consume_from, *(settings.queue(group) for group in self._subscriptions.groups())])
        served = set(queues.consume_from)
        wanted = [item for item in self._subscriptions if settings.queue(item.group) in served]
        if is_told:
            self._warn_of(served)
        if not wanted:
            return
        require_agreement(self._app, settings.broker_url)
        if isinstance(worker.concurrency, int) and worker.concurrency > MOST:
            raise ConfigurationError(
                f"--concurrency {worker.concurrency}: a worker runs at most {MOST} handlers at once; start several workers."
            )
        reading = self._reading()
        # First of all: a worker whose schemas would break somebody must not start to owe anybody anything.
        reading.catalog.register()
        reading.catalog.refuse_gaps()
        tolerate_malformed_items()
        tolerate_ended_children()
        keep_connecting(self._app)
        accept_wake_ups(self._app)
        if served <= {settings.queue(group) for group in self._subscriptions.groups()}:
            drop_lost_messages(self._app)
        queues.select_add(self._own_queue(worker), routing_key=self._own_queue(worker))
        known = register(self._database(), wanted, settings=settings)
        execution = Execution(
            database=self._database(),
            known=known,
            reading=reading,
            lease=settings.lease,
            worker=worker.hostname,
            slots=Slots(),
            hidden=settings.redact,
        )
        self._limit_tasks(known, is_soft=bool(worker.soft_time_limit))
        self._runtime.equipment = Equipment(
            execution=execution,
            attendant=Attendant(execution.slots),
            pace=Pace(),
            waking=self._waking(),
            events=TaskEvents(self._app, hostname=worker.hostname, are_sent=bool(worker.task_events)),
        )
        # What is loaded by now stays. Celery would look through it for garbage before each fork, Python at the end.
        gc.freeze()

    def _warn_of(self, served: set[str]) -> None:
        """Say so where *served* queues seem to be meant for groups, and are not theirs: nobody would send anything there."""
        settings, groups = self._settings(), self._subscriptions.groups()
        queues = [settings.queue(group) for group in groups]
        strange = sorted(name for name in served - set(queues) if name in groups or name.startswith(settings.queue("")))
        serves_some = not served.isdisjoint(queues)
        self._is_mistaken = bool(strange) and not serves_some
        if not groups or (serves_some and not strange):
            return
        what = "some queues are of no consumer group" if serves_some else "this worker serves no consumer group"
        sentence = (
            f"{what}: it consumes {', '.join(strange or sorted(served))}, and the queues of the app's groups are "
            f"{', '.join(queues)}. 'eventbus worker GROUP' names the right one."
        )
        log.warning("queues_of_no_group: %s", sentence)
        sys.stderr.write(f"eventbus: {sentence}\n")

    def _limit_tasks(self, known: Known, *, is_soft: bool) -> None:
        """Celery's own time limit ends a process whose handler does not listen to ours: one that hangs in C code.

        Args:
            is_soft: Whether the worker has a soft limit as well, for other tasks: it would strike handlers, and what settles them.
        """
        settings = self._settings()
        for group, items in known.by_group.items():
            longest = max(item.timeout for item in items.values())
            # A lease more: so long a settlement may be repeated.
            limit = longest.total_seconds() + SLICE_SECONDS + settings.lease.total_seconds()
            task = self._app.tasks[settings.queue(group)]
            task.keep_own()
            task.time_limit = limit
            # None would be the worker's. Where there is a soft limit, Celery counts the other one from there on.
            task.soft_time_limit = limit if is_soft or task.soft_time_limit else None

    def _attendance(self, worker: Any) -> Attendance | None:
        tools = self._runtime.equipment
        if tools is None:
            return None
        self._runtime.children = Children(worker.pool)
        relay = Relay(
            database=self._database(),
            broker=self._broker(),
            subscriptions=tools.execution.known.all_ids(),
            own_queue=self._own_queue(worker),
            is_idle=lambda: is_idle(worker),
            restart_consumer=lambda: restart_consumer(worker),
        )
        settings = self._settings()
        alerting = Alerting(database=self._database(), settings=settings)
        renewing = own_database(settings, "eventbus leases")
        return Attendance(tools.execution, relay, self._runtime.children, alerting, renewing=renewing)

    def _stop(self) -> None:
        if self._runtime.equipment is not None:
            self._runtime.equipment.execution.slots.stop()

    def _own_queue(self, worker: Any) -> str:
        """The queue that only this worker consumes: what is sent there cannot be taken by one that does not know it."""
        return f"{self._settings().prefix}.worker.{worker.hostname}"
