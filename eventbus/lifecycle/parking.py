"""Parking: a delivery whose event no code here can read waits, uncharged and in sight, for code that can.

unreachable version ─▶ parked ─▶ a worker starts, or looks again, that can read it ─▶ pending
"""

import logging
from dataclasses import dataclass

from eventbus.errors import UnreachableVersion
from eventbus.lifecycle.reading import Reading
from eventbus.lifecycle.registration import Known
from eventbus.storage import parking
from eventbus.storage.claiming import Claimed
from eventbus.storage.database import Database

log = logging.getLogger(__name__)

_BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class Parked:
    """The delivery waits for code that can read its event."""

    reason: str


def park(database: Database, claimed: Claimed, reason: UnreachableVersion) -> Parked | None:
    """Put *claimed* aside, whose event cannot be brought into its handler's version; None if the claim is lost."""
    with database.autocommit() as connection:
        if not parking.park(connection, claimed, reason=str(reason)):
            return None
    event = claimed.event
    extra = {"event_id": str(event.id), "type": event.type, "group": claimed.group, "reason": str(reason)}
    log.warning("delivery_parked", extra=extra)
    return Parked(reason=str(reason))


def unpark(database: Database, known: Known, reading: Reading) -> int:
    """Make due what is parked and the code of this process can read; how many deliveries.

    Called when a worker starts, and again now and then: while a deploy is rolling, a worker of the old code may park what the
    new code has just released.
    """
    released = 0
    for group, subscriptions in known.by_group.items():
        for id, subscription in subscriptions.items():
            with database.autocommit() as connection:
                versions = parking.list_parked_versions(connection, group=group, subscription=id)
            for type, version in versions:
                if reading.can_read(type, version, subscription):
                    released += _release(database, group=group, subscription=id, type=type, version=version)
    return released


def _release(database: Database, *, group: str, subscription: int, type: str, version: int) -> int:
    released = 0
    while True:
        with database.autocommit() as connection:
            batch = parking.unpark(
                connection, group=group, subscription=subscription, type=type, version=version, limit=_BATCH
            )
        released += batch
        if batch < _BATCH:
            break
    log.info("deliveries_unparked", extra={"group": group, "type": type, "version": version, "deliveries": released})
    return released
