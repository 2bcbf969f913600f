"""Replays: the methods of a bus that deliver parts of the log again."""

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from uuid import UUID

from eventbus.errors import ReplayStopped
from eventbus.lifecycle.replay_planning import Asked, check_rate
from eventbus.lifecycle.replaying import Replaying
from eventbus.operations.showing import Showing
from eventbus.replay import DELIVERED, Replay, ReplayState, total
from eventbus.storage.replays import Job


class ReplayOperations(Showing):
    """The methods of a bus that replay parts of the log."""

    @cached_property
    def replaying(self) -> Replaying:
        """Replays step by step, as the command line runs them: planned, created, run with progress."""
        return Replaying(database=self.database, waking=self.waking, settings=self.settings)

    def replay(
        self,
        pattern: str | None = None,
        *,
        group: str,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        event_ids: Iterable[UUID | str] | None = None,
        correlation_id: str | None = None,
        rate: float | None = None,
        include_dead: bool = False,
        dry_run: bool = False,
    ) -> Replay:
        """Deliver events of the log to *group* again; returns when all are due, not when they are handled.

        All that is given must hold; something must be. What is published after the call is not part of it. If the group has
        subscribed while other transactions were open, it waits until they have ended, and takes what they published along: do
        not call it within one of them.

        Args:
            pattern: An event type or a pattern; ``#`` alone replays the whole log.
            group: Its living subscriptions get the events; those that none of them matches are left out.
            since: From this time on: with an offset, or as in ``2h ago``, ``30m``, ``1d`` by the database's clock.
            until: Before this time.
            event_ids: At most 100,000; ids that name no event are left out.
            rate: At most so many deliveries are made due per second.
            include_dead: Dead and discarded deliveries too, resolving their dead letters.
            dry_run: Only count.

        Returns:
            The job's id, which handlers see as ``delivery.replay``, and how many deliveries the group handles because of it.

        Raises:
            InvalidInput: A subclass says what is wrong. Nothing was changed.
            ReplayStopped: It was cancelled or resumed by another process before its end; its earlier batches stand.
            DatabaseError: Earlier batches stand, and `resume_replay` goes on behind them.
        """
        asked = Asked(
            group=group,
            pattern=pattern,
            since=since,
            until=until,
            event_ids=event_ids,
            correlation_id=correlation_id,
            include_dead=include_dead,
        )
        check_rate(rate)
        planned = self.replaying.plan(asked)
        if dry_run:
            return Replay(id=None, count=planned.count, outcomes=planned.outcomes)
        return self.resume_replay(self.replaying.create(planned, rate=rate).id)

    def replays(
        self,
        *,
        group: str | None = None,
        state: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        cursor: UUID | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """Replay jobs with ids below *cursor*, newest first; all that is given must hold.

        Args:
            since: Created from this time on; *until*: before.
        """
        found = self.replaying.list_newest(
            group=group, state=state, since=since, until=until, before=cursor, limit=limit
        )
        return list(map(self._shown_job, found))

    def find_replay(self, id: UUID) -> Job:
        """The replay job of that id.

        Raises:
            InvalidInput: It is no id.
            UnknownReplay: There is none.
        """
        return self._shown_job(self.replaying.find(id))

    def resume_replay(self, id: UUID) -> Replay:
        """Carry a replay that was interrupted to its end; what it did before is counted, and not done again.

        Raises:
            UnknownReplay: There is none of that id.
            InvalidInput: It is no id, or the replay has ended.
            ReplayStopped: It was cancelled or resumed by another process.
        """
        job = self.replaying.run(id)
        if job.state is not ReplayState.DONE:
            raise ReplayStopped(id, job.state, job.seen, job.total)
        return Replay(id=id, count=total(job.counts, DELIVERED), outcomes=job.counts)

    def cancel_replay(self, id: UUID) -> bool:
        """Give a replay up between two batches, wherever it runs; False if it had ended before.

        Raises:
            InvalidInput: It is no id.
            UnknownReplay: There is none of that id.
        """
        return self.replaying.cancel(id)
