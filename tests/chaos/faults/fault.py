"""What a fault is."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.stage import Stage

Strike = Callable[[Stage, random.Random], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of harm."""

    name: str
    #: Returns when the harm is healed.
    strike: Strike
    #: Faults of one place never strike at the same time: a server that is killed cannot be frozen.
    place: str


def pause(seconds: float) -> None:
    """Let the harm last."""
    threading.Event().wait(seconds)
