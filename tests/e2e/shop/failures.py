"""Groups whose handlers fail as the event asks them to."""

import ctypes
import os
import signal
import threading
from datetime import timedelta
from typing import Any

from celery.exceptions import Ignore, Reject

from eventbus import Delivery, Event
from tests.e2e.shop.app import bus
from tests.e2e.shop.effects import note


class Refused(Exception):
    """What no retry can mend."""


class Panic(BaseException):
    """What is no ordinary exception, and means nothing to anybody else."""


class Unpicklable(Exception):
    """Cannot be made again from its arguments, and holds what no pickle can."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"unpicklable: {reason}")
        self.lock = threading.Lock()


class Unprintable(Exception):
    """Fails when it is shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Closed(Exception):
    """Nothing of it can be had."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


def fail(event: Event, delivery: Delivery) -> None:
    """Note the run, then end it as the event's ``error`` says, while the attempt is at most its ``failures``."""
    note(event, delivery)
    if delivery.attempt <= event.data.get("failures", 1000):
        raise_as(event.data["error"], f"as asked, in attempt {delivery.attempt}")


def raise_as(kind: str, message: str) -> None:
    """Raise an exception of *kind*."""
    kinds: dict[str, Any] = {
        "ValueError": ValueError(message),
        "Refused": Refused(message),
        "Unpicklable": Unpicklable(reason=message),
        "Unprintable": Unprintable(),
        "MemoryError": MemoryError(message),
        "SystemExit": SystemExit(3),
        "KeyboardInterrupt": KeyboardInterrupt(),
        "Ignore": Ignore(message),
        "Reject": Reject(message),
        "Panic": Panic(message),
        "Unformattable": SyntaxError(message, ("file", "x", "text", "y")),
        "Closed": Closed(message),
        "group": ExceptionGroup(message, [ValueError("inner")]),
        "nul": ValueError("with \x00 and \ud800"),
    }
    raise kinds[kind]


@bus.subscribe(
    "flaky.asked",
    group="flaky",
    max_retries=3,
    backoff=timedelta(milliseconds=200),
    backoff_max=timedelta(milliseconds=400),
    give_up_on=(Refused,),
)
def be_flaky(event: Event, delivery: Delivery) -> None:
    """Fail as asked; three retries soon after each other."""
    fail(event, delivery)


@bus.subscribe("strict.asked", group="strict", max_retries=0)
def be_strict(event: Event, delivery: Delivery) -> None:
    """Fail as asked; no retry."""
    fail(event, delivery)


@bus.subscribe("slow.asked", group="patient", max_retries=5, backoff=timedelta(hours=2), backoff_max=timedelta(days=1))
def be_patient(event: Event, delivery: Delivery) -> None:
    """Fail as asked; the retries are hours apart."""
    fail(event, delivery)


@bus.subscribe("hang.asked", group="hanging", max_retries=0, timeout=timedelta(milliseconds=400))
def hang(event: Event, delivery: Delivery) -> None:
    """Never return."""
    note(event, delivery)
    threading.Event().wait()


@bus.subscribe("slow.run", group="slow", max_retries=0, timeout=timedelta(minutes=1))
def take_time(event: Event, delivery: Delivery) -> None:
    """Return after a while."""
    note(event, delivery)
    threading.Event().wait(event.data["seconds"])


@bus.subscribe(
    "death.asked", group="deadly", max_retries=0, backoff=timedelta(milliseconds=10), timeout=timedelta(seconds=1)
)
def die(event: Event, delivery: Delivery) -> None:
    """Take the process along, in the way that the event names."""
    if event.data.get("way"):
        note(event, delivery)
    match event.data.get("way"):
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(7)
        case "hang":
            # Hears no alarm, and holds the interpreter's lock: none of Python's handlers of signals ever runs.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
            ctypes.PyDLL(None).pause()
