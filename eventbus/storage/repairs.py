"""Repairs: how many wake-ups relays had to send, for each group. Many of them say that messages are lost, or workers too few."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from eventbus.storage.database import Connection
from eventbus.storage.values import as_utc

# In the order of the groups, so that no two relays wait for each other.
NOTE = """
INSERT INTO eventbus.repair AS known (group_name, wake_ups, hour, in_hour)
SELECT group_name, wake_ups, date_trunc('hour', clock_timestamp(), 'UTC'), wake_ups
FROM unnest(CAST(:groups AS text[]), CAST(:wake_ups AS bigint[])) AS sent (group_name, wake_ups) ORDER BY group_name
ON CONFLICT (group_name) DO UPDATE SET
    wake_ups = known.wake_ups + EXCLUDED.wake_ups, hour = EXCLUDED.hour, last_at = EXCLUDED.last_at,
    in_hour = EXCLUDED.in_hour + CASE WHEN known.hour = EXCLUDED.hour THEN known.in_hour ELSE 0 END
"""
LIST = """
SELECT group_name, wake_ups, last_at,
       CASE WHEN hour = date_trunc('hour', clock_timestamp(), 'UTC') THEN in_hour ELSE 0 END AS in_hour
FROM eventbus.repair ORDER BY group_name
"""


@dataclass(frozen=True, kw_only=True)
class Repairs:
    """What relays had to send for a group."""

    wake_ups: int
    #: In the hour that is running.
    in_hour: int
    last_at: datetime


def note(connection: Connection, sent: Mapping[str, int]) -> None:
    """Add the wake-ups that were sent for each group."""
    connection.change(NOTE, groups=list(sent), wake_ups=list(sent.values()))


def read(connection: Connection) -> dict[str, Repairs]:
    """What was sent so far, by group."""
    return {
        row.group_name: Repairs(wake_ups=row.wake_ups, in_hour=row.in_hour, last_at=as_utc(row.last_at))
        for row in connection.rows(LIST)
    }
