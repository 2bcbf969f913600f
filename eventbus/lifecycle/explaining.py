"""Explaining: why a group did, or did not, get an event; one reason, in a sentence, and what to do about it.

no delivery ─▶ not subscribed | subscribed later | unsubscribed
final       ─▶ done | dead | discarded | cancelled | opted out of replay
open        ─▶ running | worker lost | version unreachable | unsubscribed | paused | no worker | retrying | not yet due | waiting
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from eventbus.delivery import State
from eventbus.errors import UnknownEvent, UnknownGroup
from eventbus.ids import check_id
from eventbus.storage import event_log, subscriptions
from eventbus.storage.database import Database
from eventbus.storage.overview.reasons import Facts, read_facts
from eventbus.storage.overview.stories import Standing
from eventbus.subscription import check_group, matches
from eventbus.wording import moment


class Reason(StrEnum):
    """Why a delivery stands where it stands, or why there is none."""

    NOT_SUBSCRIBED = "not subscribed"  #: no subscription of the group ever matched
    SUBSCRIBED_LATER = "subscribed later"  #: the event was published before
    UNSUBSCRIBED = "unsubscribed"  #: the subscription was removed
    PAUSED = "paused"  #: an operator paused the group
    NO_WORKER = "no worker"  #: nobody who serves the group lives
    WAITING = "waiting"  #: due, behind others
    NOT_YET_DUE = "not yet due"  #: never tried, and to be tried later
    RETRYING = "retrying"  #: failed, and waits out its backoff
    RUNNING = "running"  #: in a worker's hands
    WORKER_LOST = "worker lost"  #: it was in the hands of one that is silent
    VERSION_UNREACHABLE = "version unreachable"  #: no code that serves the group can read it
    DONE = "done"  #: handled
    DEAD = "dead"  #: given up
    DISCARDED = "discarded"  #: given up, and its dead letter discarded
    CANCELLED = "cancelled"  #: its group unsubscribed before it was handled
    OPTED_OUT = "opted out of replay"  #: replayed to a subscription that wants no replays


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The answer to why."""

    reason: Reason
    #: What is so.
    sentence: str
    #: What to do about it; None if nothing needs to be done.
    advice: str | None
    facts: Facts


_Answer = tuple[Reason, str, str | None]


def explain(database: Database, event_id: UUID, group: str) -> Explanation:
    """Why *group* did or did not get the event.

    Raises:
        InvalidInput: It is no id.
        UnknownEvent: No event has that id.
        UnknownGroup: The group never subscribed.
    """
    event_id = check_id("event_id", event_id)
    check_group(group)
    with database.autocommit() as connection:
        facts = read_facts(connection, event_id, group)
        if facts is None:
            if event_log.find(connection, event_id) is None:
                raise UnknownEvent(event_id)
            raise UnknownGroup(group, subscriptions.list_groups(connection))
    return answer(facts)


def answer(facts: Facts) -> Explanation:
    """What *facts* say."""
    reason, sentence, advice = _without_delivery(facts) if facts.standing is None else _of(facts, facts.standing)
    return Explanation(reason=reason, sentence=sentence, advice=advice, facts=facts)


def _without_delivery(facts: Facts) -> _Answer:
    group, event = facts.group.name, facts.event
    meant = [wish for wish in facts.wishes if matches(wish.pattern, event.type)]
    replay = f"eventbus replay run --event-id {event.id} --group {group}"
    living = [wish for wish in meant if wish.removed_at is None]
    if living:
        wish = living[0]
        sentence = f"{group} subscribed to {wish.pattern} at {moment(wish.created_at)}, after the event."
        return Reason.SUBSCRIBED_LATER, sentence, f"deliver it now: {replay}"
    if meant:
        wish = max(meant, key=lambda wish: wish.removed_at or wish.created_at)
        advice = f"subscribe it again (eventbus sync), then: {replay}"
        ended = f"was unsubscribed from {wish.pattern} at {moment(wish.removed_at)}"
        if wish.created_at > event.created_at:
            began = f"subscribed to it at {moment(wish.created_at)}, after the event"
            return Reason.SUBSCRIBED_LATER, f"{group} {ended}; it had {began}.", advice
        return Reason.UNSUBSCRIBED, f"{group} {ended}.", advice
    patterns = ", ".join(wish.pattern for wish in facts.wishes if wish.removed_at is None) or "nothing"
    sentence = f"no subscription of {group} matches {event.type}: it is subscribed to {patterns}."
    return Reason.NOT_SUBSCRIBED, sentence, f"subscribe it to {event.type} in code, then deliver it: {replay}"


