"""Accounting: a process has died, and its slot says what it held.

    STARTED  ─▶ charged a death: it was this handler that ran; a failed attempt, if it was ended because its time was up
    RETURNED ─▶ done, for its handler had returned
    FAILED   ─▶ failed, for its handler had failed
    FOUND_DEAD ─▶ charged the death of its earlier run
    CLAIMED, RELEASED, and what it had no time to note ─▶ given back, uncharged

Each settlement asks for the claim that the slot names, so whatever was taken over meanwhile is left alone.
"""

import logging
from collections.abc import Callable
from uuid import UUID

from eventbus.errors import HandlerTimeout
from eventbus.lifecycle import settlement
from eventbus.lifecycle.execution import Execution
from eventbus.lifecycle.slots import Account, Status
from eventbus.storage import claiming, settling
from eventbus.storage.claiming import Claimed

log = logging.getLogger(__name__)


def settle_account(execution: Execution, account: Account, *, reason: str, is_timeout: bool = False) -> None:
    """Settle all that the dead process of *account* held, and free its slot.

    Args:
        reason: What ended the process, for the dead letter.
        is_timeout: It was ended because its handler ran beyond its time limit, and did not listen.

    Raises:
        DatabaseError: Not all is settled yet; a repeat goes on where this ended.
    """
    # It may have gone on after it was listed and before it was found dead: only now is what its slot says final.
    account = execution.slots.reread(account)
    if account.claim:
        started, failed = account.ids(Status.STARTED), account.ids(Status.FAILED)
        charge = _charge_timeout if is_timeout else _charge_death
        _each(execution, account, started, lambda claimed: charge(execution, claimed, reason))
        _each(execution, account, failed, lambda claimed: _fail(execution, claimed, account.error))
        returned = account.ids(Status.RETURNED)
        _each(execution, account, returned, lambda claimed: settlement.settle_done(execution.database, claimed))
        found_dead = account.ids(Status.FOUND_DEAD)
        _each(execution, account, found_dead, execution.charge_death)
        given_back = _give_back(execution, account)
        counts = {"started": len(started), "failed": len(failed), "returned": len(returned), "given_back": given_back}
        log.warning("process_died", extra={"pid": account.pid, "group": account.group, "reason": reason, **counts})
    execution.slots.release(account)


def _give_back(execution: Execution, account: Account) -> int:
    """Return what was never started: what the slot names, and what was claimed and not noted any more."""
    unstarted = account.ids(Status.CLAIMED, Status.RELEASED)
    with execution.database.autocommit() as connection:
        named = settling.give_back(connection, unstarted, group=account.group, claim=account.claim)
    return len(named) + execution.give_back(account.group, account.claim)


def _each(execution: Execution, account: Account, ids: list[UUID], settle: Callable[[Claimed], object]) -> None:
    for id in ids:
        with execution.database.autocommit() as connection:
            claimed = claiming.find_held(connection, id, group=account.group, claim=account.claim)
        # Its subscription may have been replaced meanwhile: those who know the new one find the row when its lease ends.
        if claimed is not None and claimed.subscription_id in execution.known.ids(account.group):
            settle(claimed)


def _charge_death(execution: Execution, claimed: Claimed, reason: str) -> None:
    policy = execution.subscription(claimed).retry
    text = f"{reason} (run {claimed.attempts + claimed.deaths + 1})"
    settlement.settle_died(execution.database, claimed, text, policy=policy, worker=execution.worker)


def _charge_timeout(execution: Execution, claimed: Claimed, reason: str) -> None:
    subscription = execution.subscription(claimed)
    seconds = subscription.timeout.total_seconds()
    error = HandlerTimeout(f"the handler ran longer than its timeout of {seconds:g} s: {reason}.")
    settlement.settle_failed(execution.database, claimed, error, policy=subscription.retry, worker=execution.worker)


def _fail(execution: Execution, claimed: Claimed, summary: str) -> None:
    policy = execution.subscription(claimed).retry
    settlement.settle_found_failed(execution.database, claimed, summary, policy=policy, worker=execution.worker)
