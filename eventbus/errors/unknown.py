"""Errors of a name or an id that names nothing here."""

from collections.abc import Sequence

from eventbus.errors.inputs import InvalidInput


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
        asked = "needs a version" if version is None else f"has no version {version}"
        there = "none is registered."
        if known:
            versions = ", ".join(map(str, known))
            some = f"versions {versions} are" if len(known) > 1 else f"version {versions} is"
            there = f"{some} registered here; pass version=."
        super().__init__(f"{type} {asked}: {there}")


class UnknownGroup(InvalidInput):
    """No consumer group of that name has ever subscribed; or it has no such pattern, and *known* are those that it has."""

    def __init__(self, group: str, known: Sequence[str] = (), *, pattern: str | None = None) -> None:
        self.group, self.known, self.pattern = group, tuple(known), pattern
        if pattern is not None:
            super().__init__(f"group {group!r} has not subscribed to {pattern!r}: its patterns are {', '.join(known)}.")
            return
        groups = f"known groups are {', '.join(known)}" if known else "no group has subscribed yet"
        super().__init__(
            f"group {group!r} does not exist: {groups}; start its worker or run 'eventbus -A MODULE sync'."
        )


class UnknownEvent(InvalidInput):
    """No event of the log has that id."""

    def __init__(self, id: object) -> None:
        self.id = id
        super().__init__(f"event {id} does not exist: 'eventbus events list' shows those that do.")


class UnknownDeadLetter(InvalidInput):
    """No dead letter has that id."""

    def __init__(self, id: int) -> None:
        self.id = id
        super().__init__(f"dead letter {id} does not exist: 'eventbus dead list' shows those that do.")


class UnknownFingerprint(InvalidInput):
    """No dead letter ever had that fingerprint."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        super().__init__(f"fingerprint {fingerprint} does not exist: 'eventbus dead fingerprints' shows those that do.")


class UnknownReplay(InvalidInput):
    """No replay has that id."""

    def __init__(self, id: object) -> None:
        self.id = id
        super().__init__(f"replay {id} does not exist: 'eventbus replay list' shows those that do.")
