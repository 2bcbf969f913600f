"""Recording: entries reach the log, once for each idempotency key.

    entries ─▶ append ─┬─ free, or without a key ─▶ recorded
                       ├─ held, same digest ──────▶ the event that holds it, read by a new statement
                       ├─ held, other digest ─────▶ IdempotencyConflict
                       └─ in use by others ───────▶ wait for them, then one of the above, or PublishBusy

A transaction in REPEATABLE READ does not see a holder that was committed after its snapshot: it is read on another connection,
for what is in the log is there, whatever a snapshot shows. One in SERIALIZABLE is told to repeat: PublishBusy.

All or nothing: no event of a call is recorded unless all are, or are held. A refusal does not end the caller's transaction.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NoReturn
from uuid import UUID

from eventbus.errors import IdempotencyConflict, PublishBusy
from eventbus.storage import bulk, event_log, publish_keys
from eventbus.storage.bulk import Refusal
from eventbus.storage.database import Connection, Database
from eventbus.storage.event_log import Entry, Recorded
from eventbus.storage.publish_keys import Wanted

#: How long to wait for another publisher that uses the same key and has not committed.
PATIENCE = timedelta(seconds=3)
_IN_USE = f"is in use by another transaction that did not end within {PATIENCE.total_seconds():g} s"


def write(
    connection: Connection, entries: Sequence[Entry], *, database: Database, after: datetime | None = None
) -> list[Recorded]:
    """Record *entries* and their deliveries.

    Args:
        connection: Written to, never committed.
        entries: At least one.
        database: Asked on a connection of its own where the transaction is too old to see who holds a key.
        after: All ids will be later than this time.

    Returns:
        The events in the order of *entries*; that of an earlier publish for a key that was used before.

    Raises:
        IdempotencyConflict: A key is held by other data; its ``index`` is the position in *entries*.
        PublishBusy: Somebody who uses a key did not end in time.
    """
    if len(entries) == 1 and entries[0].digest is None and after is None:
        return [event_log.append(connection, entries[0])]
    if all(entry.digest is None for entry in entries):
        return list(bulk.append(connection, entries, patience=PATIENCE, after=after).recorded.values())
    firsts = _firsts(entries)
    found: dict[int, Recorded] = {}
    while missing := [n for n, first in enumerate(firsts) if n == first and n not in found]:
        chosen = [entries[n] for n in missing]
        appended = bulk.append(connection, chosen, patience=PATIENCE, after=after)
        if appended.refusal is None:
            held = _read(connection, appended.holders)
        elif appended.refusal.reason == "unseen":
            held = _read_elsewhere(database, chosen, numbers=missing)
        else:
            _refuse(appended.refusal, chosen, numbers=missing)
        found |= {missing[n]: recorded for n, recorded in (appended.recorded | held).items()}
    return [found[n] if n == first else _repeat(found[first]) for n, first in enumerate(firsts)]


def find_held(connection: Connection, entries: Sequence[Entry]) -> dict[int, Recorded]:
    """The events that hold the keys of *entries*, by position.

    Raises:
        IdempotencyConflict: One is held by other data.
    """
    keyed = [n for n, entry in enumerate(entries) if entry.digest is not None]
    holders = {
        keyed[n]: held for n, held in publish_keys.find(connection, [_wanted(entries[n]) for n in keyed]).items()
    }
    for n, held in holders.items():
        if not held.is_same:
            raise _conflict(entries[n], held.event_id, n)
    return _read(connection, {n: held.event_id for n, held in holders.items()})


def _firsts(entries: Sequence[Entry]) -> list[int]:
    """For each entry the position of the first one with the same source and key, which is its own without a key."""
    first: dict[tuple[str, str], int] = {}
    firsts = []
    for n, entry in enumerate(entries):
        key = entry.key
        position = n if key is None else first.setdefault((entry.source, key), n)
        if entries[position].digest != entry.digest:
            raise _conflict(entry, None, n)
        firsts.append(position)
    return firsts


def _read(connection: Connection, holders: dict[int, UUID]) -> dict[int, Recorded]:
    """The events that hold keys, by position; one that was erased at this moment is left out."""
    if not holders:
        return {}
    events = event_log.find_events(connection, list(holders.values()))
    return {n: Recorded(event=events[id], groups=(), is_repeat=True) for n, id in holders.items() if id in events}


def _read_elsewhere(database: Database, entries: Sequence[Entry], *, numbers: Sequence[int]) -> dict[int, Recorded]:
    """The same where the transaction is too old to see them: what was committed since exists all the same."""
    with database.autocommit() as other:
        try:
            found = find_held(other, entries)
        except IdempotencyConflict as error:
            error.index = numbers[error.index or 0]
            raise
    if not found:  # the holder's time has just run out
        raise PublishBusy(_busy_message(entries, _IN_USE))
    return found


def _refuse(refusal: Refusal, entries: Sequence[Entry], *, numbers: Sequence[int]) -> NoReturn:
    if refusal.reason == "conflict":
        raise _conflict(entries[refusal.position], refusal.holder, numbers[refusal.position])
    if refusal.reason == "outdated":
        raise PublishBusy(_busy_message(entries, "was used after this SERIALIZABLE transaction began"))
    raise PublishBusy(_busy_message(entries, _IN_USE))


def _repeat(recorded: Recorded) -> Recorded:
    return Recorded(event=recorded.event, groups=(), is_repeat=True)


def _wanted(entry: Entry) -> Wanted:
    assert entry.key is not None
    assert entry.digest is not None
    return Wanted(source=entry.source, key=entry.key, digest=entry.digest)


def _conflict(entry: Entry, holder: UUID | None, position: int) -> IdempotencyConflict:
    error = IdempotencyConflict(entry.source, str(entry.key), holder)
    error.index = position
    return error


def _busy_message(entries: Sequence[Entry], reason: str) -> str:
    keys = [entry.key for entry in entries if entry.digest is not None]
    which = f"idempotency key {keys[0]!r:.60}" if len(keys) == 1 else f"one of {len(keys)} idempotency keys"
    return f"{which} {reason}; nothing was recorded: roll back, then publish again."
