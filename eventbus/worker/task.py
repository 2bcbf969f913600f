"""The Celery task of a group: autoretry decides *that* a failed delivery is retried, the subscription decides how.

run ─▶ claim, handle, settle
 └─ the handler raised ─▶ autoretry ─▶ retry() ─┬─ policy allows ─▶ due_at written, then an ETA message   RETRY
                                                └─ used up ─▶ dead letter, then the exception goes on    FAILURE
                                                                                        └─▶ on_failure: a second net
"""

import logging
from typing import Any, NoReturn
from uuid import UUID

from celery import Task
from celery.exceptions import Ignore, Retry
from kombu.exceptions import OperationalError

from eventbus.errors import ConfigurationError, DatabaseError
from eventbus.lifecycle.execution import Execution
from eventbus.lifecycle.settlement import Dead, Done, Fenced, Outcome, Retrying
from eventbus.storage.claiming import Claimed

log = logging.getLogger(__name__)

#: Longer waits need no message: they end in PostgreSQL, where a sweep finds them. An ETA message sits in one worker's memory.
LONGEST_ETA_SECONDS = 60
#: The message comes a little after the row is due, never before.
_ETA_MARGIN_SECONDS = 0.05


class Runtime:
    """What the tasks of one worker process share; filled when the worker starts."""

    execution: Execution | None = None


class DeliveryTask(Task):
    """Handles deliveries of one group. Its arguments name an event, as a hint."""

    abstract = True
    autoretry_for = (Exception,)
    #: The subscription counts, not Celery.
    max_retries = None
    ignore_result = True
    #: The lease in PostgreSQL brings back what a dead worker held; a message kept unacknowledged would only repeat it.
    acks_late = False
    #: A malformed message is our business: it still is a wake-up.
    typing = False

    group: str
    runtime: Runtime

    def run(self, *args: Any, **_kwargs: Any) -> dict[str, int]:
        """Handle one due delivery of the group, the hinted one if it is due.

        Returns:
            How many deliveries were done, retried and dead: the task's result in Flower.
        """
        execution = self._execution()
        hint = self._hint(args)
        try:
            claimed = execution.claim(self.group, hint, task_id=self.request.id)
            result = execution.run(claimed) if claimed else None
        except DatabaseError as error:
            # No failure of the handler's: its delivery stays due, or becomes so when its lease ends.
            log.warning("wake_up_dropped", extra={"group": self.group, "reason": str(error)})
            raise Ignore from error
        if isinstance(result, BaseException):
            self.request.eventbus_failed, self.request.eventbus_error = claimed, result
            raise result
        if claimed is not None:
            self._wake_again(claimed, result)
        return _counted(result)

    def retry(self, *_args: Any, exc: BaseException | None = None, **_options: Any) -> NoReturn:
        """Settle the delivery whose handler ended with *exc*. Always raises: Retry, Ignore, or *exc* when it is dead."""
        claimed = self._failed()
        if claimed is None or exc is None:
            raise exc or Ignore()
        subscription = self._execution().subscription(claimed)
        if not subscription.retry.allows_retry(attempts=claimed.attempts + 1, error=exc):
            self.give_up(claimed, exc)
            raise exc
        outcome = self._settle(claimed, exc)
        if isinstance(outcome, Retrying):
            self._come_back(claimed, outcome, exc)
        raise Ignore

    def give_up(self, claimed: Claimed, exc: BaseException) -> None:
        """Write the dead letter of *claimed* from inside the task."""
        self._settle(claimed, exc)

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Celery's hook for a task that failed for good: settle the delivery, unless the task itself has."""
        del exc, task_id, args, kwargs, einfo
        claimed = self._failed()
        if claimed is None:
            return
        # An error that came between, such as a lost connection while it was settled, must not cost it its retries.
        self._settle(claimed, self.request.eventbus_error)

    def _settle(self, claimed: Claimed, error: BaseException) -> Outcome:
        outcome = self._execution().fail(claimed, error)
        self.request.eventbus_failed = None
        self._wake_again(claimed, outcome)
        return outcome

    def _wake_again(self, claimed: Claimed, outcome: Outcome | None) -> None:
        """Send a wake-up for a delivery that was replayed while it ran: the replay's own came too early for it."""
        if not isinstance(outcome, Done | Dead) or not outcome.again:
            return
        event = claimed.event
        try:
            self.apply_async(
                (str(event.id),), argsrepr=f"{event.type} {event.id}", kwargsrepr="{}", queue=self.name, retry=False
            )
        except OperationalError as error:
            log.warning("wake_up_failed", extra={"group": self.group, "reason": str(error)})

    def _come_back(self, claimed: Claimed, outcome: Retrying, exc: BaseException) -> NoReturn:
        seconds = outcome.wait.total_seconds() + _ETA_MARGIN_SECONDS
        if seconds > LONGEST_ETA_SECONDS:
            raise Retry(exc=exc, when=seconds)
        self.request.retries = outcome.attempts - 1
        event = claimed.event
        try:
            super().retry(
                args=(str(event.id),),
                kwargs={},
                exc=exc,
                countdown=seconds,
                queue=self.name,
                argsrepr=f"{event.type} {event.id}",
                kwargsrepr="{}",
            )
        except OperationalError as error:
            log.warning("retry_not_announced", extra={"group": self.group, "reason": str(error)})
        raise Retry(exc=exc, when=seconds)

    def _failed(self) -> Claimed | None:
        """The delivery whose handler just failed in this very task, and is not settled."""
        claimed: Claimed | None = getattr(self.request, "eventbus_failed", None)
        return claimed

    def _execution(self) -> Execution:
        if self.runtime.execution is None:
            raise ConfigurationError(f"task {self.name} only runs in a Celery worker: start one with 'celery worker'.")
        return self.runtime.execution

    def _hint(self, args: Any) -> UUID | None:
        try:
            return UUID(args[0])
        except (IndexError, TypeError, ValueError, AttributeError):
            log.warning("wake_up_malformed", extra={"group": self.group, "task_id": self.request.id})
            return None


def _counted(outcome: Outcome | None) -> dict[str, int]:
    counts = {"done": 0, "retried": 0, "dead": 0}
    match outcome:
        case Done():
            counts["done"] = 1
        case Retrying():
            counts["retried"] = 1
        case Dead():
            counts["dead"] = 1
        case Fenced() | None:
            pass
    return counts
