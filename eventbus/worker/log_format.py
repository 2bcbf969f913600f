"""Log lines of a worker: with the facts that our records carry."""

import logging
from typing import Any

from celery import signals

from eventbus.logs import FactsFormatter


def show_facts() -> None:
    """Let every worker of this process show the facts of our log records."""
    signals.after_setup_logger.connect(_wrap_formatters, weak=False)


def _wrap_formatters(logger: logging.Logger, **_: Any) -> None:
    for handler in logger.handlers:
        if handler.formatter is not None and not isinstance(handler.formatter, FactsFormatter):
            handler.setFormatter(FactsFormatter(handler.formatter))
