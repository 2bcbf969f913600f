"""Dead letters: the methods of a bus that look at them, retry them and give them up. No view shows what EVENTBUS_REDACT names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property

from eventbus.lifecycle import dead_lettering, fingerprinting, trying
from eventbus.lifecycle.dead_lettering import Details, Page, Sought
from eventbus.lifecycle.fingerprinting import FingerprintPage
from eventbus.lifecycle.resolving import Frozen, Resolving, check_reason
from eventbus.lifecycle.trying import Trial
from eventbus.operations.showing import Showing
from eventbus.storage.fingerprints import KnownFingerprint
from eventbus.storage.overview import causes


class DeadLetterOperations(Showing):
    """What a bus does with deliveries that were given up."""

    @cached_property
    def resolving(self) -> Resolving:
        """Retries and discards step by step, as the command line runs them: frozen, agreed to, run with progress."""
        return Resolving(database=self.database, waking=self.waking, settings=self.settings)

    def dead_letters(
        self,
        type: str | None = None,
        *,
        group: str | None = None,
        error_type: str | None = None,
        error: str | None = None,
        fingerprint: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        correlation_id: str | None = None,
        status: str | None = "open",
        cursor: int | None = None,
        limit: int = 100,
    ) -> Page:
        """Dead letters, newest first; all that is given must hold.

        Args:
            type: An event type or a pattern.
            error: A part of the error's message.
            since: Given up from this time on; *until*: before. As for `events`.
            status: ``open``, ``retried``, ``discarded``; None lists all.
            cursor: ``next`` of the page before.

        Raises:
            InvalidInput: A subclass says what cannot be used.
        """
        self._refuse_hidden(error=error, correlation_id=correlation_id)
        sought = Sought(
            type=type,
            group=group,
            error_type=error_type,
            error=error,
            fingerprint=fingerprint,
            since=since,
            until=until,
            correlation_id=correlation_id,
        )
        page = dead_lettering.list_page(self.database, sought, status=status, cursor=cursor, limit=limit)
        return self._shown_letters(page)

    def dead_letter(self, id: int) -> Details:
        """One dead letter with its event and every failed run.

        Raises:
            UnknownDeadLetter: There is none of that id.
        """
        return self._shown_letter(dead_lettering.show(self.database, id))

    def freeze_dead_letters(
        self,
        type: str | None = None,
        *,
        group: str | None = None,
        ids: Sequence[int] | None = None,
        error_type: str | None = None,
        error: str | None = None,
        fingerprint: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        correlation_id: str | None = None,
        last_id: int | None = None,
    ) -> Frozen:
        """The open dead letters that are meant now, counted: pass it on, so that exactly these are retried or discarded.

        Args:
            type, error, since, until: As for `dead_letters`.
            group: Needed unless *fingerprint* or *ids* say which letters are meant.
            last_id: None with a larger id.

        Raises:
            InvalidInput: A subclass says what cannot be used.
            UnknownGroup: It never subscribed.
        """
        self._refuse_hidden(error=error, correlation_id=correlation_id)
        sought = Sought(
            type=type,
            group=group,
            error_type=error_type,
            error=error,
            fingerprint=fingerprint,
            since=since,
            until=until,
            correlation_id=correlation_id,
            ids=None if ids is None else dead_lettering.check_ids(ids),
            last_id=last_id,
        )
        return self.resolving.freeze(sought)

    def retry_dead_letters(
        self,
        type: str | None = None,
        *,
        group: str,
        ids: Sequence[int] | None = None,
        error_type: str | None = None,
        fingerprint: str | None = None,
        frozen: Frozen | None = None,
    ) -> int:
        """Run the deliveries of open dead letters again, as if new; how many.

        Args:
            frozen: What `freeze_dead_letters` returned: exactly these that are still open, whatever else is given.

        Raises:
            UnknownGroup: It never subscribed. Nothing was changed.
        """
        meant = frozen or self.freeze_dead_letters(
            type, group=group, ids=ids, error_type=error_type, fingerprint=fingerprint
        )
        return self.resolving.retry(meant).changed

    def discard_dead_letters(
        self,
        type: str | None = None,
        *,
        group: str,
        reason: str,
        ids: Sequence[int] | None = None,
        error_type: str | None = None,
        fingerprint: str | None = None,
        frozen: Frozen | None = None,
    ) -> int:
        """Give up open dead letters for good, keeping *reason* with them; how many.

        Args:
            frozen: As for `retry_dead_letters`.

        Raises:
            InvalidInput: The reason is empty. Nothing was changed.
            UnknownGroup: The group never subscribed. Nothing was changed.
        """
        check_reason(reason)
        meant = frozen or self.freeze_dead_letters(
            type, group=group, ids=ids, error_type=error_type, fingerprint=fingerprint
        )
        return self.resolving.discard(meant, reason=reason).changed

    def restore_dead_letters(self, ids: Sequence[int]) -> int:
        """Open discarded dead letters again, so that they can be retried; how many could be.

        One whose delivery was replayed since is left as it is.
        """
        return self.resolving.restore(ids)

    def note_dead_letter(self, id: int, note: str) -> None:
        """Keep *note* with a dead letter in the place of the one before.

        Raises:
            InvalidInput: The id is not a whole number, or the note is empty. Nothing was changed.
            UnknownDeadLetter: There is none of that id.
        """
        dead_lettering.write_note(self.database, id, note)

    def fingerprints(
        self, *, state: str | None = None, group: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> FingerprintPage:
        """What dead letters have in common: one item for each cause, those seen last first.

        A fingerprint stands for an exception type, a message without its particulars, and the handler's own innermost frames.

        Args:
            state: ``new``, ``acknowledged``, ``resolved`` or ``returned``; None for all. One is resolved when all of its letters
                were discarded, or retried and ended, and has returned with the next.
            group: Has, or had, dead letters of it.
        """
        page = fingerprinting.list_page(self.database, state=state, group=group, cursor=cursor, limit=limit)
        return replace(page, items=self._shown_fingerprints(page.items))

    def fingerprint(self, fingerprint: str) -> KnownFingerprint:
        """One of them; `dead_letters` with ``fingerprint=`` lists its letters.

        Raises:
            UnknownFingerprint: No dead letter ever had it.
        """
        [shown] = self._shown_fingerprints([fingerprinting.show(self.database, fingerprint)])
        return shown

    def fingerprint_trends(self, fingerprints: Sequence[str]) -> Mapping[str, list[int]]:
        """How many dead letters of each came in each of the last 24 hours, oldest first; of its newest 200 letters."""
        with self.database.autocommit() as connection:
            return causes.read_trends(connection, fingerprints)

    def trial(self, ids: Sequence[int]) -> Trial:
        """What became of dead letters that were retried before others.

        Raises:
            InvalidInput: There are none of them, or more than 100, or they are no ids.
        """
        return trying.look(self.database, ids)

    def require_trial(self, ids: Sequence[int]) -> None:
        """Make sure that dead letters which were retried first have all succeeded, before the others are.

        Raises:
            TrialNotPassed: Some have not, or not yet.
        """
        trying.require_passed(self.database, ids)

    def acknowledge_fingerprint(self, fingerprint: str, *, note: str | None = None) -> None:
        """State that somebody looks after it; *note* takes the place of the one before.

        Raises:
            InvalidInput: It is resolved. Nothing was changed.
            UnknownFingerprint: No dead letter ever had it.
        """
        fingerprinting.acknowledge(self.database, fingerprint, note=note)

    def resolve_fingerprint(self, fingerprint: str, *, note: str | None = None) -> None:
        """State that its cause is mended, also while letters are open: the next one means that it has returned.

        Raises:
            UnknownFingerprint: No dead letter ever had it.
        """
        fingerprinting.resolve(self.database, fingerprint, note=note)
