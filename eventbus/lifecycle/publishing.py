"""Publishing: a fact becomes one event and one delivery per subscribed group.

    publish ─▶ validate ─▶ record ─▶ (commit) ─▶ wake up

Both are written in one statement of one transaction, so the event exists exactly when the change it describes exists. The
wake-up follows the commit and may fail: a sweep finds deliveries that no worker has heard of.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from eventbus.delivery import Run, current_run
from eventbus.errors import EventTooLarge, InvalidEvent
from eventbus.event import Draft, Event, check_draft, encode_data
from eventbus.lifecycle.committing import dispatch_after_commit, synchronous
from eventbus.lifecycle.waking import Waking
from eventbus.schemas.refusal import DataRefused
from eventbus.schemas.registry import SchemaRegistry
from eventbus.settings import Settings
from eventbus.storage import event_log
from eventbus.storage.database import Connection, Database
from eventbus.storage.event_log import Recorded
from eventbus.wire import decode

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """What publishing needs."""

    database: Database
    schemas: SchemaRegistry
    waking: Waking
    settings: Settings

    def publish(self, draft: Draft, *, session: Any = None) -> Event:
        """Record *draft* and a delivery for each group subscribed to its type, then wake these groups.

        Args:
            draft: The fact.
            session: A SQLAlchemy session whose transaction the event joins: it exists exactly if that commits, and
                messages leave only then. Without one, the session that the current handler took, if any.

        Raises:
            InvalidInput: One of its subclasses says what is wrong. Nothing was recorded.
            DatabaseError: One of its subclasses says why. Nothing was recorded, except after PublishUncertain.
        """
        run = current_run()
        ready = prepare(draft, run, schemas=self.schemas, settings=self.settings)
        session = session if session is not None else run and run.session
        if session is None:
            with self.database.autocommit() as connection:
                recorded = ready.record(connection)
            self.dispatch([recorded])
        else:
            with self.database.join(synchronous(session)) as connection:
                recorded = ready.record(connection)
            dispatch_after_commit(session, [recorded], self.dispatch)
        return recorded.event

    def dispatch(self, recorded: list[Recorded]) -> None:
        """Wake the groups of events that are committed."""
        for item in recorded:
            log.info("event_published", extra={**describe(item.event), "groups": list(item.groups)})
        self.waking.wake(recorded)


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A draft that was checked, in its wire form."""

    draft: Draft
    version: int
    data: bytes
    metadata: dict[str, Any]

    def record(self, connection: Connection) -> Recorded:
        """Write the event and its deliveries; nothing is committed."""
        return event_log.append(connection, self.draft, version=self.version, data=self.data, metadata=self.metadata)


def prepare(draft: Draft, run: Run | None, *, schemas: SchemaRegistry, settings: Settings) -> Ready:
    """Check *draft* and bring it into its wire form, as published by the handler's *run* or by no handler.

    Raises:
        InvalidInput: One of its subclasses says what is wrong.
    """
    check_draft(draft)
    version = schemas.resolve(draft.type, draft.version, strict=settings.strict_types)
    data = _wire_form(draft.type, version, draft.data, schemas)
    if len(data) > settings.max_event_bytes:
        raise EventTooLarge(draft.type, len(data), settings.max_event_bytes)
    inherited = run.event.correlation_id if run else None
    metadata: dict[str, Any] = {
        "correlation_id": draft.correlation_id or inherited or str(uuid4()),
        "causation_id": str(run.event.id) if run else None,
        "headers": dict(draft.headers or {}),
    }
    return Ready(draft=replace(draft, version=version), version=version, data=data, metadata=metadata)


def _wire_form(type: str, version: int, data: Any, schemas: SchemaRegistry) -> bytes:
    """The JSON that is stored: validated and normalised if the type has a schema, else as it is."""
    # Before the schema, which would accept what JSON cannot carry, or fail on it in its own way.
    wire = encode_data(type, data)
    if not schemas.knows(type, version):
        return wire
    try:
        return encode_data(type, schemas.canonical(type, version, decode(wire)))
    except DataRefused as error:
        raise InvalidEvent(type, {path or "data": messages for path, messages in error.errors.items()}) from error


def describe(event: Event) -> dict[str, Any]:
    """What log lines say of an event: never its data."""
    return {"event_id": str(event.id), "type": event.type, "correlation_id": event.correlation_id}
