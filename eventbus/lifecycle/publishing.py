"""Publishing: a fact becomes one event and one delivery per subscribed group.

    publish ─▶ validate ─▶ record ─▶ (commit) ─▶ wake up
    publish_many: the same, a batch at a time

Both are written in one statement of one transaction, so the event exists exactly when the change it describes exists. The
wake-up follows the commit and may fail: a relay finds deliveries that no worker has heard of.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from eventbus import tracing
from eventbus.delivery import Run, current_run
from eventbus.errors import EventBusError, IdempotencyConflict, InvalidInput
from eventbus.event import Draft, Event, Loader
from eventbus.ids import draw_pairs, draw_uuids
from eventbus.lifecycle import certainty, recording
from eventbus.lifecycle.catalog import Catalog
from eventbus.lifecycle.circuit import TIME_LIMITS
from eventbus.lifecycle.committing import dispatch_after_commit, note_failed_dispatch, synchronous
from eventbus.lifecycle.drafting import Origin, origin_of, prepare
from eventbus.lifecycle.waking import Waking
from eventbus.settings import Settings
from eventbus.storage.database import Database
from eventbus.storage.event_log import Entry, Recorded

log = logging.getLogger(__name__)

#: The most that publish_many records by one statement.
BATCH_EVENTS = 1000
BATCH_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """What publishing needs."""

    database: Database
    schemas: Catalog
    waking: Waking
    settings: Settings
    #: What `load` of an event calls.
    loader: Loader

    def publish(self, draft: Draft, *, session: Any = None) -> Event:
        """Record *draft* and a delivery for each group subscribed to its type, then wake these groups.

        Args:
            draft: The fact.
            session: A SQLAlchemy session whose transaction the event joins: it exists exactly if that commits, and
                messages leave only then. Without one, the session that the current handler took, if any.

        Returns:
            The event; the first one, if its idempotency key was used before.

        Raises:
            InvalidInput: One of its subclasses says what is wrong. Nothing was recorded.
            DatabaseError: One of its subclasses says why. Nothing was recorded, except after PublishUncertain.
        """
        run = current_run()
        session = session if session is not None else run and run.session
        type = draft.type if isinstance(draft, Draft) and isinstance(draft.type, str) else None
        with tracing.publishing(type, hidden=self.settings.redact) as span:
            try:
                [recorded] = self._record([self._prepare(draft, origin_of(run), draw_uuids(2))], session)
            except IdempotencyConflict as error:
                error.index = None
                raise
            span.recorded([recorded.event])
        return recorded.event

    def publish_many(self, drafts: Iterable[Draft], *, session: Any = None) -> list[Event]:
        """Record *drafts* as they come, a batch at a time, and wake the groups after each batch.

        Args:
            drafts: Consumed only as far as the batch that is being put together.
            session: As for `publish`; all batches join its transaction.

        Returns:
            The events in the order of *drafts*, ids rising; where a key was used before, its first event.

        Raises:
            InvalidInput, DatabaseError: As `publish`, about the item ``index``; ``recorded`` holds the events of the batches
                before. Nothing of the item's own batch was recorded.
        """
        if not any(hasattr(type(drafts), name) for name in ("__iter__", "__getitem__")):
            raise InvalidInput(f"drafts: {type(drafts).__name__} is no iterable; give any iterable of Drafts.")
        run = current_run()
        session = session if session is not None else run and run.session
        done = Progress()
        with tracing.publishing(None, hidden=self.settings.redact) as span:
            try:
                for batch in self._batches(done.watched(drafts), run):
                    done.add(self._record(batch.entries, session, after=done.newest))
            except Exception as error:
                if isinstance(error, EventBusError) and error is not done.failure_of_iterable:
                    done.locate(error, in_session=session is not None)
                else:
                    error.add_note(f"publish_many had {done.extent(in_session=session is not None)}.")
                raise
            span.recorded(done.events)
        return done.events

    def dispatch(self, recorded: list[Recorded]) -> None:
        """Wake the groups of events that are committed."""
        new = [item for item in recorded if not item.is_repeat]
        self._wake(new)
        if log.isEnabledFor(logging.INFO):  # putting facts together that nobody reads takes time
            for item in new:
                log.info("event_published", extra={**describe(item.event), "groups": list(item.groups)})

    def dispatch_batch(self, recorded: list[Recorded]) -> None:
        """The same for events by the thousand: one line in the log."""
        new = [item for item in recorded if not item.is_repeat]
        self._wake(new)
        if new:
            ids = {"first_event_id": str(new[0].event.id), "last_event_id": str(new[-1].event.id)}
            log.info("events_published", extra={"events": len(new), **ids})

    def _wake(self, recorded: list[Recorded]) -> None:
        if recorded:
            owed = sum(len(item.groups) for item in recorded)
            events = [item.event for item in recorded]
            with tracing.dispatching(events, groups=owed, hidden=self.settings.redact):
                self.waking.wake(recorded)

    def _record(self, entries: list[Entry], session: Any, *, after: datetime | None = None) -> list[Recorded]:
        dispatch = self.dispatch if len(entries) == 1 else self.dispatch_batch
        if session is None:
            recorded = certainty.record(self.database, entries, within=self.settings.publish_limit, after=after)
            try:
                dispatch(recorded)
            except TIME_LIMITS:
                raise
            except Exception as error:  # noqa: BLE001 - such as a filter of the application's log: the events are committed
                note_failed_dispatch(error, recorded)
        else:
            with self.database.join_callers(synchronous(session)) as connection:
                recorded = recording.write(connection, entries, database=self.database, after=after)
            dispatch_after_commit(session, recorded, dispatch)
        # An earlier publish's comes as the log has it.
        return [item._replace(event=item.event.loaded_by(self.loader)) if item.is_repeat else item for item in recorded]

    def _batches(self, drafts: Iterable[Draft], run: Run | None) -> Iterator["Batch"]:
        """*drafts*, prepared; what an error's index says is the position in the batch."""
        batch, origin, drawn = Batch(), origin_of(run), draw_pairs()
        for draft in drafts:
            try:
                entry = self._prepare(draft, origin, next(drawn))
            except InvalidInput as error:
                error.index = len(batch.entries)
                raise
            batch.add(entry)
            if batch.is_full:
                yield batch
                batch = Batch()
        if batch.entries:
            yield batch

    def _prepare(self, draft: Draft, origin: Origin, drawn: Sequence[str]) -> Entry:
        return prepare(draft, origin, drawn, schemas=self.schemas, settings=self.settings, loader=self.loader)


