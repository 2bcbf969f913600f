"""Task events: what Flower is shown of a delivery that failed inside a batch, which has no task of its own yet."""

import logging
from typing import Any
from uuid import uuid4

from celery import Celery

from eventbus.failure import from_exception
from eventbus.lifecycle.settlement import Dead, Outcome, Retrying
from eventbus.storage.claiming import Claimed

log = logging.getLogger(__name__)


class TaskEvents:
    """Sends events in the name of a worker, if it was started with -E."""

    def __init__(self, app: Celery, *, hostname: str, are_sent: bool) -> None:
        self._app = app
        self._hostname = hostname
        self._are_sent = are_sent

    def show_failure(self, task: Any, claimed: Claimed, error: BaseException, outcome: Outcome) -> str:
        """Show that *claimed* failed with *error*, as a task of its own; the id of that task.

        A retry shows RETRY here, and whatever it ends with when its message arrives under the same id.
        """
        task_id = str(uuid4())
        kinds = {Retrying: "task-retried", Dead: "task-failed"}
        kind = kinds.get(type(outcome))
        if kind is None or not self._are_sent:
            return task_id
        failure = from_exception(error)
        event = claimed.event
        common = {"uuid": task_id}  # the dispatcher adds whose it is
        try:
            with self._app.events.default_dispatcher(hostname=self._hostname) as dispatcher:
                dispatcher.send(
                    "task-received",
                    **common,
                    name=task.name,
                    args=f"{event.type} {event.id}",
                    kwargs="{}",
                    root_id=task_id,
                    parent_id=None,
                    retries=claimed.attempts,
                    eta=None,
                    expires=None,
                )
                dispatcher.send("task-started", **common)
                dispatcher.send(kind, **common, exception=failure.summary, traceback=failure.traceback)
        except Exception as failure_to_send:  # noqa: BLE001 - a dispatcher lets through whatever its broker's client raises
            log.warning("task_events_not_sent", extra={"reason": str(failure_to_send)})
        return task_id
