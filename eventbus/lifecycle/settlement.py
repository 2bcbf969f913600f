"""Settlement: how a run ended becomes the delivery's state, while its claim holds and at no other time.

None ─────────▶ Done
an exception ─▶ Retrying(wait)   attempt charged, due again after the backoff
            └─▶ Dead(letter)     attempt charged, dead letter written, all in one transaction
a lost claim ─▶ Fenced           nothing changes: somebody else has the delivery
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from eventbus.failure import Failure, from_death, from_exception, from_summary
from eventbus.ids import IdRange
from eventbus.lifecycle.publishing import describe
from eventbus.retry import RetryPolicy
from eventbus.storage import dead_letters, settling
from eventbus.storage.attempts import add_attempt
from eventbus.storage.claiming import Claimed
from eventbus.storage.database import Connection, Database

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Done:
    """The handler's work counts."""

    #: It was replayed while it ran, and is as if new again.
    again: bool = False


@dataclass(frozen=True, kw_only=True)
class Retrying:
    """It failed, and is due again after ``wait``."""

    wait: timedelta
    #: Failed runs so far.
    attempts: int


@dataclass(frozen=True, kw_only=True)
class Dead:
    """It was given up."""

    #: None if it was replayed while it ran, and is as if new again.
    letter_id: int | None

    @property
    def again(self) -> bool:
        return self.letter_id is None


@dataclass(frozen=True, kw_only=True)
class Fenced:
    """The claim was lost before; nothing was changed."""


Outcome = Done | Retrying | Dead | Fenced
Result = TypeVar("Result", bound=Outcome)


def settle_done(database: Database, claimed: Claimed) -> Done | Fenced:
    """Settle *claimed*, whose handler returned; a server that crashes at this moment may forget it, and repeats the work."""
    with database.autocommit() as connection:
        states = settling.mark_many_done(connection, [claimed.event], group=claimed.group, claim=claimed.claim)
    return report(claimed, as_done(states.get(claimed.event.id)))


def settle_alone(
    database: Database, claimed: Claimed, *, subscriptions: Sequence[int], near: IdRange
) -> tuple[Done | Fenced, bool]:
    """The same, and whether another delivery of these *subscriptions* of its group is due *near*, as far as is known."""
    with database.autocommit() as connection:
        found = settling.mark_alone_done(connection, claimed, subscriptions=subscriptions, near=near)
    state, is_more_due = found or (None, True)
    return report(claimed, as_done(state)), is_more_due


@dataclass(kw_only=True)
class Marking:
    """How *claimed*, whose handler returned, is settled at the end of its session's transaction, and what became of it."""

    claimed: Claimed
    #: None as long as nothing is settled.
    outcome: Done | Fenced | None = None

    def commit(self, connection: Connection, *, waits: bool) -> bool:
        """Settle it by the statement that also commits; False if that did nothing: then `mark`, and commit."""
        is_done = settling.commit_done(connection, self.claimed, waits=waits)
        if is_done:
            self.outcome = Done()
        return is_done

    def mark(self, connection: Connection) -> bool:
        """Settle it by the last statement of a transaction that the caller commits; False if the claim is lost."""
        self.outcome = as_done(settling.mark_done(connection, self.claimed))
        return isinstance(self.outcome, Done)


def as_done(state: str | None) -> Done | Fenced:
    """What the new state of a delivery whose handler returned means; None if its claim was lost."""
    return Fenced() if state is None else Done(again=state == "pending")


def settle_failed(
    database: Database, claimed: Claimed, error: BaseException, *, policy: RetryPolicy, worker: str
) -> Retrying | Dead | Fenced:
    """Settle *claimed*, whose handler ended with *error*: charge an attempt, then retry or give up as *policy* says."""
    attempts = claimed.attempts + 1
    failure = from_exception(error, group=claimed.group)
    if policy.allows_retry(attempts=attempts, error=error):
        return _retry(database, claimed, failure, wait=policy.wait(attempts), worker=worker)
    return settle_dead(database, claimed, failure, worker=worker)


def settle_found_failed(
    database: Database, claimed: Claimed, summary: str, *, policy: RetryPolicy, worker: str
) -> Retrying | Dead | Fenced:
    """Settle *claimed*, which failed in a process that died before it could settle it; *summary* is what it left."""
    attempts, failure = claimed.attempts + 1, from_summary(summary, group=claimed.group)
    # The exception itself is gone, so what `give_up_on` says of it cannot be asked any more.
    if attempts <= policy.max_retries:
        return _retry(database, claimed, failure, wait=policy.wait(attempts), worker=worker)
    return settle_dead(database, claimed, failure, worker=worker)


def settle_died(
    database: Database, claimed: Claimed, reason: str, *, policy: RetryPolicy, worker: str
) -> Retrying | Dead | Fenced:
    """Settle *claimed*, whose process died in its handler: charge a death, then retry or give up as *policy* says."""
    deaths = claimed.deaths + 1
    failure = from_death(reason, group=claimed.group)
    if deaths < policy.death_limit:
        # Most deaths are not the event's fault: the first costs it no time.
        wait = policy.wait(deaths - 1) if deaths > 1 else timedelta()
        return _retry(database, claimed, failure, wait=wait, worker=worker)
    return settle_dead(database, claimed, failure, worker=worker)


def settle_dead(database: Database, claimed: Claimed, failure: Failure, *, worker: str) -> Dead | Fenced:
    """Give *claimed* up after *failure*, with its dead letter; idempotent, for a claim is lost by settling it."""
    attempts, deaths = int(failure.kind == "error"), int(failure.kind == "death")
    with database.transaction() as connection:
        state = settling.mark_dead(connection, claimed, error=failure.summary, attempts=attempts, deaths=deaths)
        if state is None:
            return report(claimed, Fenced())
        add_attempt(connection, claimed, failure, worker=worker, state=state)
        letter = dead_letters.open_letter(connection, claimed, failure) if state == "dead" else None
    return report(claimed, Dead(letter_id=letter), failure)


def _retry(
    database: Database, claimed: Claimed, failure: Failure, *, wait: timedelta, worker: str
) -> Retrying | Fenced:
    attempts, deaths = int(failure.kind == "error"), int(failure.kind == "death")
    with database.transaction() as connection:
        kept = settling.mark_retrying(
            connection, claimed, wait=wait, error=failure.summary, attempts=attempts, deaths=deaths
        )
        if not kept:
            return report(claimed, Fenced())
        add_attempt(connection, claimed, failure, worker=worker, state="retrying")
    return report(claimed, Retrying(wait=wait, attempts=claimed.attempts + attempts), failure)


def report(claimed: Claimed, outcome: Result, failure: Failure | None = None) -> Result:
    """Log what became of *claimed*, and return it."""
    if isinstance(outcome, Done) and not log.isEnabledFor(logging.INFO):
        return outcome  # the usual case of a fast consumer: putting facts together that nobody reads would slow it
    extra = {**describe(claimed.event), "group": claimed.group, "attempt": claimed.attempts + claimed.deaths + 1}
    if failure is not None:
        extra |= {"error_type": failure.error_type, "fingerprint": failure.fingerprint}
    match outcome:
        case Done():
            log.info("delivery_done", extra=extra)
        case Retrying(wait=wait):
            log.warning("delivery_retrying", extra={**extra, "wait_seconds": wait.total_seconds()})
        case Dead(letter_id=letter):
            log.error("delivery_dead", extra={**extra, "dead_letter": letter})
        case _:
            log.warning("delivery_fenced", extra=extra)
    return outcome
