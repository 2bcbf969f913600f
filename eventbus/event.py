"""Events: what a publisher states (a `Draft`) and what the log holds (an `Event`).

An event never changes after it is recorded; its id orders it in time by the database's clock.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from eventbus.errors import InvalidEvent, InvalidEventType, InvalidInput
from eventbus.wire import NotJson, encode, encode_and_decode

MAX_WORDS = 8
MAX_TYPE_LENGTH = 200
_TYPE = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){0,7}")
_MAX_NAME_LENGTH = 200


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A fact that is to be published."""

    type: str
    data: Any
    #: The publishing service.
    source: str
    #: Of the type's schema; the only or newest registered one by default.
    version: int | None = None
    #: Ties together what belongs to one story; inherited inside a handler, else generated.
    correlation_id: str | None = None
    #: Free key-value pairs beside the data.
    headers: Mapping[str, str] | None = None
    #: Of drafts with the same source and key, the first of 7 days is recorded, and the others return it.
    idempotency_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """A fact in the log."""

    #: uuid v7, from the database's clock.
    id: UUID
    type: str
    version: int
    source: str
    #: The wire form: JSON values only.
    data: Any
    #: ``correlation_id``, ``causation_id`` (the event whose handler published this one, or None), ``timestamp`` (ISO 8601, UTC)
    #: and ``headers``; ``traceparent`` and ``tracestate``, if its publish was traced.
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: When it was recorded: aware, UTC, the database's clock.
    created_at: datetime
    #: What `load` calls; set by the bus that hands the event out.
    loader: "Loader | None" = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, **fields: Any) -> "Event":
        """The event of all these *fields*; takes a third of the time of the constructor, which sets them one by one."""
        event = object.__new__(cls)
        event.__dict__.update(fields)
        return event

    def load(self) -> Any:
        """What the schema of this event loads: its Python values instead of the wire form; ``data`` itself without a class.

        In a handler, the schema of its ``reads`` if that is a class, else the one of the event's version.

        Raises:
            DataRefused: The data does not fit that schema.
        """
        return self.data if self.loader is None else self.loader(self)

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: without what only this process can call."""
        return {**self.__dict__, "loader": None}

    def __copy__(self) -> "Event":
        """Itself, for it never changes: what pickle leaves out, a copy within this process keeps."""
        return self

    def loaded_by(self, loader: "Loader") -> "Event":
        """The same event with another `load`; takes a sixth of the time of `dataclasses.replace`."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, loader=loader)
        return other

    @property
    def correlation_id(self) -> str:
        return str(self.metadata["correlation_id"])

    @property
    def causation_id(self) -> UUID | None:
        cause = self.metadata.get("causation_id")
        with suppress(ValueError):  # redacted
            return UUID(cause) if cause else None
        return None

    @property
    def timestamp(self) -> datetime:
        """The same as ``created_at``."""
        return self.created_at

    @property
    def headers(self) -> Mapping[str, str]:
        found = self.metadata.get("headers")
        return found if isinstance(found, Mapping) else {}  # redacted

    def as_json(self) -> dict[str, Any]:
        """The event as JSON values, under the names of its fields."""
        return {
            "id": str(self.id),
            "type": self.type,
            "version": self.version,
            "source": self.source,
            "data": self.data,
            "metadata": dict(self.metadata),
            "created_at": self.created_at.isoformat(),
        }


#: What `Event.load` calls.
Loader = Callable[[Event], Any]


def check_type(value: object) -> str:
    """*value*, if it is an event type: 1 to 8 dot-separated words, at most 200 characters.

    Raises:
        InvalidEventType: It is not.
    """
    if not isinstance(value, str) or len(value) > MAX_TYPE_LENGTH or not _TYPE.fullmatch(value):
        raise InvalidEventType(value)
    return value


def check_draft(draft: Draft) -> None:
    """Refuse a draft whose envelope is malformed; its data is not looked at.

    Raises:
        InvalidEventType: The type is malformed.
        InvalidInput: Source, version, correlation id, headers or idempotency key cannot be used.
    """
    check_type(draft.type)
    _check_name("source", draft.source, "the publishing service, such as 'orders'")
    if draft.version is not None and not _is_version(draft.version):
        raise InvalidInput(f"version={draft.version!r} of {draft.type}: give a whole number from 1, or leave it out.")
    if draft.correlation_id is not None:
        _check_name("correlation_id", draft.correlation_id, "what ties events of one story together")
    if draft.headers is not None:
        _check_headers(draft.headers)
    if draft.idempotency_key is not None:
        _check_name(
            "idempotency_key", draft.idempotency_key, "this one fact of its source, such as 'order-4711-created'"
        )


def encode_data(type: str, data: Any) -> tuple[bytes, Any]:
    """The JSON text of an event's *data*, and the value that everybody will read from it.

    Raises:
        InvalidEvent: Some part of it is not JSON; the error names each path.
    """
    try:
        return encode_and_decode(data)
    except NotJson as error:
        errors: dict[str, list[str]] = {}
        for path, sentence in error.problems:
            errors.setdefault(path, []).append(sentence)
        raise InvalidEvent(type, errors) from None


def _is_version(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 1 << 31


def _check_name(name: str, value: object, meaning: str) -> None:
    reason = None
    if not isinstance(value, str):
        reason = "is not a string"
    elif not value.strip():
        reason = "is empty"
    elif len(value) > _MAX_NAME_LENGTH:
        reason = f"is longer than {_MAX_NAME_LENGTH} characters"
    elif not value.isprintable():
        reason = "holds characters that cannot be printed"
    if reason:
        raise InvalidInput(f"{name}={value!r:.60} {reason}: it names {meaning}.")


def _check_headers(headers: Mapping[str, str]) -> None:
    if not isinstance(headers, Mapping):
        raise InvalidInput(f"headers={headers!r:.60} is not a mapping: give names and values, both strings.")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidInput(f"headers: {name!r:.60}: {value!r:.60} is not a pair of strings.")
        try:
            encode((name, value))
        except NotJson as error:
            raise InvalidInput(f"headers: {name!r:.60} {error.problems[0][1]}") from None
