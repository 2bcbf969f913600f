"""Warnings: what the library logs while a command runs, on stderr with its facts, where the app has no logging of its own."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from eventbus.logs import FactsFormatter


@contextmanager
def shown_warnings() -> Iterator[None]:
    """Show records that no handler takes, which Python would show without their facts."""
    last = logging.lastResort
    if last is None:  # the app wants to hear of none
        yield
        return
    before = last.formatter
    last.setFormatter(FactsFormatter(logging.Formatter("eventbus: %(message)s")))
    try:
        yield
    finally:
        last.setFormatter(before)
