"""Dead letters: looked at, then retried as if new, or discarded with a reason.

    open ─┬─ retry ───▶ retried     the delivery is pending again, and its group is woken
          └─ discard ─▶ discarded   the delivery is cancelled

Many are resolved in batches, each its own transaction; what dies meanwhile is left for the next time.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eventbus.broker import WakeUp
from eventbus.errors import InvalidInput, UnknownDeadLetter, UnknownGroup
from eventbus.event import Event, check_type
from eventbus.lifecycle import fingerprinting
from eventbus.lifecycle.auditing import Change, audited
from eventbus.lifecycle.waking import Waking
from eventbus.settings import Settings
from eventbus.storage import dead_letters, event_log, fingerprints, subscriptions
from eventbus.storage.database import Connection, Database
from eventbus.storage.dead_letters import Attempt, DeadLetter, Filter, Resolved
from eventbus.subscription import check_group

log = logging.getLogger(__name__)

STATUSES = ("open", "retried", "discarded")
_BATCH = 1000
_LARGEST_PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some dead letters, newest first."""

    items: tuple[DeadLetter, ...]
    #: Pass it as ``cursor`` for the next page; None after the last one.
    next: int | None


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """The open dead letters of one moment, as an operator is shown them before they are changed."""

    count: int
    #: None has a larger id.
    last_id: int


@dataclass(frozen=True, kw_only=True)
class Details:
    """One dead letter with what it is about."""

    letter: DeadLetter
    event: Event
    #: Every failed run, in order.
    attempts: tuple[Attempt, ...]


def list_page(database: Database, wanted: Filter, *, status: str | None, cursor: int | None, limit: int) -> Page:
    """Up to *limit* (1 to 1000) dead letters that are *wanted*, newest first.

    Raises:
        InvalidInput: The status or the limit cannot be used.
        UnknownGroup: The group never subscribed.
    """
    if status is not None and status not in STATUSES:
        raise InvalidInput(f"status={status!r} must be one of {', '.join(STATUSES)}, or None for all.")
    if not isinstance(limit, int) or not 1 <= limit <= _LARGEST_PAGE:
        raise InvalidInput(f"limit={limit!r:.60} must lie between 1 and {_LARGEST_PAGE}.")
    if cursor is not None and not _is_id(cursor):
        raise InvalidInput(f"cursor={cursor!r:.60} is not one: pass what the page before gave as 'next'.")
    with database.autocommit() as connection:
        _check(connection, wanted)
        found = dead_letters.list_letters(connection, wanted, status=status, before=cursor, limit=limit + 1)
    return Page(items=tuple(found[:limit]), next=found[limit - 1].id if len(found) > limit else None)


def show(database: Database, id: int) -> Details:
    """The dead letter of that id with its event and attempts.

    Raises:
        InvalidInput: The id is not a whole number.
        UnknownDeadLetter: There is none.
    """
    if not isinstance(id, int):
        raise InvalidInput(f"id={id!r:.60} is not the id of a dead letter: 'eventbus dead list' shows them.")
    with database.autocommit() as connection:
        letter = dead_letters.find_letter(connection, id)
        if letter is None:
            raise UnknownDeadLetter(id)
        event = event_log.find(connection, letter.event_id)
        assert event is not None  # nothing deletes the event that a dead letter names
        return Details(letter=letter, event=event, attempts=tuple(dead_letters.list_attempts(connection, letter)))


def freeze(database: Database, wanted: Filter) -> Frozen:
    """The open dead letters that are *wanted* now, counted.

    Raises:
        UnknownGroup, InvalidEventType: One that is wanted cannot be.
    """
    with database.autocommit() as connection:
        _check(connection, wanted)
        last = dead_letters.newest_id(connection)
        return Frozen(count=dead_letters.count_open(connection, wanted, last=last), last_id=last)


def retry(
    database: Database, wanted: Filter, *, waking: Waking, settings: Settings, frozen: Frozen | None = None
) -> int:
    """Make the deliveries of all open dead letters that are *wanted* as if new; how many there were.

    Args:
        frozen: What an operator was shown: nothing that came later is touched.

    Raises:
        UnknownGroup, InvalidEventType: Nothing was changed.
    """

    def resolve(connection: Connection, after: int, last: int) -> list[Resolved]:
        return dead_letters.retry(connection, wanted, after=after, last=last, limit=_BATCH)

    def wake(resolved: list[Resolved]) -> None:
        waking.send(
            [WakeUp(queue=settings.queue(item.group), event_id=item.event_id, type=item.type) for item in resolved]
        )

    with audited(database, "dead retry", wanted.parameters(), asked=frozen.count if frozen else None) as change:
        return _in_batches(database, wanted, resolve, wake, "dead_letter_retried", frozen=frozen, change=change)


