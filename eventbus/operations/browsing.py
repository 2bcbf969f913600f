"""Browsing: the methods of a bus that look at events, groups and stories. No view shows what EVENTBUS_REDACT names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from eventbus.errors import InvalidInput
from eventbus.event import Event
from eventbus.lifecycle import browsing, explaining, rendering
from eventbus.lifecycle.browsing import EventDetails, GroupDetails, Sought, SoughtChanges
from eventbus.lifecycle.explaining import Explanation
from eventbus.lifecycle.rendering import Rendering
from eventbus.operations.showing import Showing
from eventbus.redaction import hides_correlation_ids, is_redacted
from eventbus.storage.audit import Entry
from eventbus.storage.overview.condition import read_clock
from eventbus.storage.overview.events import EventPage
from eventbus.storage.overview.stories import Standing, Story


class BrowsingOperations(Showing):
    """What an operator sees of the log and of those who read it."""

    def events(
        self,
        pattern: str | None = None,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        correlation_id: str | None = None,
        group: str | None = None,
        state: str | None = None,
        error: str | None = None,
        data: Mapping[str, str] | None = None,
        cursor: UUID | None = None,
        limit: int = 100,
        most_read: int | None = None,
    ) -> EventPage:
        """Events of the log, newest first; all that is given must hold.

        Args:
            group: It has a delivery of the event; *state* and *error* (a part of its last error) are those of a delivery.
            data: Values by dotted path, as ``{"customer.id": "42"}``; needs a type and *since*.
            cursor: ``next`` of the page before. A page looks at no more than 10,000 events and says how far it came.
            most_read: Fewer than these.

        Raises:
            InvalidInput: A subclass says what cannot be used.
        """
        browsing.check_fields(data or {})
        for path in data or {}:
            if is_redacted(["data", *path.split(".")], self.settings.redact):
                raise InvalidInput(f"data.{path:.60} is redacted, so nobody may look for its value.")
        self._refuse_hidden(error=error, correlation_id=correlation_id)
        sought = Sought(
            pattern=pattern,
            since=since,
            until=until,
            correlation_id=correlation_id,
            group=group,
            state=state,
            error=error,
            data=data or {},
        )
        page = browsing.find_events(self.database, sought, cursor=cursor, limit=limit, most_read=most_read)
        return replace(page, items=tuple(map(self.shown, page.items)))

    def event_details(self, id: UUID) -> EventDetails:
        """The event of that id, and how each group stands with it.

        Raises:
            InvalidInput: It is no id.
            UnknownEvent: There is none.
        """
        return self._shown_details(browsing.show_event(self.database, id))

    def standings(self, ids: Sequence[UUID]) -> list[Standing]:
        """How all groups stand with the events of those ids, in order of event and group."""
        return self._shown_events_standings(browsing.show_standings(self.database, ids))

    def event_versions(self, event: Event) -> list[Rendering]:
        """*event* in each version of its type, as handlers that ask for one get it; by version.

        What EVENTBUS_REDACT names is taken out before and after: a step that needs it says so instead of showing it.
        """
        found = rendering.render(self.catalog, self.shown(event))
        return [
            each if each.data is None else replace(each, data=self.shown(replace(event, data=each.data)).data)
            for each in found
        ]

    def group_details(self, group: str, *, open: Mapping[str, int] | None = None) -> GroupDetails:
        """What *group* wants, what it has to do, and who does it.

        Args:
            open: Its open deliveries by state, as `pulse` counted them; without it they are counted now.

        Raises:
            UnknownGroup: It never subscribed.
        """
        return browsing.show_group(self.database, group, open=open)

    def story(self, correlation_id: str) -> Story:
        """The events of *correlation_id*, oldest first, and how each group stands with each.

        Raises:
            InvalidInput: EVENTBUS_REDACT hides correlation ids: `story_of` an event is told all the same.
        """
        self._refuse_hidden(correlation_id=correlation_id)
        return self._shown_story(browsing.tell_story(self.database, correlation_id))

    def story_of(self, event: Event) -> Story:
        """As `story`, of the events that have the correlation id of *event*, which is not shown if EVENTBUS_REDACT hides it."""
        known = event
        if hides_correlation_ids(self.settings.redact):
            known = browsing.show_event(self.database, event.id).event
        return self._shown_story(browsing.tell_story(self.database, known.correlation_id))

    def explain(self, event_id: UUID, group: str) -> Explanation:
        """Why *group* did or did not get the event.

        Raises:
            InvalidInput: It is no id.
            UnknownEvent, UnknownGroup: There is none.
        """
        return self._shown_explanation(explaining.explain(self.database, event_id, group))

    def clock(self) -> datetime:
        """The database's now, by which all times of events are."""
        with self.database.autocommit() as connection:
            return read_clock(connection)

    def audit(
        self,
        *,
        who: str | None = None,
        action: str | None = None,
        group: str | None = None,
        result: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        cursor: int | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """What operators changed, newest first, with ids below *cursor*; all that is given must hold.

        With EVENTBUS_REDACT notes, reasons and parts of errors are left out, which may repeat what it hides.

        Args:
            action: As ``dead retry``; ``dead`` means every action on dead letters.
            result: ``done``, ``began``, ``interrupted``, ``cancelled`` or ``failed``.
        """
        sought = SoughtChanges(who=who, action=action, group=group, result=result, since=since, until=until)
        return list(map(self._shown_entry, browsing.list_changes(self.database, sought, before=cursor, limit=limit)))
