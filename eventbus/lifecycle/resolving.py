"""Resolving dead letters: those of one moment are counted, and exactly these are retried as if new, or discarded with a reason.

    freeze ─▶ (somebody agrees) ─┬─ retry ───▶ retried     the delivery is pending again, and its group is woken
                                 └─ discard ─▶ discarded   the delivery is cancelled
    restore ─▶ open              a discarded one, as if it had not been

Many are resolved in batches, each its own transaction. What is stopped is stopped between two: what was done is done, the rest
is untouched.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from eventbus.broker import WakeUp
from eventbus.errors import DatabaseError, InvalidInput
from eventbus.lifecycle import fingerprinting
from eventbus.lifecycle.auditing import Change, audited
from eventbus.lifecycle.dead_lettering import Sought, check_ids, filter_of
from eventbus.lifecycle.waking import Waking
from eventbus.settings import Settings
from eventbus.storage import dead_letters, fingerprints, resolving, subscriptions
from eventbus.storage.database import Connection, Database
from eventbus.storage.resolving import Resolved
from eventbus.subscription import check_group
from eventbus.wire import is_text

log = logging.getLogger(__name__)

_BATCH = 1000
#: So often, and after so long, what somebody held is looked at again.
_LOOKS, _LOOK_SECONDS = 3, 0.2


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """The open dead letters of one moment, as an operator is told of them before they are changed."""

    #: How they were asked for; times are what they meant at that moment.
    sought: Sought
    #: Rising.
    ids: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.ids)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a retry or discard has come."""

    total: int
    #: Those that were dealt with.
    seen: int
    #: Those of them that were still open, and are resolved now.
    changed: int
    #: Of a whole that is complete: those that are open still. Somebody held them, or to retry them, nobody takes their type now.
    left: int = 0

    @property
    def is_complete(self) -> bool:
        return self.seen == self.total


