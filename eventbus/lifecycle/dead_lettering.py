"""Dead letters: which are sought, looked at page by page and one by one. `resolving` retries and discards them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eventbus.errors import InvalidInput, UnknownDeadLetter
from eventbus.event import Event, check_type
from eventbus.lifecycle import fingerprinting
from eventbus.lifecycle.auditing import audited
from eventbus.lifecycle.paging import check_limit, is_number
from eventbus.lifecycle.windows import resolve_window
from eventbus.storage import dead_letters, event_log, replay_selection, resolving, subscriptions
from eventbus.storage.database import Connection, Database
from eventbus.storage.dead_letters import Attempt, DeadLetter, Filter
from eventbus.subscription import check_group, check_pattern
from eventbus.wire import is_text

STATUSES = ("open", "retried", "discarded")


@dataclass(frozen=True, kw_only=True)
class Sought:
    """Which dead letters are asked for, as given: all that is given must hold."""

    #: An event type, or a pattern.
    type: str | None = None
    group: str | None = None
    #: The exception, by its full name or that of a builtin.
    error_type: str | None = None
    #: A part of its message.
    error: str | None = None
    #: Of its cause.
    fingerprint: str | None = None
    #: When it was given up: from this time on, and before.
    since: object = None
    until: object = None
    correlation_id: str | None = None
    ids: Sequence[int] | None = None
    #: None with a larger id: what an operator was shown, at another time.
    last_id: int | None = None

    def as_json(self) -> Mapping[str, Any]:
        """What is given, as JSON values."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        texts = {name: str(given[name]) for name in ("since", "until") if name in given}
        return given | texts | ({"ids": list(given["ids"])} if "ids" in given else {})


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some dead letters, newest first."""

    items: tuple[DeadLetter, ...]
    #: Pass it as ``cursor`` for the next page; None after the last one.
    next: int | None


@dataclass(frozen=True, kw_only=True)
class Details:
    """One dead letter with what it is about."""

    letter: DeadLetter
    event: Event
    #: Every failed run, in order.
    attempts: tuple[Attempt, ...]


def list_page(database: Database, sought: Sought, *, status: str | None, cursor: int | None, limit: int) -> Page:
    """Up to *limit* (1 to 1000) dead letters that are *sought*, newest first.

    Raises:
        InvalidInput: Something that was given cannot be used; a subclass says what.
        UnknownGroup: The group never subscribed.
    """
    if status is not None and status not in STATUSES:
        raise InvalidInput(f"status={status!r} must be one of {', '.join(STATUSES)}, or None for all.")
    check_limit(limit)
    if cursor is not None and not _is_id(cursor):
        raise InvalidInput(f"cursor={cursor!r:.60} is not one: pass what the page before gave as 'next'.")
    with database.autocommit() as connection:
        wanted = filter_of(connection, sought)
        found = dead_letters.list_letters(connection, wanted, status=status, before=cursor, limit=limit + 1)
    return Page(items=tuple(found[:limit]), next=found[limit - 1].id if len(found) > limit else None)


def show(database: Database, id: int) -> Details:
    """The dead letter of that id with its event and attempts.

    Raises:
        InvalidInput: The id is not a whole number.
        UnknownDeadLetter: There is none.
    """
    _check_id(id)
    with database.autocommit() as connection:
        letter = dead_letters.find_letter(connection, id)
        if letter is None:
            raise UnknownDeadLetter(id)
        event = event_log.find(connection, letter.event_id)
        assert event is not None  # nothing deletes the event that a dead letter names
        return Details(letter=letter, event=event, attempts=tuple(dead_letters.list_attempts(connection, letter)))


def write_note(database: Database, id: int, note: str) -> None:
    """Keep *note* with a dead letter, such as who looks after it.

    Raises:
        InvalidInput: The id is not a whole number, or the note is empty. Nothing was changed.
        UnknownDeadLetter: There is none of that id.
    """
    _check_id(id)
    if not is_text(note) or not note.strip():
        raise InvalidInput(f"note={note!r:.60}: write something, in Unicode.")
    with database.autocommit() as connection:
        groups = dead_letters.list_groups(connection, [id])
    given = {"id": id, "groups": groups, "note": note}
    with audited(database, "dead note", given) as change, database.autocommit() as connection:
        if not resolving.write_note(connection, id, note):
            raise UnknownDeadLetter(id)
        change.changed = 1


def filter_of(connection: Connection, sought: Sought) -> Filter:
    """What *sought* means at this moment.

    Raises:
        InvalidInput: Something that was given cannot be used; a subclass says what.
        UnknownGroup: The group never subscribed.
    """
    _check_texts(sought)
    if sought.fingerprint is not None:
        fingerprinting.check(sought.fingerprint)
    ids = None if sought.ids is None else check_ids(sought.ids)
    if sought.last_id is not None and not _is_id(sought.last_id):
        raise InvalidInput(
            f"last_id={sought.last_id!r:.60} is not the id of a dead letter: 'eventbus dead list' shows them."
        )
    if sought.group is not None:
        subscriptions.require_group(connection, check_group(sought.group))
    bounds = resolve_window(connection, sought.since, sought.until)
    return Filter(
        types=replay_selection.matching_types(connection, sought.type),
        group=sought.group,
        error_type=sought.error_type,
        error=sought.error,
        fingerprint=sought.fingerprint,
        since=bounds.since,
        until=bounds.until,
        correlation_id=sought.correlation_id,
        ids=ids,
        last_id=sought.last_id,
    )


def check_ids(ids: object) -> tuple[int, ...]:
    """*ids*, if they can be those of dead letters.

    Raises:
        InvalidInput: They cannot.
    """
    found = tuple(ids) if isinstance(ids, Iterable) else (None,)
    if not all(map(_is_id, found)):
        raise InvalidInput(f"ids={ids!r:.60} are not ids of dead letters: 'eventbus dead list' shows them.")
    return found


def _check_id(id: object) -> None:
    if not isinstance(id, int) or isinstance(id, bool):
        raise InvalidInput(f"id={id!r:.60} is not the id of a dead letter: 'eventbus dead list' shows them.")


def _check_texts(sought: Sought) -> None:
    meanings = {
        "error_type": "the name of an exception, such as 'ValueError'",
        "error": "a part of an error's message",
        "correlation_id": "a text that an event can have",
    }
    for name, meaning in meanings.items():
        value = getattr(sought, name)
        if value is not None and not is_text(value):
            raise InvalidInput(f"{name}={value!r:.60} is not {meaning}.")
    if isinstance(sought.type, str) and {"*", "#"} & set(sought.type):
        check_pattern(sought.type)
    elif sought.type is not None:
        check_type(sought.type)


def _is_id(value: object) -> bool:
    return is_number(value) and value >= 0
