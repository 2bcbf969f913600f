"""Showing: no view of a bus shows what EVENTBUS_REDACT names, neither in an event nor in the errors of its handlers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from eventbus.errors import InvalidInput
from eventbus.event import Event
from eventbus.lifecycle.browsing import EventDetails
from eventbus.lifecycle.dead_lettering import Details, Page
from eventbus.lifecycle.explaining import Explanation, answer
from eventbus.lifecycle.fingerprinting import gist_without
from eventbus.operations.parts import Parts
from eventbus.redaction import (
    REDACTED,
    conceal,
    hides_correlation_ids,
    longest_first,
    redact,
    refuse_correlation_id,
    secrets_of,
)
from eventbus.storage import dead_letters, event_log
from eventbus.storage.audit import Entry
from eventbus.storage.database import Connection
from eventbus.storage.dead_letters import DeadLetter, Filter
from eventbus.storage.fingerprints import KnownFingerprint
from eventbus.storage.overview.stories import Standing, Story
from eventbus.storage.replays import Job

Secrets = Sequence[str]

#: What operators wrote, or looked for, may repeat what is hidden; nothing says of which event it would be.
_FREE_TEXTS = ("error", "note", "reason")
#: A cause with more dead letters shows no note: of each of them it would have to be known what is hidden.
_MOST_LETTERS = 100


class Showing(Parts):
    """What the views of a bus have in common."""

    def shown(self, event: Event) -> Event:
        """*event* without what EVENTBUS_REDACT names."""
        return redact(event, self.settings.redact) if self.settings.redact else event

    def _refuse_hidden(self, *, error: str | None = None, correlation_id: str | None = None) -> None:
        """Let nobody find out by looking for it what no view shows.

        Raises:
            InvalidInput: What is looked for may be hidden.
        """
        if error is not None and self.settings.redact:
            raise InvalidInput(
                f"error={error!r:.60}: an error may hold what EVENTBUS_REDACT hides, so nobody may look for a part of one; "
                "look for its type or its fingerprint."
            )
        refuse_correlation_id(correlation_id, self.settings.redact)

    def _shown_details(self, details: EventDetails) -> EventDetails:
        if not self.settings.redact:
            return details
        event, secrets = details.event, secrets_of(details.event, self.settings.redact)
        return replace(
            details,
            event=self.shown(event),
            standings=self._shown_standings(details.standings, {event.id: event}),
            failings=tuple(replace(run, error_message=conceal(run.error_message, secrets)) for run in details.failings),
        )

    def _shown_job(self, job: Job) -> Job:
        if job.selection.correlation_id is None or not hides_correlation_ids(self.settings.redact):
            return job
        return replace(job, selection=replace(job.selection, correlation_id=REDACTED))

    def _shown_entry(self, entry: Entry) -> Entry:
        if not self.settings.redact:
            return entry
        hidden = {*_FREE_TEXTS, *(["correlation_id"] if hides_correlation_ids(self.settings.redact) else [])}
        return replace(
            entry, filter={name: REDACTED if name in hidden else value for name, value in entry.filter.items()}
        )

    def _shown_events_standings(self, standings: list[Standing]) -> list[Standing]:
        if not self.settings.redact or not standings:
            return standings
        with self.database.autocommit() as connection:
            events = event_log.find_events(connection, [standing.event_id for standing in standings])
        return list(self._shown_standings(standings, events))

    def _shown_story(self, story: Story) -> Story:
        if not self.settings.redact:
            return story
        standings = self._shown_standings(story.standings, {event.id: event for event in story.events})
        return replace(story, events=tuple(map(self.shown, story.events)), standings=standings)

    def _shown_explanation(self, found: Explanation) -> Explanation:
        if not self.settings.redact:
            return found
        facts, secrets = found.facts, secrets_of(found.facts.event, self.settings.redact)
        letter = facts.letter
        shown = replace(
            facts,
            event=self.shown(facts.event),
            standing=None if facts.standing is None else _standing(facts.standing, secrets),
            letter=None if letter is None else replace(letter, note=_concealed(letter.note, secrets)),
            runs=[replace(run, error_message=conceal(run.error_message, secrets)) for run in facts.runs],
        )
        # Told anew: an error that was cut within what is hidden is known by its end, which is no end within a sentence.
        return answer(shown)

    def _shown_letters(self, page: Page) -> Page:
        if not self.settings.redact or not page.items:
            return page
        with self.database.autocommit() as connection:
            events = event_log.find_events(connection, [letter.event_id for letter in page.items])
        secrets = {id: secrets_of(event, self.settings.redact) for id, event in events.items()}
        return replace(page, items=tuple(_letter(letter, secrets[letter.event_id]) for letter in page.items))

    def _shown_fingerprints(self, items: Sequence[KnownFingerprint]) -> tuple[KnownFingerprint, ...]:
        if not self.settings.redact or not items:
            return tuple(items)
        ids = tuple(item.newest_id for item in items if item.newest_id is not None)
        with self.database.autocommit() as connection:
            letters = dead_letters.list_letters(connection, Filter(ids=ids), status=None, before=None, limit=len(items))
            events = event_log.find_events(connection, [letter.event_id for letter in letters])
            notes = {item.fingerprint: self._shown_note(connection, item) for item in items}
        gists = {
            letter.id: gist_without(letter, secrets_of(events[letter.event_id], self.settings.redact))
            for letter in letters
        }
        return tuple(
            replace(item, gist=gists.get(item.newest_id or 0, REDACTED), note=notes[item.fingerprint]) for item in items
        )

    def _shown_note(self, connection: Connection, item: KnownFingerprint) -> str | None:
        """A cause's note, which may repeat what is hidden of any of its dead letters."""
        if item.note is None:
            return None
        wanted = Filter(fingerprint=item.fingerprint)
        letters = dead_letters.list_letters(connection, wanted, status=None, before=None, limit=_MOST_LETTERS)
        if len(letters) < item.occurrences:
            return REDACTED
        events = event_log.find_events(connection, [letter.event_id for letter in letters])
        return conceal(
            item.note,
            longest_first(text for event in events.values() for text in secrets_of(event, self.settings.redact)),
        )

    def _shown_letter(self, details: Details) -> Details:
        if not self.settings.redact:
            return details
        secrets = secrets_of(details.event, self.settings.redact)
        attempts = (replace(run, error_message=conceal(run.error_message, secrets)) for run in details.attempts)
        return Details(
            letter=_letter(details.letter, secrets), event=self.shown(details.event), attempts=tuple(attempts)
        )

    def _shown_standings(self, standings: Sequence[Standing], events: Mapping[UUID, Event]) -> tuple[Standing, ...]:
        secrets = {id: secrets_of(event, self.settings.redact) for id, event in events.items()}
        return tuple(_standing(item, secrets[item.event_id]) for item in standings)


def _standing(standing: Standing, secrets: Secrets) -> Standing:
    return replace(standing, last_error=_concealed(standing.last_error, secrets))


def _letter(letter: DeadLetter, secrets: Secrets) -> DeadLetter:
    return replace(
        letter,
        error_message=conceal(letter.error_message, secrets),
        traceback=conceal(letter.traceback, secrets),
        note=_concealed(letter.note, secrets),
    )


def _concealed(text: str | None, secrets: Secrets) -> str | None:
    return None if text is None else conceal(text, secrets)
