"""Errors of schemas and their versions: nothing was registered, or a stored event cannot be read."""

from collections.abc import Mapping, Sequence

from eventbus.errors.inputs import InvalidInput, InvalidSchema
from eventbus.errors.root import EventBusError


class SchemaEditedInPlace(InvalidSchema):
    """A version of a type is known with another wire form; nothing was changed."""

    def __init__(self, type: str, version: int, stored: str, candidate: str) -> None:
        self.type, self.version, self.stored, self.candidate = type, version, stored, candidate
        reason = (
            f"was edited in place: its wire form was {stored[:12]} and is {candidate[:12]} now; restore it and declare "
            f"version {version + 1}."
        )
        super().__init__(f"{type} version {version}", reason)


class SchemaNotRegistered(InvalidSchema):
    """A version is not in the registry, and EVENTBUS_SCHEMA_REGISTRATION=verify keeps a start from writing it."""

    def __init__(self, type: str, version: int) -> None:
        self.type, self.version = type, version
        super().__init__(f"{type} version {version}", "is not registered: run 'eventbus schema push' with this code.")


class SchemaRetired(InvalidSchema):
    """A version was retired, so no new version is checked against it; nothing was recorded."""

    def __init__(self, type: str, version: int, living: Sequence[int]) -> None:
        self.type, self.version, self.living = type, version, tuple(living)
        others = f"publish version {living[-1]}" if living else "register a new version"
        super().__init__(f"{type} version {version}", f"was retired and cannot be published: {others}.")


class IncompatibleSchema(InvalidInput):
    """A new version would break readers or writers, or nobody can tell; it was not registered.

    Attributes:
        assessment: Every conflict with its field, rule, direction, counterexample and groups, and what becomes of each group.
    """

    def __init__(self, type: str, version: int, text: str, assessment: object = None) -> None:
        self.type, self.version, self.assessment = type, version, assessment
        super().__init__(text)


class UpcasterConflict(InvalidInput):
    """Steps between versions are no chain: a duplicate, a gap, a cycle, or a step that is not to a neighbour."""

    def __init__(self, type: str, from_version: int, to_version: int, reason: str) -> None:
        self.type, self.from_version, self.to_version, self.reason = type, from_version, to_version, reason
        super().__init__(f"{type} {from_version} → {to_version}: {reason}.")


class InvalidUpcast(EventBusError):
    """A step between versions raised, or returned what its target version refuses."""

    def __init__(self, type: str, from_version: int, to_version: int, errors: Mapping[str, Sequence[str]]) -> None:
        self.type, self.from_version, self.to_version = type, from_version, to_version
        self.errors = {path: list(messages) for path, messages in errors.items()}
        super().__init__(f"{type} {from_version} → {to_version} gave an invalid event: {self.errors}.")


class UnreachableVersion(EventBusError):
    """No chain of steps leads from the stored version to the version that a handler reads."""

    def __init__(self, type: str, from_version: int, to_version: int, missing: tuple[int, int]) -> None:
        self.type, self.from_version, self.to_version, self.missing = type, from_version, to_version, missing
        super().__init__(
            f"{type} version {from_version} cannot become {to_version}: there is no step {missing[0]} → {missing[1]}."
        )
