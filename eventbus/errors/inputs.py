"""Errors of what the caller gave: an event, a name, a time. Nothing was recorded."""

from collections.abc import Mapping, Sequence

from eventbus.errors.root import EventBusError
from eventbus.wording import readable, shown


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
    """A time is none, has no offset or is out of range, or ``since`` is not before ``until``."""

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
    """An event's data, or its data and headers, are larger than EVENTBUS_MAX_EVENT_BYTES; nothing was recorded."""

    def __init__(self, type: str, size_bytes: int, limit_bytes: int, *, with_headers: bool = False) -> None:
        self.size_bytes, self.limit_bytes = size_bytes, limit_bytes
        what = "bytes of JSON with the data" if with_headers else "bytes of JSON"
        reason = (
            f"{size_bytes:,} {what}, more than the {limit_bytes:,} that EVENTBUS_MAX_EVENT_BYTES allows; "
            "publish a reference to the large part instead."
        )
        super().__init__(type, {"headers" if with_headers else "data": [reason]})


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


class IdempotencyConflict(InvalidInput):
    """A key was used before, with other data: by ``event_id``, or, if None, by an earlier item of the same batch."""

    def __init__(self, source: str, key: str, event_id: object) -> None:
        self.source, self.key, self.event_id = source, key, event_id
        first = f"event {event_id}" if event_id else "an earlier item of the same batch"
        what = f"idempotency key {shown(key)} of source {shown(source)}"
        super().__init__(f"{what} belongs to {first}, with other data: give a new fact a new key.")


class TrialNotPassed(InvalidInput):
    """Of the dead letters that were retried first, some failed again or are not done yet; the others were not touched."""

    def __init__(self, *, waiting: int, failed: int) -> None:
        self.waiting, self.failed = waiting, failed
        what = f"{failed} failed again" if failed else f"{waiting} are not done yet"
        advice = "mend their cause, then try again" if failed else "wait for them"
        super().__init__(f"of the dead letters that were retried first, {what}: {advice}; the others are as they were.")
