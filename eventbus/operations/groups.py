"""Groups: the methods of a bus that show, write and remove subscriptions."""

import threading
from collections.abc import Callable
from contextlib import nullcontext

from eventbus.lifecycle import registration
from eventbus.lifecycle.auditing import audited
from eventbus.operations.parts import Parts
from eventbus.storage import subscriptions as stored_subscriptions
from eventbus.storage.subscriptions import Stored


class GroupOperations(Parts):
    """What a bus does with subscriptions that are stored."""

    def sync(self, *, replace: bool = False) -> list[Stored]:
        """Write all schemas and subscriptions that this code declares to the database; nothing is ever deleted.

        Args:
            replace: Let a declared subscription take the place of those that it conflicts with.

        Returns:
            All subscriptions that are stored now, by group and pattern.

        Raises:
            IncompatibleSchema, SchemaEditedInPlace, SchemaNotRegistered, UpcasterConflict: Nothing was changed.
            SubscriptionConflict: No subscription was changed.
        """
        self.catalog.register()
        self.catalog.refuse_gaps()
        # What is declared is no change of an operator's; what is replaced is.
        meant = {"groups": self.subscriptions.groups()}
        with audited(self.database, "sync replace", meant) if replace else nullcontext():
            registration.register(self.database, self.subscriptions, settings=self.settings, replace=replace)
        return self.groups()

    def groups(self) -> list[Stored]:
        """All subscriptions of all groups, by group and pattern."""
        with self.database.autocommit() as connection:
            return stored_subscriptions.list_subscriptions(connection)

    def open_deliveries(self, group: str, *, pattern: str | None = None) -> int:
        """How many deliveries `remove_group` would cancel now.

        Raises:
            UnknownGroup: It is not subscribed, or not to that pattern.
        """
        return registration.open_deliveries(self.database, group, pattern)

    def remove_group(
        self,
        group: str,
        *,
        pattern: str | None = None,
        watch: Callable[[int], None] = lambda _cancelled: None,
        stop: threading.Event | None = None,
    ) -> int:
        """Unsubscribe *group*, from all or from *pattern*; the number of open deliveries that were cancelled.

        Args:
            watch: Told how many were cancelled so far, after each batch.
            stop: When set, no other batch is begun; workers' relays, and `sweep`, cancel the rest.

        Raises:
            UnknownGroup: It is not subscribed, or not to that pattern. Nothing was changed.
        """
        return registration.remove(self.database, group, pattern, watch=watch, stop=stop)

    def pause_group(self, group: str) -> bool:
        """Let no worker take deliveries of *group* any more; what runs ends. False if it was paused before.

        Raises:
            UnknownGroup: It never subscribed.
        """
        return registration.set_paused(self.database, group, paused=True)

    def resume_group(self, group: str) -> bool:
        """Let workers take deliveries of *group* again; within two seconds they do. False if it was not paused.

        Raises:
            UnknownGroup: It never subscribed.
        """
        return registration.set_paused(self.database, group, paused=False)
