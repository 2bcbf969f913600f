"""Dead letters: the methods of a bus that look at them, retry them and give them up."""

from collections.abc import Sequence

from eventbus.lifecycle import dead_lettering, fingerprinting
from eventbus.lifecycle.dead_lettering import Details, Frozen, Page
from eventbus.lifecycle.fingerprinting import FingerprintPage
from eventbus.operations.parts import Parts
from eventbus.storage.dead_letters import Filter
from eventbus.storage.fingerprints import KnownFingerprint


class DeadLetterOperations(Parts):
    """What a bus does with deliveries that were given up."""

    def dead_letters(
        self,
        type: str | None = None,
        *,
        group: str | None = None,
        error_type: str | None = None,
        fingerprint: str | None = None,
        status: str | None = "open",
        cursor: int | None = None,
        limit: int = 100,
    ) -> Page:
        """Dead letters, newest first; *status* None lists those that were resolved too."""
        wanted = Filter(type=type, group=group, error_type=error_type, fingerprint=fingerprint)
        return dead_lettering.list_page(self.database, wanted, status=status, cursor=cursor, limit=limit)

    def dead_letter(self, id: int) -> Details:
        """One dead letter with its event and every failed run.

        Raises:
            UnknownDeadLetter: There is none of that id.
        """
        return dead_lettering.show(self.database, id)

    def freeze_dead_letters(
        self,
        type: str | None = None,
        *,
        group: str,
        ids: tuple[int, ...] | list[int] | None = None,
        error_type: str | None = None,
        fingerprint: str | None = None,
    ) -> Frozen:
        """The open dead letters that are meant now, counted: pass it on, so that exactly these are retried or discarded.

        Raises:
            UnknownGroup: It never subscribed.
        """
        wanted = _filter(type, group=group, ids=ids, error_type=error_type, fingerprint=fingerprint)
        return dead_lettering.freeze(self.database, wanted)

    def retry_dead_letters(
        self,
        type: str | None = None,
        *,
        group: str,
        ids: tuple[int, ...] | list[int] | None = None,
        error_type: str | None = None,
        fingerprint: str | None = None,
        frozen: Frozen | None = None,
    ) -> int:
        """Run the deliveries of open dead letters again, as if new; how many.

        Args:
            frozen: What `freeze_dead_letters` returned: those that came later are left.

        Raises:
            UnknownGroup: It never subscribed. Nothing was changed.
        """
        wanted = _filter(type, group=group, ids=ids, error_type=error_type, fingerprint=fingerprint)
        return dead_lettering.retry(self.database, wanted, waking=self.waking, settings=self.settings, frozen=frozen)

    def discard_dead_letters(
        self,
        type: str | None = None,
        *,
        group: str,
        reason: str,
        ids: tuple[int, ...] | list[int] | None = None,
        error_type: str | None = None,
        fingerprint: str | None = None,
        frozen: Frozen | None = None,
    ) -> int:
        """Give up open dead letters for good, keeping *reason* with them; how many.

        Raises:
            InvalidInput: The reason is empty. Nothing was changed.
            UnknownGroup: The group never subscribed. Nothing was changed.
        """
        wanted = _filter(type, group=group, ids=ids, error_type=error_type, fingerprint=fingerprint)
        return dead_lettering.discard(self.database, wanted, reason=reason, frozen=frozen)

    def restore_dead_letters(self, ids: Sequence[int]) -> int:
        """Open discarded dead letters again, so that they can be retried; how many could be.

        One whose delivery was replayed since is left as it is.
        """
        return dead_lettering.restore(self.database, ids)

    def note_dead_letter(self, id: int, note: str) -> None:
        """Keep *note* with a dead letter in the place of the one before.

        Raises:
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
        return fingerprinting.list_page(self.database, state=state, group=group, cursor=cursor, limit=limit)

    def fingerprint(self, fingerprint: str) -> KnownFingerprint:
        """One of them; `dead_letters` with ``fingerprint=`` lists its letters.

        Raises:
            UnknownFingerprint: No dead letter ever had it.
        """
        return fingerprinting.show(self.database, fingerprint)

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


def _filter(
    type: str | None, *, group: str, ids: Sequence[int] | None, error_type: str | None, fingerprint: str | None
) -> Filter:
    return Filter(
        type=type,
        group=group,
        error_type=error_type,
        fingerprint=fingerprint,
        ids=None if ids is None else tuple(ids),
    )
