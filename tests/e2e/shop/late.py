"""The shop with a worker that begins to read its queues when a file called "read" appears."""

import threading
from pathlib import Path
from typing import Any

from celery.worker.consumer.tasks import Tasks

from tests.e2e.shop.app import app as app

_begin = Tasks.start


def begin_late(step: Tasks, consumer: Any) -> None:
    """Wait for the file, then go on as Celery does."""
    period = threading.Event()
    while not Path("read").exists():
        period.wait(0.05)
    _begin(step, consumer)


Tasks.start = begin_late
