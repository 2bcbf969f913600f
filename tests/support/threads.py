"""Threads: something runs beside a test, and what came of it is known."""

import threading
from collections.abc import Callable
from typing import Any


def in_thread(act: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run *act* in a thread; what it returned or raised is in the list."""
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.append(act())
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, ended
