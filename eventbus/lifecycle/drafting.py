"""Drafting: a draft is checked, brought into its wire form, and joined with what the code that publishes it passes on.

draft ─▶ envelope ─▶ version, schema ─▶ wire form ─▶ Entry
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from eventbus import tracing
from eventbus.delivery import Run
from eventbus.errors import EventTooLarge, InvalidEvent, InvalidInput
from eventbus.event import Draft, Loader, check_draft, encode_data
from eventbus.lifecycle.catalog import Catalog
from eventbus.schemas.refusal import DataRefused
from eventbus.schemas.registry import RegisteredSchema
from eventbus.settings import Settings
from eventbus.storage.event_log import Entry
from eventbus.wire import canonical, encode_again, is_written_as


class Origin(NamedTuple):
    """What events have in common that are published by the same code."""

    #: Inherited by those that are given none.
    correlation_id: str | None
    #: The event whose handler publishes.
    causation_id: str | None


def origin_of(run: Run | None) -> Origin:
    """What events have in common that are published by the handler's *run*, or by no handler."""
    return Origin(None, None) if run is None else Origin(run.event.correlation_id, str(run.event.id))


def prepare(
    draft: Draft, origin: Origin, drawn: Sequence[str], *, schemas: Catalog, settings: Settings, loader: Loader
) -> Entry:
    """Check *draft* and bring it into its wire form.

    Args:
        drawn: Two random uuids.
        loader: What `load` of the event calls.

    Raises:
        InvalidInput: One of its subclasses says what is wrong.
    """
    if not isinstance(draft, Draft):
        raise InvalidInput(f"{draft!r:.60} is a {type(draft).__name__}, not a Draft.")
    check_draft(draft)
    choice = schemas.resolve(draft.type, draft.version, strict=settings.strict_types)
    data, value = _wire_form(draft.type, draft.data, choice.schema)
    if len(data) > settings.max_event_bytes:
        raise EventTooLarge(draft.type, len(data), settings.max_event_bytes)
    headers = dict(draft.headers or {})
    size_bytes = len(data) + (len(encode_again(headers)) if headers else 0)
    if size_bytes > settings.max_event_bytes:
        raise EventTooLarge(draft.type, size_bytes, settings.max_event_bytes, with_headers=True)
    token, own = drawn
    metadata: dict[str, Any] = {
        "correlation_id": draft.correlation_id or origin.correlation_id or own,
        "causation_id": origin.causation_id,
        "headers": headers,
        # Of the span in which it was drafted: an iterable may have one for each.
        **tracing.carried(),
    }
    key = draft.idempotency_key
    digest = None if key is None else digest_of(draft.type, choice.version, value)
    return Entry(
        type=draft.type,
        version=choice.version,
        source=draft.source,
        data=data,
        size_bytes=size_bytes,
        value=value,
        metadata=metadata,
        token=token,
        key=key,
        digest=digest,
        loader=loader,
    )


def digest_of(type: str, version: int, value: Any) -> bytes:
    """What tells whether two publishes under one idempotency key state the same fact; the order of keys does not count."""
    return sha256(f"{type}\n{version}\n{canonical(value)}".encode()).digest()


def _wire_form(type: str, data: Any, schema: RegisteredSchema | None) -> tuple[bytes, Any]:
    """The JSON that is stored, and its value: validated and normalised if the type has a schema, else as it is."""
    # Before the schema, which would accept what JSON cannot carry, or fail on it in its own way.
    wire, value = encode_data(type, data)
    if schema is None:
        return wire, value
    try:
        form = schema.form(value)
    except DataRefused as error:
        raise InvalidEvent(type, {path or "data": messages for path, messages in error.errors.items()}) from error
    # The form, for a field of the user's own may have changed the value while it looked at it.
    return (wire, form) if is_written_as(form, wire) else encode_data(type, form)
