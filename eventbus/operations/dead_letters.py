"""Dead letters: the methods of a bus that look at them, retry them and give them up."""

from collections.abc import Sequence

from eventbus.lifecycle import dead_lettering
from eventbus.lifecycle.dead_lettering import Details, Frozen, Page
from eventbus.operations.parts import Parts
from eventbus.storage.dead_letters import Filter


class DeadLetterOperations(Parts):
    """What a bus does with deliveries that were given up."""

    def dead_letters(
        self,
        type: str | None = None,
        *,
        group: str | None = None,
        error_type: str | None = None,
        status: str | None = "open",
        cursor: int | None = None,
        limit: int = 100,
    ) -> Page:
        """Dead letters, newest first; *status* None lists those that were resolved too."""
        wanted = Filter(type=type, group=group, error_type=error_type)
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
    ) -> Frozen:
        """The open dead letters that are meant now, counted: pass it on, so that exactly these are retried or discarded.

        Raises:
            UnknownGroup: It never subscribed.
        """
        wanted = Filter(type=type, group=group, error_type=error_type, ids=None if ids is None else tuple(ids))
        return dead_lettering.freeze(self.database, wanted)

    def retry_dead_letters(
        self,
        type: str | None = None,
        *,
        group: str,
        ids: tuple[int, ...] | list[int] | None = None,
        error_type: str | None = None,
        frozen: Frozen | None = None,
    ) -> int:
        """Run the deliveries of open dead letters again, as if new; how many.

        Args:
            frozen: What `freeze_dead_letters` returned: those that came later are left.

        Raises:
            UnknownGroup: It never subscribed. Nothing was changed.
        """
        wanted = Filter(type=type, group=group, error_type=error_type, ids=None if ids is None else tuple(ids))
        return dead_lettering.retry(self.database, wanted, waking=self.waking, settings=self.settings, frozen=frozen)

    def discard_dead_letters(
        self,
        type: str | None = None,
        *,
        group: str,
        reason: str,
        ids: tuple[int, ...] | list[int] | None = None,
        error_type: str | None = None,
        frozen: Frozen | None = None,
    ) -> int:
        """Give up open dead letters for good, keeping *reason* with them; how many.

        Raises:
            InvalidInput: The reason is empty. Nothing was changed.
            UnknownGroup: The group never subscribed. Nothing was changed.
        """
        wanted = Filter(type=type, group=group, error_type=error_type, ids=None if ids is None else tuple(ids))
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
