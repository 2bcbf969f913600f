"""The statements of eventbus/storage that change deliveries, as the machine calls them: each on a connection, none commits."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from eventbus.delivery import State
from eventbus.failure import from_death, from_exception
from eventbus.storage import claiming, dead_letters, redelivery, resolving, settling
from eventbus.storage.claiming import Claimant, Claimed
from eventbus.storage.database import Connection
from eventbus.storage.redelivery import Wanted

GROUP = "a"
#: Leases and backoffs end when the machine says so, not by themselves.
LONG = timedelta(hours=1)


def claim_named(connection: Connection, event_id: UUID, *, subscription: int) -> list[Claimed]:
    """The delivery of one event, if it is due."""
    found = claiming.claim_named(connection, event_id, group=GROUP, subscriptions=[subscription], claimant=_claimant())
    return [found] if found else []


def claim_fresh(connection: Connection, *, subscription: int, limit: int) -> list[Claimed]:
    """Some that were never tried."""
    return claiming.claim_fresh(
        connection, group=GROUP, subscriptions=[subscription], claimant=_claimant(), limit=limit
    )


def claim_tried(connection: Connection, *, subscription: int, suspects: bool) -> list[Claimed]:
    """One that was tried before."""
    found = claiming.claim_tried(
        connection, group=GROUP, subscriptions=[subscription], claimant=_claimant(suspects=suspects)
    )
    return [found] if found else []


def commit_start(connection: Connection, claimed: Claimed) -> bool:
    """Whether the claim still held."""
    return claiming.commit_start(connection, claimed, lease=LONG)


def mark_done(connection: Connection, claimed: Claimed) -> str | None:
    """The new state; None if the claim is lost."""
    return settling.mark_done(connection, claimed)


def mark_many_done(connection: Connection, claimed: Sequence[Claimed]) -> set[UUID]:
    """Those whose claim held."""
    events = [item.event for item in claimed]
    return set(settling.mark_many_done(connection, events, group=GROUP, claim=claimed[0].claim))


def mark_retrying(connection: Connection, claimed: Claimed, *, death: bool) -> bool:
    """Whether the claim still held."""
    charge = {"attempts": int(not death), "deaths": int(death)}
    return settling.mark_retrying(connection, claimed, wait=LONG, error="no", **charge)


def mark_dead(connection: Connection, claimed: Claimed, *, death: bool) -> str | None:
    """The new state, with its dead letter if that is dead; None if the claim is lost."""
    failure = from_death("it died") if death else from_exception(ValueError("no"))
    charge = {"attempts": int(not death), "deaths": int(death)}
    state = settling.mark_dead(connection, claimed, error="no", **charge)
    if state == "dead":
        dead_letters.open_letter(connection, claimed, failure)
    return state


def give_back(connection: Connection, claimed: Claimed) -> bool:
    """Whether the claim still held."""
    ids = settling.give_back(connection, [claimed.event.id], group=GROUP, claim=claimed.claim)
    return claimed.event.id in ids


def renew(connection: Connection, claimed: Sequence[Claimed]) -> int:
    """How many were renewed, of what was claimed at once."""
    ids = [item.event.id for item in claimed]
    return settling.renew(connection, ids, group=GROUP, claim=claimed[0].claim, lease=LONG)


def lock_for_replay(connection: Connection, event_ids: Sequence[UUID]) -> Mapping[UUID, State]:
    """The first half of a replay: lock, and read how each stands."""
    return redelivery.lock_states(connection, event_ids, group=GROUP)


def replay(connection: Connection, states: Mapping[UUID, State], *, subscription: int) -> None:
    """The second half: what has ended is reset, what is open is stamped."""
    ended = [id for id, state in states.items() if state in ("done", "dead", "cancelled")]
    wanted = [Wanted(event_id=id, subscription_id=subscription, opts_out=False) for id in ended]
    job = uuid4()
    redelivery.reset(connection, wanted, group=GROUP, replay=job)
    redelivery.stamp_open(connection, [id for id in states if id not in ended], group=GROUP, replay=job)


def resolve(connection: Connection, letter_id: int, *, verb: str, subscription: int) -> bool:
    """Retry or discard one dead letter; whether it was still open."""
    if verb == "retry":
        takers = dict.fromkeys(resolving.list_kinds(connection, [letter_id]), subscription)
        return bool(resolving.retry(connection, [letter_id], takers=takers))
    return bool(resolving.discard(connection, [letter_id], reason="hopeless"))


def _claimant(**options: Any) -> Claimant:
    return Claimant(worker="machine", task_id=None, lease=LONG, **options)
