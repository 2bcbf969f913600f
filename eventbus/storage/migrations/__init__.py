"""Migrations: the tables of the bus, brought to the revision of this code.

All of an upgrade happens in one transaction under one lock, so that any number of hosts may start it at once.
"""

from eventbus.storage.migrations.upgrading import upgrade

__all__ = ["upgrade"]
