"""Errors of work that was under way: a handler's run, a replay."""

from eventbus.errors.root import EventBusError


class ReplayStopped(EventBusError):
    """A replay was cancelled, or resumed by another process; the batches before that stand."""

    def __init__(self, id: object, state: str, seen: int, total: int) -> None:
        self.id, self.state, self.seen, self.total = id, state, seen, total
        by = "goes on in another process" if state == "running" else f"is {state}"
        super().__init__(f"replay {id} {by}: it had come to {seen:,} of {total:,} deliveries.")


class HandlerError(EventBusError):
    """A handler ended in a way that is no ordinary exception; the run counts as a failed attempt."""


class HandlerTimeout(HandlerError):
    """A handler ran longer than its subscription's timeout."""


class HandlerDied(HandlerError):
    """The process of a handler died while it ran."""