Watch = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class Resolving:
    """What resolving needs."""

    database: Database
    waking: Waking
    settings: Settings

    def freeze(self, sought: Sought) -> Frozen:
        """The open dead letters of a group that are *sought* now.

        Raises:
            InvalidInput: Something that was given cannot be used; a subclass says what.
            UnknownGroup: The group never subscribed.
        """
        if sought.fingerprint is None and sought.ids is None:
            check_group(sought.group)
        with self.database.autocommit() as connection:
            wanted = filter_of(connection, sought)
            ids = tuple(dead_letters.open_ids(connection, wanted))
        return Frozen(sought=replace(sought, since=wanted.since, until=wanted.until), ids=ids)

    def retry(self, frozen: Frozen, *, watch: Watch | None = None, stop: threading.Event | None = None) -> Progress:
        """Make the deliveries of those that are still open as if new; those that no subscription takes now stay open.

        Args:
            watch: Called after each batch.
            stop: When set, no other batch is begun.
        """

        def wake(resolved: Sequence[Resolved]) -> None:
            queue = self.settings.queue
            self.waking.send(
                [WakeUp(queue=queue(item.group), event_id=item.event_id, type=item.type) for item in resolved]
            )

        given = self._about(frozen.ids, frozen.sought.as_json())
        with audited(self.database, "dead retry", given, asked=frozen.count) as change:
            watching = _Watching(change, "dead_letter_retried", watch, wake)
            return self._in_batches(frozen, _retry, watching, stop)

    def discard(
        self, frozen: Frozen, *, reason: str, watch: Watch | None = None, stop: threading.Event | None = None
    ) -> Progress:
        """Cancel the deliveries of those that are still open, for *reason*.

        Args:
            watch: Called after each batch.
            stop: When set, no other batch is begun.

        Raises:
            InvalidInput: The reason is empty. Nothing was changed.
        """
        check_reason(reason)

        def resolve(connection: Connection, ids: Sequence[int]) -> list[Resolved]:
            return resolving.discard(connection, ids, reason=reason)

        given = self._about(frozen.ids, {**frozen.sought.as_json(), "reason": reason})
        with audited(self.database, "dead discard", given, asked=frozen.count) as change:
            progress = self._in_batches(frozen, resolve, _Watching(change, "dead_letter_discarded", watch), stop)
        # Housekeeping does it as well: what was discarded must be told.
        with suppress(DatabaseError):
            fingerprinting.settle(self.database)
        return progress

    def restore(self, ids: Sequence[int]) -> int:
        """Open discarded dead letters again, as if they had not been discarded; how many there were.

        Raises:
            InvalidInput: An id is not one. Nothing was changed.
        """
        ids = check_ids(ids)
        given = self._about(ids, {"ids": list(ids)})
        with audited(self.database, "dead restore", given, asked=len(set(ids))) as change:
            with self.database.transaction() as connection:
                restored = resolving.restore(connection, ids)
                fingerprints.reopen(connection, [item.id for item in restored])
            change.changed = len(restored)
        for item in restored:
            log.info("dead_letter_restored", extra={"dead_letter": item.id, "event_id": str(item.event_id)})
        return len(restored)

    def _about(self, ids: Sequence[int], given: Mapping[str, object]) -> dict[str, object]:
        """*given*, and the groups of those letters where it names none: the audit is asked for a group's changes."""
        if given.get("group") is not None:
            return dict(given)
        with self.database.autocommit() as connection:
            return {**given, "groups": dead_letters.list_groups(connection, ids)}

    def _in_batches(
        self,
        frozen: Frozen,
        resolve: Callable[[Connection, Sequence[int]], list[Resolved]],
        watching: "_Watching",
        stop: threading.Event | None,
    ) -> Progress:
        progress = Progress(total=frozen.count, seen=0, changed=0)
        while not progress.is_complete:
            if stop is not None and stop.is_set():
                watching.interrupted()
                break
            ids = frozen.ids[progress.seen : progress.seen + _BATCH]
            with self.database.transaction() as connection:
                resolved = resolve(connection, ids)
            progress = Progress(
                total=progress.total, seen=progress.seen + len(ids), changed=progress.changed + len(resolved)
            )
            watching.tell(progress, resolved)
        if progress.is_complete:
            progress = self._once_more(frozen, progress, resolve, watching, stop)
        return progress

    def _once_more(
        self,
        frozen: Frozen,
        progress: Progress,
        resolve: Callable[[Connection, Sequence[int]], list[Resolved]],
        watching: "_Watching",
        stop: threading.Event | None,
    ) -> Progress:
        """Come back to what was held for a moment, as by a replay's batch; no more than a batch is looked at so."""
        left = self._still_open(frozen.ids)
        for _ in range(_LOOKS):
            if not left or (stop or threading.Event()).wait(_LOOK_SECONDS):
                break
            with self.database.transaction() as connection:
                resolved = resolve(connection, left[:_BATCH])
            progress = replace(progress, changed=progress.changed + len(resolved))
            watching.tell(progress, resolved)
            left = self._still_open(left)
        return replace(progress, left=len(left))

    def _still_open(self, ids: Sequence[int]) -> list[int]:
        with self.database.autocommit() as connection:
            return resolving.still_open(connection, ids)


def _retry(connection: Connection, ids: Sequence[int]) -> list[Resolved]:
    kinds = resolving.list_kinds(connection, ids)
    targets = {group: subscriptions.list_targets(connection, group) for group in {group for group, _ in kinds}}
    found = {(group, type): subscriptions.find_target(targets[group], type) for group, type in kinds}
    return resolving.retry(connection, ids, takers={kind: target.id for kind, target in found.items() if target})


def check_reason(reason: object) -> None:
    """Refuse a reason that says nothing.

    Raises:
        InvalidInput: It is empty, or no text.
    """
    if not is_text(reason) or not reason.strip():
        raise InvalidInput(
            f"reason={reason!r:.60}: say why these dead letters are discarded, in Unicode; it is kept with them."
        )


class _Watching:
    """All who hear of a batch that has committed: the audit first, which must be right if the rest is cut short."""

    def __init__(
        self,
        change: Change,
        message: str,
        watch: Watch | None,
        then: Callable[[Sequence[Resolved]], None] | None = None,
    ) -> None:
        self._change, self._message, self._watch, self._then = change, message, watch, then
        change.changed = 0

    def tell(self, progress: Progress, resolved: Sequence[Resolved]) -> None:
        self._change.changed = progress.changed
        for item in resolved:
            facts = {"dead_letter": item.id, "event_id": str(item.event_id), "group": item.group}
            log.info(self._message, extra=facts)
        if self._then is not None and resolved:
            self._then(resolved)
        if self._watch is not None:
            self._watch(progress)

    def interrupted(self) -> None:
        self._change.result = "interrupted"
