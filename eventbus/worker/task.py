"""The Celery task of a group: a wake-up becomes a slice of its deliveries.

run ─▶ alone: the delivery that the message names, or one that was tried before
 │      └─ it failed ─▶ autoretry ─▶ retry() ─┬─ policy allows ─▶ due_at written, then an ETA message   RETRY
 │                                            └─ used up ─▶ dead letter, then the exception goes on    FAILURE
 │                                                                                    └─▶ on_failure: a second net
 └───▶ batches: one that fails goes on as a task of its own
"""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn
from uuid import UUID

from celery import Task
from celery.exceptions import Ignore, Reject, Retry
from celery.worker.request import Request
from kombu.exceptions import OperationalError

from eventbus.broker import WakeUp
from eventbus.errors import ConfigurationError, DatabaseError
from eventbus.failure import ends_process, showable
from eventbus.lifecycle.attending import Attendant
from eventbus.lifecycle.execution import Execution
from eventbus.lifecycle.pace import Pace
from eventbus.lifecycle.settlement import Outcome, Retrying
from eventbus.lifecycle.slices import Failed, Slice
from eventbus.lifecycle.waking import Waking
from eventbus.storage.claiming import Claimed
from eventbus.worker.children import Children
from eventbus.worker.task_events import TaskEvents

log = logging.getLogger(__name__)

#: Longer waits need no message: they end in PostgreSQL, where the relay finds them. An ETA message sits in one worker's memory.
LONGEST_ETA_SECONDS = 60
#: The message comes a little after the row is due, never before.
_ETA_MARGIN_SECONDS = 0.05
#: What a group's task relies on.
_OWN = ("rate_limit", "serializer", "autoretry_for", "max_retries", "ignore_result", "acks_late", "throws")


@dataclass(frozen=True, kw_only=True)
class Equipment:
    """What the tasks of one worker share."""

    execution: Execution
    attendant: Attendant
    pace: Pace
    waking: Waking
    events: TaskEvents


class Runtime:
    """Where a worker's tasks find their equipment; filled when the worker starts."""

    equipment: Equipment | None = None
    #: Only in the main process.
    children: Children | None = None


class GroupRequest(Request):
    """A wake-up in the main process: remembers whose time limit ran out, for the dead letter."""

    def on_timeout(self, soft: bool, timeout: float) -> None:  # noqa: FBT001 - Celery calls it so
        """Note that the pool is about to end the process."""
        children = self.task.runtime.children
        if not soft and children is not None and self.worker_pid:
            children.note_limit(self.worker_pid, timeout)
        super().on_timeout(soft, timeout)


