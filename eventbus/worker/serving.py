"""Serving: which groups a worker serves, and what happens when it starts.

    import of the app's modules ─▶ subscriptions declared ─▶ a task and a queue per group
    worker starts ─▶ groups of its queues ─▶ registered in PostgreSQL ─▶ Execution for its tasks

Without -Q a worker serves every group that its app declares, in whichever module, as soon as that is imported.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any

from celery import Celery, signals
from kombu import Queue

from eventbus.errors import DatabaseUnreachable, EventBusError
from eventbus.lifecycle.execution import Execution
from eventbus.lifecycle.registration import register
from eventbus.settings import Settings
from eventbus.storage.database import Database
from eventbus.subscription import Subscription, Subscriptions
from eventbus.worker.log_format import show_facts
from eventbus.worker.task import DeliveryTask, Runtime

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
    ) -> None:
        self._app = app
        self._subscriptions = subscriptions
        self._settings = settings
        self._database = database
        self._runtime = Runtime()
        # Not before the app is complete: its configuration may still change, and reading it here would freeze it.
        app.on_after_finalize.connect(self._declare_all, weak=False)
        signals.worker_init.connect(self._on_worker_init, weak=False)
        show_facts()

    def declared(self, subscription: Subscription) -> None:
        """Give a group that was declared after the app was complete its task and queue."""
        if self._app.finalized:
            self._declare(subscription.group)

    def _declare_all(self, **_: Any) -> None:
        for group in self._subscriptions.groups():
            self._declare(group)

    def _declare(self, group: str) -> None:
        name = self._settings().queue(group)
        if name in self._app.tasks:
            return
        task_class = type(
            "GroupTask", (DeliveryTask,), {"name": name, "group": group, "runtime": self._runtime, "queue": name}
        )
        self._app.register_task(task_class())
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
        if queues._consume_from is None:  # started without -Q; Celery offers no public way to ask
            queues.select([*queues.consume_from, *(settings.queue(group) for group in self._subscriptions.groups())])
        served = set(queues.consume_from)
        wanted = [item for item in self._subscriptions if settings.queue(item.group) in served]
        known = register(self._database(), wanted, settings=settings)
        self._runtime.execution = Execution(
            database=self._database(), known=known, lease=settings.lease, worker=worker.hostname
        )
