"""Insisting: a settlement that PostgreSQL cannot take now is repeated while its claim holds, and never dropped.

The claim holds as long as the main process renews its lease; where that ends, the settlement finds itself fenced, and is over.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from eventbus.errors import DatabaseError

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.05, 1.0
Result = TypeVar("Result")


def insist(action: Callable[[], Result], *, give_up: Callable[[float], bool]) -> Result:
    """What *action*, which settles something, returns as soon as PostgreSQL can do it.

    Args:
        action: Repeatable: it changes what its claim holds, and nothing else.
        give_up: Asked with the seconds that have passed, after a failure; true ends it.

    Raises:
        DatabaseError: *give_up* said so; whoever takes the delivery over repeats the work.
    """
    began, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
    while True:
        try:
            return action()
        except DatabaseError as error:
            if give_up(time.monotonic() - began):
                log.warning("settlement_given_up", extra={"reason": str(error)})
                raise
            if pause == _FIRST_PAUSE_SECONDS:
                log.warning("settlement_repeated", extra={"reason": str(error)})
            time.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE_SECONDS)