class DeliveryTask(Task):
    """Handles deliveries of one group. Its arguments name an event, as a hint."""

    abstract = True
    Request = GroupRequest
    Strategy = "eventbus.worker.tolerance:check_body"
    autoretry_for = (Exception,)
    #: The subscription counts, not Celery.
    max_retries = None
    ignore_result = True
    #: A wake-up stands for any number of deliveries: a rate of them would mean nothing.
    rate_limit = None
    #: As wake-ups are sent, whatever the app's other tasks use.
    serializer = "json"
    #: The lease in PostgreSQL brings back what a dead worker held; a message kept unacknowledged would only repeat it.
    acks_late = False

    group: str
    runtime: Runtime

    def keep_own(self) -> None:
        """Take back what annotations of the app, which are for all its tasks, have changed on this task's class."""
        for name in _OWN:
            setattr(self, name, getattr(DeliveryTask, name))
        self.on_failure = partial(DeliveryTask.on_failure, self)  # type: ignore[method-assign]

    def run(self, *args: Any, **_kwargs: Any) -> dict[str, int]:
        """Handle due deliveries of the group for about half a second, the hinted one first.

        Returns:
            How many deliveries were done, retried and dead: the task's result in Flower.
        """
        tools = self._equipment()
        turn = Slice(tools.execution, self.group, task_id=self.request.id, attendant=tools.attendant, pace=tools.pace)
        try:
            hint = self._hint(args)
            failed = turn.run_alone(hint, everywhere=len(args) > 1)
            if failed is not None and failed.claimed.event.id != hint:
                # This task names another event, and must not end, or come back, in its place.
                self._continue_alone(failed.claimed, failed.error, turn.settle_failed(failed))
                failed = None
            if failed is None:
                turn.run_batches(self._continue_alone)
        except DatabaseError as error:
            # No failure of a handler's: what is due stays due, or becomes so when its lease ends.
            log.warning("wake_up_dropped", extra={"group": self.group, "reason": str(error)})
            self._close(turn)
            raise Ignore from error
        except BaseException as error:
            self._close_unless_ending(turn, error)
            raise
        if failed is not None:
            self.request.eventbus_failed, self.request.eventbus_slice = failed, turn
            raise showable(failed.error)
        self._close(turn)
        return {"done": turn.done, "retried": turn.retried, "dead": turn.dead}

    def retry(self, *_args: Any, exc: BaseException | None = None, **_options: Any) -> NoReturn:
        """Settle the delivery whose handler ended with *exc*. Always raises: Retry, Ignore, or *exc* when it is dead."""
        failed = self._failed()
        if failed is None or exc is None:
            raise exc or Ignore()
        policy = self._equipment().execution.subscription(failed.claimed).retry
        if not policy.allows_retry(attempts=failed.claimed.attempts + 1, error=failed.error):
            self.give_up(failed)
            raise exc
        outcome = self._settle(failed)
        if isinstance(outcome, Retrying):
            self._come_back(failed.claimed, outcome, exc)
        raise Ignore

    def give_up(self, failed: Failed) -> None:
        """Write the dead letter of what *failed* from inside the task."""
        self._settle(failed)

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Celery's hook for a task that failed for good: settle the delivery, unless the task itself has."""
        del exc, task_id, args, kwargs, einfo
        failed = self._failed()
        if failed is None:
            return
        try:
            self._settle(failed)
        except BaseException as error:
            # Nobody tries once more: the end of the lease is left.
            self._close_unless_ending(self.request.eventbus_slice, error)
            raise

    def _settle(self, failed: Failed) -> Outcome:
        turn: Slice = self.request.eventbus_slice
        try:
            outcome = turn.settle_failed(failed)
        except Exception:
            raise  # Celery calls `on_failure`, which tries once more
        except BaseException as error:
            self._close_unless_ending(turn, error)
            raise
        self.request.eventbus_failed = None
        self._close(turn)
        return outcome

    def _close_unless_ending(self, turn: Slice, error: BaseException) -> None:
        """End *turn* after a fault of ours: what it holds must not stay its own for as long as this process lives."""
        if not ends_process(error):
            self._close(turn)

    def _close(self, turn: Slice) -> None:
        """End *turn*, and send the wake-ups that it calls for."""
        try:
            due = turn.close()
        except DatabaseError as error:
            log.warning("wake_up_dropped", extra={"group": self.group, "reason": str(error)})
            due = None
        names = [(claimed.event.id, claimed.event.type) for claimed in turn.again]
        wanted = names if due is None else [*names, due]
        if wanted:
            waking = self._equipment().waking
            waking.send([WakeUp(queue=self.name, event_id=id, type=type) for id, type in wanted])

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
        except Reject as error:  # what Celery makes of whatever kept the message from being sent
            log.warning("retry_not_announced", extra={"group": self.group, "reason": str(error.reason)})
        raise Retry(exc=exc, when=seconds)

    def _continue_alone(self, claimed: Claimed, error: BaseException, outcome: Outcome) -> None:
        """Give a delivery that failed in a task that does not name it one of its own, which shows what becomes of it."""
        task_id = self._equipment().events.show_failure(self, claimed, error, outcome)
        if not isinstance(outcome, Retrying):
            return
        seconds = outcome.wait.total_seconds() + _ETA_MARGIN_SECONDS
        if seconds > LONGEST_ETA_SECONDS:
            return
        event = claimed.event
        try:
            self.apply_async(
                (str(event.id),),
                task_id=task_id,
                countdown=seconds,
                retries=outcome.attempts,
                queue=self.name,
                argsrepr=f"{event.type} {event.id}",
                kwargsrepr="{}",
                retry=False,
            )
        except OperationalError as failure:
            log.warning("retry_not_announced", extra={"group": self.group, "reason": str(failure)})

    def _failed(self) -> Failed | None:
        """The delivery whose handler just failed in this very task, and is not settled."""
        failed: Failed | None = getattr(self.request, "eventbus_failed", None)
        return failed

    def _equipment(self) -> Equipment:
        if self.runtime.equipment is None:
            raise ConfigurationError(f"task {self.name} only runs in a Celery worker: start one with 'celery worker'.")
        return self.runtime.equipment

    def _hint(self, args: Any) -> UUID | None:
        try:
            return UUID(args[0])
        except (IndexError, TypeError, ValueError, AttributeError):
            log.warning("wake_up_malformed", extra={"group": self.group, "task_id": self.request.id})
            return None
