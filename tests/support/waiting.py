"""Waiting for a condition: the one way a test lets time pass."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from eventbus.lifecycle.circuit import Circuit

Answer = TypeVar("Answer")

#: Between two looks: at first as little as an answer takes, at most what nobody notices who has waited that long.
SHORTEST_SECONDS, LONGEST_SECONDS = 0.01, 0.05


def wait_until(
    condition: Callable[[], Answer], *, timeout: float = 10.0, message: str | Callable[[], str] = "condition"
) -> Answer:
    """Call *condition* until its answer is true, and return that answer.

    Args:
        timeout: In seconds.
        message: What was waited for, or a function that says what was found instead.

    Raises:
        TimeoutError: The answer was false to the last.
    """
    began = time.monotonic()
    while True:
        answer = condition()
        if answer:
            return answer
        waited = time.monotonic() - began
        if waited > timeout:
            text = message() if callable(message) else message
            raise TimeoutError(f"not within {timeout:g} s: {text} (last answer: {answer!r})")
        threading.Event().wait(min(max(waited / 10, SHORTEST_SECONDS), LONGEST_SECONDS))


def keep_clear_of_the_turn_of_the_hour(*, seconds: float = 5.0) -> None:
    """Wait for the next hour if this one ends within so many *seconds*, in which what is counted by the hour would begin anew."""
    wait_until(lambda: time.time() % 3600 < 3600 - seconds, timeout=2 * seconds, message="the next hour")


def closes(circuit: Circuit, *, timeout: float = 10.0) -> bool:
    """Wait until *circuit* is closed again.

    Raises:
        TimeoutError: It is open still.
    """
    return wait_until(lambda: not circuit.is_open, timeout=timeout, message="the server to be back")
