"""The log lines of a worker, whose format its app chooses."""

import io
import logging

import pytest
from celery import signals

from eventbus.worker.log_format import show_facts


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """A logger with two handlers: of a format of its own, and of none."""
    made = logging.getLogger("eventbus.tests.log_format")
    monkeypatch.setattr(made, "handlers", [])
    formatted = logging.StreamHandler(io.StringIO())
    formatted.setFormatter(logging.Formatter("-- %(message)s"))
    made.addHandler(formatted)
    made.addHandler(logging.StreamHandler(io.StringIO()))
    return made


def test_facts_are_shown_once_in_the_format_of_the_app(logger: logging.Logger) -> None:
    """However many buses an app has, and however often Celery sets up its logs; a handler without a format keeps to that."""
    for _ in range(2):
        show_facts()
        signals.after_setup_logger.send(sender=None, logger=logger)

    logger.warning("duty_waits", extra={"duty": "relay"})

    lines = [handler.stream.getvalue() for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]
    assert lines == ["-- duty_waits duty=relay\n", "duty_waits\n"]