def _of(facts: Facts, standing: Standing) -> _Answer:
    answers: dict[State, Callable[[Facts, Standing], _Answer]] = {
        State.DONE: _done,
        State.DEAD: _dead,
        State.CANCELLED: _cancelled,
        State.SKIPPED: _skipped,
        State.RUNNING: _running,
        State.PARKED: _parked,
    }
    return answers.get(standing.state, _waiting)(facts, standing)


def _done(_facts: Facts, standing: Standing) -> _Answer:
    where = f" by {standing.worker}" if standing.worker else ""
    replayed = f", as part of replay {standing.replay_id}" if standing.replay_id else ""
    return Reason.DONE, f"handled{where} at {moment(standing.finished_at)}{replayed}.", None


def _dead(facts: Facts, standing: Standing) -> _Answer:
    number = facts.letter.id if facts.letter else None
    tries = f"{standing.attempts} failed runs and {standing.deaths} lost processes"
    sentence = f"given up after {tries}: {_first_line(standing.last_error)}"
    advice = f"see eventbus dead show {number}; then: eventbus dead retry {number} --group {standing.group}"
    return Reason.DEAD, sentence, advice


def _cancelled(facts: Facts, standing: Standing) -> _Answer:
    if facts.letter is not None and facts.letter.status == "discarded":
        sentence = f"its dead letter {facts.letter.id} was discarded: {facts.letter.note}"
        return Reason.DISCARDED, sentence, f"bring it back: eventbus dead restore {facts.letter.id}"
    sentence = f"cancelled at {moment(standing.finished_at)}, when {standing.group} was unsubscribed."
    return Reason.CANCELLED, sentence, f"eventbus replay run --event-id {standing.event_id} --group {standing.group}"


def _skipped(_facts: Facts, standing: Standing) -> _Answer:
    sentence = f"replay {standing.replay_id} came to a subscription that opts out of replays."
    return Reason.OPTED_OUT, sentence, "declare the subscription with replay='run', and replay again."


def _parked(_facts: Facts, standing: Standing) -> _Answer:
    sentence = f"no worker of {standing.group} can read this version of the event: {_first_line(standing.last_error)}"
    return Reason.VERSION_UNREACHABLE, sentence, "deploy code that knows the version, or add an upcaster."


def _running(facts: Facts, standing: Standing) -> _Answer:
    if standing.due_at is not None and standing.due_at <= facts.asked_at:
        sentence = f"{standing.worker} had it and was not heard of since {moment(standing.due_at)}."
        if facts.group.paused:
            sentence = f"{sentence[:-1]}; {standing.group} {facts.group.pause}."
            return Reason.WORKER_LOST, sentence, _resume(standing.group)
        return Reason.WORKER_LOST, sentence, None if facts.workers else _start(standing.group)
    return Reason.RUNNING, f"{standing.worker} has it; its lease lasts until {standing.due_at:%H:%M:%S} UTC.", None


def _waiting(facts: Facts, standing: Standing) -> _Answer:
    group = standing.group
    wish = next(wish for wish in facts.wishes if wish.id == standing.subscription_id)
    if wish.removed_at is not None:
        living = [each.pattern for each in facts.wishes if each.removed_at is None]
        home = next((pattern for pattern in living if matches(pattern, facts.event.type)), None)
        outcome = "cancels it" if home is None else f"hands it to its subscription to {home}"
        sentence = f"{group} was unsubscribed from {wish.pattern} before it was handled; the next sweep {outcome}."
        return Reason.UNSUBSCRIBED, sentence, "eventbus sweep does so at once."
    if facts.group.paused:
        return Reason.PAUSED, f"{group} {facts.group.pause}.", _resume(group)
    if not facts.workers:
        return Reason.NO_WORKER, f"no living worker serves {group}.", _start(group)
    if standing.due_at is not None and standing.due_at > facts.asked_at:
        return _later(standing)
    names = ", ".join(worker.name for worker in facts.workers)
    sentence = f"due since {moment(standing.due_at)}, and waits its turn at {names}."
    advice = (
        f"if it does not move, 'eventbus sweep' wakes them at once; or their code may not know {wish.pattern} "
        f"({wish.handler}): restart them"
    )
    return Reason.WAITING, sentence, advice


def _later(standing: Standing) -> _Answer:
    until = moment(standing.due_at)
    if standing.state is State.RETRYING:
        tries = standing.attempts + standing.deaths
        return (
            Reason.RETRYING,
            f"run {tries} failed ({_first_line(standing.last_error)}); it runs again at {until}.",
            None,
        )
    return Reason.NOT_YET_DUE, f"it may be taken from {until} on.", None


def _resume(group: str) -> str:
    return f"eventbus groups resume {group}"


def _start(group: str) -> str:
    return f"start one: eventbus -A MODULE worker {group}"


def _first_line(text: str | None) -> str:
    return (text or "no error was kept").splitlines()[0]
