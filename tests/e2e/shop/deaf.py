"""The shop with a worker whose consumer stops reading its queues, without an error, as soon as a file called "deaf" appears."""

import threading
from pathlib import Path
from typing import Any

from celery import signals

from tests.e2e.shop.app import app as app


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def watch(sender: Any, **_: Any) -> None:
    """Wait for the file, then keep this connection's channel from asking for messages ever again."""

    def stop_reading() -> None:
        period = threading.Event()
        while not Path("deaf").exists():
            period.wait(0.05)
        channel = sender.task_consumer.channel
        channel._brpop_start = lambda *_, **__: None
        Path("deaf now").touch()

    threading.Thread(target=stop_reading, daemon=True).start()
