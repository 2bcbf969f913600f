"""Browsing: what an operator asks to see, checked and fixed before the log is read."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from eventbus.delivery import State
from eventbus.errors import InvalidInput, UnknownEvent, UnknownGroup
from eventbus.event import Event
from eventbus.ids import check_id
from eventbus.lifecycle.paging import check_limit, is_number
from eventbus.lifecycle.windows import resolve_window
from eventbus.storage import audit, event_log, replay_selection, subscriptions, workers
from eventbus.storage.database import Connection, Database
from eventbus.storage.overview import groups as group_views
from eventbus.storage.overview.events import EventPage, Wanted, list_events
from eventbus.storage.overview.failings import Failing, NewestLetter, read_failings, read_letters
from eventbus.storage.overview.groups import GroupState, Wish
from eventbus.storage.overview.stories import Standing, Story, read_standings, read_story
from eventbus.storage.workers import Seen
from eventbus.subscription import check_group, check_pattern
from eventbus.wire import is_text

#: A story is shown up to so many events.
LONGEST_STORY = 1000
_PATH_WORD = re.compile(r"[^.{}\x00]{1,200}")
_MOST_FIELDS = 8


@dataclass(frozen=True, kw_only=True)
class Sought:
    """Which events are asked for, as given: all that is given must hold."""

    pattern: str | None = None
    since: object = None
    until: object = None
    correlation_id: str | None = None
    #: A group that has a delivery of the event.
    group: str | None = None
    #: The state of such a delivery.
    state: str | None = None
    #: A part of such a delivery's last error.
    error: str | None = None
    #: Values of the data by their dotted path, as ``{"customer.id": "42"}``.
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SoughtChanges:
    """Which changes of operators are asked for, as given: all that is given must hold."""

    #: user@host, or whom a program named.
    who: str | None = None
    #: As ``dead retry``; ``dead`` asks for all of dead letters.
    action: str | None = None
    #: The group that was changed.
    group: str | None = None
    #: ``done``, ``began``, ``interrupted``, ``cancelled``, or ``failed``.
    result: str | None = None
    since: object = None
    until: object = None


@dataclass(frozen=True, kw_only=True)
class EventDetails:
    """One event, and how each group stands with it."""

    event: Event
    standings: tuple[Standing, ...]
    #: The newest failed runs of all groups, newest first.
    failings: tuple[Failing, ...]
    #: The newest dead letter of each group that gave it up, by group.
    letters: tuple[NewestLetter, ...]


@dataclass(frozen=True, kw_only=True)
class GroupDetails:
    """One group: what it wants, what it has to do, and who does it."""

    group: GroupState
    #: Living subscriptions.
    wishes: tuple[Wish, ...]
    #: Open deliveries by state.
    open: Mapping[str, int]
    workers: tuple[Seen, ...]


def find_events(
    database: Database, sought: Sought, *, cursor: UUID | None, limit: int, most_read: int | None = None
) -> EventPage:
    """Up to *limit* (1 to 1000) events that are *sought*, newest first.

    Raises:
        InvalidInput: Something that was given cannot be used; a subclass says what.
        UnknownGroup: The group never subscribed.
    """
    check_limit(limit)
    if most_read is not None and not (is_number(most_read) and most_read > 0):
        raise InvalidInput(f"most_read={most_read!r:.60} must be a number of events, from 1.")
    before = None if cursor is None else check_id("cursor", cursor)
    data = _checked(sought)
    with database.autocommit() as connection:
        return list_events(
            connection, _wanted(connection, sought, data), before=before, limit=limit, most_read=most_read
        )


def show_event(database: Database, id: UUID) -> EventDetails:
    """The event of that id, its deliveries and what failed of them.

    Raises:
        InvalidInput: It is no id.
        UnknownEvent: There is none.
    """
    id = check_id("id", id)
    with database.autocommit() as connection:
        event = event_log.find(connection, id)
        if event is None:
            raise UnknownEvent(id)
        return EventDetails(
            event=event,
            standings=tuple(read_standings(connection, [id])),
            failings=tuple(read_failings(connection, id)),
            letters=tuple(read_letters(connection, id)),
        )


def show_standings(database: Database, ids: Sequence[UUID]) -> list[Standing]:
    """How all groups stand with these events, in order of event and group.

    Raises:
        InvalidInput: One of them is no id.
    """
    events = [check_id("ids", id) for id in ids]
    with database.autocommit() as connection:
        return read_standings(connection, events)


def show_group(database: Database, name: str, *, open: Mapping[str, int] | None = None) -> GroupDetails:
    """The group of that name.

    Args:
        open: Its open deliveries by state, if somebody has counted them already.

    Raises:
        UnknownGroup: It never subscribed.
    """
    check_group(name)
    with database.autocommit() as connection:
        found = group_views.read_groups(connection, name)
        if not found:
            raise UnknownGroup(name, subscriptions.list_groups(connection))
        wishes = group_views.read_wishes(connection, name)
        return GroupDetails(
            group=found[0],
            wishes=tuple(wish for wish in wishes if wish.removed_at is None),
            open=group_views.count_open(connection, name) if open is None else open,
            workers=tuple(worker for worker in workers.list_live(connection) if name in worker.groups),
        )


def tell_story(database: Database, correlation_id: str) -> Story:
    """The events of *correlation_id* and their deliveries; at most `LONGEST_STORY`.

    Raises:
        InvalidInput: It cannot be a correlation id.
    """
    _check_text("correlation_id", correlation_id)
    with database.autocommit() as connection:
        return read_story(connection, correlation_id, limit=LONGEST_STORY)


def list_changes(database: Database, sought: SoughtChanges, *, before: int | None, limit: int) -> list[audit.Entry]:
    """Up to *limit* (1 to 1000) changes of operators that are *sought*, with ids below *before*, newest first.

    Raises:
        InvalidInput: The limit, *before*, a text or a time cannot be used.
    """
    check_limit(limit)
    if before is not None and not is_number(before):
        raise InvalidInput(f"cursor={before!r:.60} is not one: pass the id of the last change of the page before.")
    for name in ("who", "action", "group", "result"):
        _check_text(name, getattr(sought, name))
    with database.autocommit() as connection:
        window = resolve_window(connection, sought.since, sought.until)
        wanted = audit.Wanted(
            who=sought.who,
            action=sought.action,
            group=sought.group,
            result=sought.result,
            since=window.since,
            until=window.until,
        )
        return audit.list_newest(connection, wanted, before=before, limit=limit)


def check_fields(data: object) -> None:
    """Make sure that *data* names fields of events by their path, and their values as text.

    Raises:
        InvalidInput: It does not.
    """
    if not isinstance(data, Mapping) or not all(isinstance(text, str) for pair in data.items() for text in pair):
        raise InvalidInput(f"data={data!r:.60} names no fields: give texts by dotted path, as {{'customer.id': '42'}}.")


def _checked(sought: Sought) -> dict[tuple[str, ...], str]:
    """The fields of the data that are asked for, after making sure that all of *sought* can be used."""
    if sought.pattern is not None:
        check_pattern(sought.pattern)
    if sought.group is not None:
        check_group(sought.group)
    if sought.state is not None and sought.state not in list(State):
        raise InvalidInput(f"state={sought.state!r:.60} must be one of {', '.join(State)}.")
    for name in ("correlation_id", "error"):
        _check_text(name, getattr(sought, name))
    is_type = sought.pattern is not None and not {"*", "#"} & set(sought.pattern)
    if sought.data and not (is_type and sought.since is not None):
        raise InvalidInput("no index knows the fields of events: to look for one, give a type and since.")
    if len(sought.data) > _MOST_FIELDS:
        raise InvalidInput(f"give at most {_MOST_FIELDS} fields of the data.")
    for path, value in sought.data.items():
        _check_text(f"data.{path!s:.60}", value)
    return {_path(path): value for path, value in sought.data.items()}


def _path(text: str) -> tuple[str, ...]:
    words = text.split(".")
    if not is_text(text) or not all(_PATH_WORD.fullmatch(word) for word in words):
        raise InvalidInput(f"data.{text!s:.60} is no path: name fields as in data.customer.id=42.")
    return tuple(words)


def _check_text(name: str, value: object) -> None:
    if value is not None and not is_text(value):
        raise InvalidInput(f"{name}={value!r:.60} is not a text that an event can have.")


def _wanted(connection: Connection, sought: Sought, data: Mapping[tuple[str, ...], str]) -> Wanted:
    if sought.group is not None:
        subscriptions.require_group(connection, sought.group)
    bounds = resolve_window(connection, sought.since, sought.until)
    return Wanted(
        bounds=bounds,
        types=replay_selection.matching_types(connection, sought.pattern),
        correlation_id=sought.correlation_id,
        group=sought.group,
        state=sought.state,
        error=sought.error,
        data=data,
    )
