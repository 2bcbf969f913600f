"""Retry policies: how often a failed delivery is tried again, and how long it waits before.

Waits double from ``backoff`` up to ``backoff_max``, with full jitter: uniform between nothing and that, so that deliveries
that failed together do not come back together.
"""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from eventbus.errors import HandlerError, InvalidSubscription

MAX_RETRIES = 1000
#: Deaths of the handler's process that a delivery survives at least, whatever max_retries is: most are not its fault.
DEATH_FLOOR = 3
_LONGEST = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """When to try a failed delivery again."""

    #: Retries after the first run: 3 means at most 4 runs.
    max_retries: int = 3
    backoff: timedelta = timedelta(seconds=2)
    backoff_max: timedelta = timedelta(minutes=10)
    #: Exceptions that no retry can mend: straight to the dead letters.
    give_up_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.max_retries, bool) or not isinstance(self.max_retries, int):
            raise InvalidSubscription(f"max_retries={self.max_retries!r} must be a whole number.")
        if not 0 <= self.max_retries <= MAX_RETRIES:
            raise InvalidSubscription(f"max_retries={self.max_retries} must lie between 0 and {MAX_RETRIES}.")
        for name in ("backoff", "backoff_max"):
            check_duration(name, getattr(self, name))
        if not isinstance(self.give_up_on, tuple) or not all(
            isinstance(item, type) and issubclass(item, BaseException) for item in self.give_up_on
        ):
            raise InvalidSubscription(f"give_up_on={self.give_up_on!r} must be a tuple of exception classes.")

    @property
    def death_limit(self) -> int:
        """Deaths after which a delivery is dead."""
        return max(self.max_retries + 1, DEATH_FLOOR)

    def allows_retry(self, *, attempts: int, error: BaseException) -> bool:
        """Whether a delivery that has failed *attempts* times, last with *error*, is tried again."""
        # What is no ordinary exception is carried on as a HandlerError, and is what the handler raised all the same.
        raised = [error, error.__cause__] if type(error) is HandlerError else [error]
        return attempts <= self.max_retries and not any(issubclass(type(item), self.give_up_on) for item in raised)

    def ceiling(self, attempts: int) -> timedelta:
        """The longest wait after *attempts* failed runs (from 1)."""
        doubled = 2 ** (attempts - 1)
        # Compared before it is multiplied: a timedelta has a limit of its own.
        return self.backoff_max if self.backoff_max // self.backoff < doubled else self.backoff * doubled

    def wait(self, attempts: int) -> timedelta:
        """How long to wait after *attempts* failed runs (from 1): random, at most `ceiling`."""
        return self.ceiling(attempts) * random.random()

    def as_json(self) -> dict[str, Any]:
        """The policy as it is shown beside its subscription."""
        return {
            "max_retries": self.max_retries,
            "backoff_seconds": self.backoff.total_seconds(),
            "backoff_max_seconds": self.backoff_max.total_seconds(),
            "give_up_on": [f"{item.__module__}.{item.__qualname__}" for item in self.give_up_on],
        }


def check_duration(name: str, value: object) -> timedelta:
    """*value*, if it is a positive timedelta of at most 30 days.

    Raises:
        InvalidSubscription: It is not.
    """
    if not isinstance(value, timedelta) or not timedelta(0) < value <= _LONGEST:
        raise InvalidSubscription(f"{name}={value!r} must be a positive timedelta of at most 30 days.")
    return value
