"""What tests share: waiting for conditions, worker processes, databases, and tests that need something extra."""

from tests.support.waiting import closes, keep_clear_of_the_turn_of_the_hour, wait_until
from tests.support.workers import WorkerProcess

__all__ = ["WorkerProcess", "closes", "keep_clear_of_the_turn_of_the_hour", "wait_until"]
