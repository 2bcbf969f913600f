"""The errors that eventbus raises, one tree.

    EventBusError
    ├── ConfigurationError             a setting is missing or wrong
    │   ├── MissingSetting
    │   ├── InvalidSetting
    │   └── BinaryNotFound             an embedded server has no program to run
    ├── InvalidInput (ValueError)      what the caller gave cannot be used; nothing was recorded
    │   ├── InvalidEventType
    │   ├── InvalidPattern
    │   ├── InvalidGroup
    │   ├── InvalidTime                a time without offset, or not a time
    │   ├── InvalidEvent               the data does not fit its schema, or is not JSON
    │   │   └── EventTooLarge
    │   ├── InvalidSchema              a schema class that cannot describe events
    │   ├── InvalidSubscription
    │   │   └── SubscriptionConflict   two handlers of one group could claim the same event
    │   ├── UnknownEventType           EVENTBUS_STRICT_TYPES=1 and no schema is registered
    │   ├── UnknownEventVersion
    │   ├── UnknownGroup
    │   ├── UnknownDeadLetter
    │   ├── UnknownReplay
    │   └── IdempotencyConflict        a key was used before, with other data
    ├── DatabaseError                  PostgreSQL answered, but not as it should
    │   ├── DatabaseUnreachable
    │   ├── WrongDatabase              not PostgreSQL, or too old a server
    │   ├── NotMigrated                our tables are missing, or of another revision
    │   ├── DatabaseBusy               a lock or statement time limit ran out; try again
    │   │   └── PublishBusy            another publisher is using the same idempotency key
    │   └── PublishUncertain           the connection was lost while the event was committed
    ├── BrokerUnreachable
    ├── ReplayStopped                  cancelled, or resumed elsewhere, before its end
    └── HandlerError                   a handler ended without an exception that Celery could carry
        ├── HandlerTimeout
        └── HandlerDied

Those about versions of schemas are in `eventbus.schemas.refusal`.

Every message is one sentence for the reader who must act: what, where, what to do. Facts are attributes.
"""

from collections.abc import Mapping, Sequence

from eventbus.wording import readable, shown


class EventBusError(Exception):
    """Root of the tree: catch it to catch all that eventbus raises on purpose."""

    index: int | None = None  #: Of publish_many: which item it is about, from 0.
    recorded: Sequence[object] = ()  #: Of publish_many: the events of the batches before.


class ConfigurationError(EventBusError):
    """A setting is missing or cannot be used."""


class MissingSetting(ConfigurationError):
    """A setting that has no default was not given."""

    def __init__(self, name: str, meaning: str) -> None:
        self.name = name
        super().__init__(f"{name} is not set: it names {meaning}; set it in the environment or pass it to EventBus().")


class InvalidSetting(ConfigurationError):
    """A setting has a value that cannot be used."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        self.name, self.value = name, value
        super().__init__(f"{name} is {value!r}, but must be {expected}.")


class BinaryNotFound(ConfigurationError):
    """No program for an embedded server was found in any of the places that are looked at."""


class InvalidInput(EventBusError, ValueError):
    """What the caller gave cannot be used; nothing was recorded."""


class InvalidEventType(InvalidInput):
    """An event type is not 1 to 8 dot-separated words."""

    def __init__(self, value: object) -> None:
        self.value = value
        super().__init__(
            f"{shown(value)} is not an event type: use 1 to 8 words of letters, digits, '_' or '-', separated by dots, "
            "at most 200 characters, such as 'order.created'."
        )


class InvalidPattern(InvalidInput):
    """A subscription pattern is malformed."""

    def __init__(self, value: object, reason: str) -> None:
        self.value, self.reason = value, reason
        super().__init__(
            f"{shown(value)} is not a pattern: {reason}; use words, '*' for one word and '#' at the end for any number, "
            "such as 'order.created', 'order.*' or 'order.#'."
        )


class InvalidGroup(InvalidInput):
    """A consumer group's name is malformed."""

    def __init__(self, value: object) -> None:
        self.value = value
        super().__init__(
            f"{shown(value)} is not a group name: start with a lower-case letter or digit, then at most 62 more of "
            "lower-case letters, digits, '_' and '-', such as 'inventory'."
        )


class InvalidTime(InvalidInput):
    """A point in time is naive, or no time at all."""

    def __init__(self, name: str, value: object, reason: str) -> None:
        self.name, self.value = name, value
        super().__init__(
            f"{name}={shown(value)} {reason}: give a time with its offset, such as 2026-05-01T12:00:00+00:00, or '2h ago'."
        )


class InvalidEvent(InvalidInput):
    """An event's data does not fit its schema, or cannot be stored as JSON; nothing was recorded.

    Attributes:
        type: The event's type.
        errors: For each field that is wrong, by its path in the data, what is wrong with it.
    """

    def __init__(self, type: str, errors: Mapping[str, Sequence[str]]) -> None:
        self.type = type
        self.errors = {path: list(messages) for path, messages in errors.items()}
        listed = " ".join(f"{readable(path)}: {' '.join(messages)}" for path, messages in self.errors.items())
        super().__init__(f"{type} was refused: {listed}")


class EventTooLarge(InvalidEvent):
    """An event's data is larger than EVENTBUS_MAX_EVENT_BYTES; nothing was recorded."""

    def __init__(self, type: str, size_bytes: int, limit_bytes: int) -> None:
        self.size_bytes, self.limit_bytes = size_bytes, limit_bytes
        reason = (
            f"{size_bytes:,} bytes of JSON, more than the {limit_bytes:,} that EVENTBUS_MAX_EVENT_BYTES allows; "
            "publish a reference to the large part instead."
        )
        super().__init__(type, {"data": [reason]})


