"""The command line: ``eventbus``. Its help imports neither Celery nor SQLAlchemy."""

from eventbus.cli.app import main

__all__ = ["main"]
