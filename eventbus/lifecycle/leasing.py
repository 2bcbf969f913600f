"""Leasing: what living processes hold stays theirs, for as long as they live.

Leases are renewed for exactly the (delivery, claim) pairs in the slots, never for "all that this worker has": a row that was
settled, given back or taken over is not renewed by anybody who still thinks of it.
"""

from collections.abc import Iterable
from datetime import timedelta

from eventbus.lifecycle.slots import Account, Status
from eventbus.storage import backends, settling
from eventbus.storage.database import Database

#: What is to be given back is nobody's any more: if that fails, the lease brings it back.
_HELD = (Status.CLAIMED, Status.STARTED, Status.RETURNED, Status.FAILED, Status.FOUND_DEAD)


def renew_leases(database: Database, accounts: Iterable[Account], *, lease: timedelta) -> int:
    """Renew the leases of what the living processes of *accounts* hold; how many there were.

    Raises:
        DatabaseError: None was renewed; a statement that hangs, or a server that is silent, is given up before the lease is in
            danger.
    """
    held = [(account, ids) for account in accounts if (ids := account.ids(*_HELD))]
    if not held:
        return 0
    # What the server itself does not end, for it is frozen or its network is, is cut a little later.
    with database.transaction(within=lease / 3) as connection:
        backends.limit_statements(connection, lease / 4)
        return sum(
            settling.renew(connection, ids, group=account.group, claim=account.claim, lease=lease)
            for account, ids in held
        )