class InvalidSchema(InvalidInput):
    """A class cannot be registered as the schema of an event; ``path`` names the field or the event type."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path or 'schema'}: {reason}")


class InvalidSubscription(InvalidInput):
    """A subscription's handler or policy cannot be used."""


class SubscriptionConflict(InvalidSubscription):
    """Two handlers of one group could claim the same event; ``declared`` and ``existing`` are (pattern, handler)."""

    def __init__(self, group: str, declared: tuple[str, str], existing: tuple[str, str], way_out: str) -> None:
        self.group, self.declared, self.existing = group, declared, existing
        super().__init__(
            f"group {group!r}: {declared[1]} for {declared[0]!r} and {existing[1]} for {existing[0]!r} could both claim "
            f"one event; {way_out}."
        )


class UnknownEventType(InvalidInput):
    """No schema is registered for a type, and EVENTBUS_STRICT_TYPES=1 asks for one; nothing was recorded."""

    def __init__(self, type: str) -> None:
        self.type = type
        super().__init__(
            f"{type} has no registered schema and EVENTBUS_STRICT_TYPES=1 accepts no event without one: declare it with "
            f'@bus.event("{type}", version=1).'
        )


class UnknownEventVersion(InvalidInput):
    """A type has schemas, but none of the version asked for, or several and none was asked for."""

    def __init__(self, type: str, version: int | None, known: Sequence[int]) -> None:
        self.type, self.version, self.known = type, version, tuple(known)
        versions = ", ".join(map(str, known))
        asked = "needs a version" if version is None else f"has no version {version}"
        super().__init__(f"{type} {asked}: versions {versions} are registered here; pass version=.")


class UnknownGroup(InvalidInput):
    """No consumer group of that name has ever subscribed."""

    def __init__(self, group: str, known: Sequence[str] = ()) -> None:
        self.group, self.known = group, tuple(known)
        groups = f"known groups are {', '.join(known)}" if known else "no group has subscribed yet"
        super().__init__(f"group {group!r} does not exist: {groups}; start its worker or run 'eventbus sync'.")


class UnknownDeadLetter(InvalidInput):
    """No dead letter has that id."""

    def __init__(self, id: int) -> None:
        self.id = id
        super().__init__(f"dead letter {id} does not exist: 'eventbus dead list' shows those that do.")


class UnknownReplay(InvalidInput):
    """No replay has that id."""

    def __init__(self, id: object) -> None:
        self.id = id
        super().__init__(f"replay {id} does not exist: 'eventbus replay list' shows those that do.")


class IdempotencyConflict(InvalidInput):
    """A key was used before, with other data: by ``event_id``, or, if None, by an earlier item of the same batch."""

    def __init__(self, source: str, key: str, event_id: object) -> None:
        self.source, self.key, self.event_id = source, key, event_id
        first = f"event {event_id}" if event_id else "an earlier item of the same batch"
        what = f"idempotency key {shown(key)} of source {shown(source)}"
        super().__init__(f"{what} belongs to {first}, with other data: give a new fact a new key.")


class DatabaseError(EventBusError):
    """PostgreSQL could not do what was asked."""


class DatabaseUnreachable(DatabaseError):
    """No connection to PostgreSQL could be made, or it was lost; nothing was recorded."""


class WrongDatabase(DatabaseError):
    """The server is not a PostgreSQL that eventbus runs on."""


class NotMigrated(DatabaseError):
    """The database lacks our tables, or has them in another revision than this code; ``found`` is None without them."""

    def __init__(self, found: str | None, expected: str, where: str) -> None:
        self.found, self.expected = found, expected
        if found is None:
            text = f"{where} has no eventbus tables (revision {expected} is needed): run 'eventbus migrate'"
        elif found < expected:
            text = f"{where} is at revision {found}, older than {expected} of this code: run 'eventbus migrate'"
        else:
            text = (
                f"{where} is at revision {found}, newer than {expected} of this code: upgrade eventbus in this service"
            )
        super().__init__(text + ".")


class DatabaseBusy(DatabaseError):
    """A lock or a statement took longer than its limit; nothing was recorded, and a repeat may succeed."""


class PublishBusy(DatabaseBusy):
    """Somebody else uses the idempotency key at this moment; nothing was recorded: roll back, then repeat."""


class PublishUncertain(DatabaseError):
    """The connection was lost during the commit, and nobody could be asked; unless ``idempotency_key`` is None, repeat it."""

    def __init__(self, type: str, idempotency_key: str | None) -> None:
        self.type, self.idempotency_key = type, idempotency_key
        repeat = f"repeat it with idempotency_key={idempotency_key!r}"
        if not idempotency_key:
            repeat = "only a publish with an idempotency_key can be repeated without a risk of recording it twice"
        super().__init__(f"the connection was lost while {type} was committed; it may be recorded or not: {repeat}.")


class BrokerUnreachable(EventBusError):
    """The broker could not be reached; deliveries are safe in PostgreSQL and follow when it is back."""


class ReplayStopped(EventBusError):
    """A replay was cancelled, or resumed by another process; the batches before that stand."""

    def __init__(self, id: object, state: str, seen: int, total: int) -> None:
        self.id, self.state, self.seen, self.total = id, state, seen, total
        by = "goes on in another process" if state == "running" else f"is {state}"
        super().__init__(f"replay {id} {by}: it had come to {seen:,} of {total:,} deliveries.")


class HandlerError(EventBusError):
    """A handler ended in a way that is no ordinary exception; the run counts as a failed attempt."""


class HandlerTimeout(HandlerError):
    """A handler ran longer than its subscription's timeout."""


class HandlerDied(HandlerError):
    """The process of a handler died while it ran."""
