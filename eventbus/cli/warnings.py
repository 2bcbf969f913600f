"""Warnings: what the library logs while a command runs, on stderr with its facts, where the app has no logging of its own."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from eventbus.logs import FactsFormatter


class _Formatter(logging.Formatter):
    """Ours with their facts, and whose they are; others as Python shows them."""

    def __init__(self) -> None:
        super().__init__()
        self._ours = FactsFormatter(logging.Formatter("eventbus: %(message)s"))

    def format(self, record: logging.LogRecord) -> str:
        return self._ours.format(record) if record.name.startswith("eventbus.") else super().format(record)


@contextmanager
def shown_warnings() -> Iterator[None]:
    """Show records that no handler takes, which Python would show without their facts."""
    last = logging.lastResort
    if last is None:  # the app wants to hear of none
        yield
        return
    before = last.formatter
    last.setFormatter(_Formatter())
    try:
        yield
    finally:
        last.setFormatter(before)
