"""Ctrl-C in long work: the first lets what is under way end, so that it is known what was done; a second does not wait."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click


@contextmanager
def interruptible(notice: str) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, saying *notice*; a second one raises KeyboardInterrupt at once."""
    stop = threading.Event()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        click.echo(f"\n{notice}", err=True)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
