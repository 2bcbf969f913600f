"""Partitions: the log and the deliveries have a table for each week, made ahead of it."""

from eventbus.storage.database import Connection

# Whoever finds another at it has nothing to do.
ENSURE = """
SELECT eventbus.ensure_partitions() WHERE pg_try_advisory_xact_lock(hashtext('eventbus.ensure_partitions'))
"""


def ensure(connection: Connection) -> int:
    """Make the partitions of the next weeks that do not exist yet; how many were made."""
    return int(connection.value(ENSURE) or 0)
