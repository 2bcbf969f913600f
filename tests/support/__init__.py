"""What tests share: waiting for conditions, worker processes, databases, and tests that need something extra."""

from tests.support.waiting import closes, wait_until
from tests.support.workers import WorkerProcess

__all__ = ["WorkerProcess", "closes", "wait_until"]