def discard(database: Database, wanted: Filter, *, reason: str, frozen: Frozen | None = None) -> int:
    """Cancel the deliveries of all open dead letters that are *wanted*, for *reason*; how many there were.

    Raises:
        InvalidInput: The reason is empty. Nothing was changed.
        UnknownGroup, InvalidEventType: Nothing was changed.
    """
    if not isinstance(reason, str) or not reason.strip() or "\x00" in reason:
        raise InvalidInput(f"reason={reason!r:.60}: say why these dead letters are discarded; it is kept with them.")

    def resolve(connection: Connection, after: int, last: int) -> list[Resolved]:
        return dead_letters.discard(connection, wanted, reason=reason, after=after, last=last, limit=_BATCH)

    given = {**wanted.parameters(), "reason": reason}
    with audited(database, "dead discard", given, asked=frozen.count if frozen else None) as change:
        count = _in_batches(
            database, wanted, resolve, lambda _: None, "dead_letter_discarded", frozen=frozen, change=change
        )
    fingerprinting.settle(database)
    return count


def restore(database: Database, ids: Sequence[int]) -> int:
    """Open discarded dead letters again, as if they had not been discarded; how many there were.

    Raises:
        InvalidInput: An id is not one. Nothing was changed.
    """
    with database.autocommit() as connection:
        _check(connection, Filter(ids=tuple(ids)))
    with audited(database, "dead restore", {"ids": list(ids)}, asked=len(set(ids))) as change:
        with database.transaction() as connection:
            restored = dead_letters.restore(connection, ids)
            fingerprints.reopen(connection, [item.id for item in restored])
        change.changed = len(restored)
    for item in restored:
        log.info("dead_letter_restored", extra={"dead_letter": item.id, "event_id": str(item.event_id)})
    return len(restored)


def write_note(database: Database, id: int, note: str) -> None:
    """Keep *note* with a dead letter, such as who looks after it.

    Raises:
        InvalidInput: The note is empty. Nothing was changed.
        UnknownDeadLetter: There is none of that id.
    """
    if not isinstance(note, str) or not note.strip() or "\x00" in note:
        raise InvalidInput(f"note={note!r:.60}: write something.")
    with audited(database, "dead note", {"id": id, "note": note}) as change, database.autocommit() as connection:
        if not dead_letters.write_note(connection, id, note):
            raise UnknownDeadLetter(id)
        change.changed = 1


def _in_batches(
    database: Database,
    wanted: Filter,
    resolve: Callable[[Connection, int, int], list[Resolved]],
    then: Callable[[list[Resolved]], None],
    message: str,
    *,
    frozen: Frozen | None,
    change: Change,
) -> int:
    """All batches; *change* is told of each, so that the audit is right if they are cut short."""
    check_group(wanted.group)
    last = (frozen or freeze(database, wanted)).last_id
    after, change.changed = 0, 0
    while True:
        with database.transaction() as connection:
            resolved = resolve(connection, after, last)
        if not resolved:
            return change.changed
        change.changed += len(resolved)
        for item in resolved:
            log.info(message, extra={"dead_letter": item.id, "event_id": str(item.event_id), "group": item.group})
        then(resolved)
        after = resolved[-1].id


def _check(connection: Connection, wanted: Filter) -> None:
    if wanted.type is not None:
        check_type(wanted.type)
    if wanted.error_type is not None and (not isinstance(wanted.error_type, str) or "\x00" in wanted.error_type):
        raise InvalidInput(
            f"error_type={wanted.error_type!r:.60} is not the name of an exception, such as 'ValueError'."
        )
    if wanted.fingerprint is not None:
        fingerprinting.check(wanted.fingerprint)
    if wanted.ids is not None and not all(map(_is_id, wanted.ids)):
        raise InvalidInput(f"ids={wanted.ids!r:.60} are not ids of dead letters: 'eventbus dead list' shows them.")
    if wanted.group is not None and check_group(wanted.group) not in (known := subscriptions.list_groups(connection)):
        raise UnknownGroup(wanted.group, known)


def _is_id(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 63