@dataclass(kw_only=True)
class Batch:
    """What one statement of publish_many records."""

    entries: list[Entry] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.entries) == BATCH_EVENTS or self.size_bytes >= BATCH_BYTES

    def add(self, entry: Entry) -> None:
        """Append *entry*."""
        self.entries.append(entry)
        self.size_bytes += entry.size_bytes


@dataclass(kw_only=True)
class Progress:
    """What publish_many has recorded so far."""

    events: list[Event] = field(default_factory=list)
    #: When the newest event that is not an earlier publish's was recorded.
    newest: datetime | None = None
    #: What the iterable itself raised: an error of ours too, if it publishes.
    failure_of_iterable: Exception | None = None

    def watched(self, drafts: Iterable[Draft]) -> Iterator[Draft]:
        """*drafts* as they come."""
        try:
            for draft in drafts:  # noqa: UP028 - `yield from` would close a generator with which the caller may go on
                yield draft
        except Exception as error:
            self.failure_of_iterable = error
            raise

    def add(self, recorded: list[Recorded]) -> None:
        """Count a batch in."""
        new = (item.event.created_at for item in reversed(recorded) if not item.is_repeat)
        self.newest = next(new, self.newest)
        self.events.extend(item.event for item in recorded)

    def locate(self, error: EventBusError, *, in_session: bool) -> None:
        """Say in *error*, which is about the batch that comes next, where it happened and what stands."""
        error.index = len(self.events) + (error.index or 0)
        error.recorded = tuple(self.events)
        error.args = (f"item {error.index} ({self.extent(in_session=in_session)}): {error}",)

    def extent(self, *, in_session: bool) -> str:
        """Which items are recorded, in words."""
        if not self.events:
            return "nothing before it recorded"
        items = "item 0" if len(self.events) == 1 else f"items 0 to {len(self.events) - 1}"
        return f"{items} written in the session's transaction" if in_session else f"{items} recorded"


def describe(event: Event) -> dict[str, Any]:
    """What log lines say of an event: never its data."""
    return {"event_id": str(event.id), "type": event.type, "correlation_id": event.correlation_id}
