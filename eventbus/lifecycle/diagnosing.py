"""Diagnosing: a check-up of the whole bus; each finding one sentence, and what to do about it.

servers ─▶ reachable, and with our tables? ─▶ does somebody hold them locked? ─▶ groups · workers · types · the database itself
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from eventbus.broker import Broker
from eventbus.lifecycle import health
from eventbus.lifecycle.health import Verdict
from eventbus.storage.database import Database
from eventbus.storage.overview.condition import Condition, read_clock, read_condition
from eventbus.storage.overview.groups import GroupState
from eventbus.storage.overview.locks import Blocker, list_blockers
from eventbus.storage.workers import Seen
from eventbus.subscription import matches
from eventbus.wording import span

#: A group whose oldest due delivery waits longer is late.
LATE = timedelta(minutes=1)
#: A transaction that is open longer keeps vacuum from its work.
OLD_SNAPSHOT = timedelta(minutes=10)
#: Whoever waits longer for a lock on a table of the bus waits for somebody who has forgotten it: the bus itself locks for less.
LOCKED = timedelta(seconds=6)
#: A host whose clock is further off shows times that mislead.
SKEW = timedelta(seconds=2)
#: More wake-ups in an hour say that messages are lost, or that workers are too few.
MANY_REPAIRS = 1000


class Level(StrEnum):
    """What a finding means."""

    OK = "ok"
    NOTICE = "notice"  #: may be meant so
    FAULT = "fault"  #: somebody must act


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of a check-up."""

    check: str
    level: Level
    sentence: str
    #: What to do; None if nothing.
    advice: str | None = None
    #: The group, worker or type that it is about; None if that is the whole bus.
    subject: str | None = None
    #: It is about a server that cannot be reached.
    is_away: bool = False


def diagnose(
    database: Database, broker: Broker, *, version: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> list[Finding]:
    """All findings; only those about the servers if PostgreSQL cannot be asked, and about locks while somebody waits for one.

    Args:
        version: Of this code.
        clock: This host's.
    """
    servers = health.check(database, broker)
    found = [
        _answer(
            "broker", servers.broker, "see that it runs, and takes messages; deliveries wait in PostgreSQL meanwhile."
        ),
        _answer("database", servers.database, "see that it runs."),
    ]
    if servers.database.verdict is not Verdict.OK:
        return found
    with database.autocommit() as connection:
        # These first, and alone: whoever asks a table that is locked waits with the others.
        locked = [_locked(each) for each in list_blockers(connection, least=LOCKED)]
        if locked:
            return [*found, *locked]
        before = clock()
        there = read_clock(connection)
        after = clock()
        condition = read_condition(connection)
    found.append(_skew(before, there, after))
    parts = (_database, _workers, _namesakes, _groups, _types, _repairs)
    return [*found, *(finding for part in parts for finding in part(condition, version))]


def _answer(name: str, answer: health.Answer, advice: str) -> Finding:
    if answer.verdict is Verdict.OK:
        return Finding(check=name, level=Level.OK, sentence=f"the {name} answers.")
    is_away = answer.verdict is Verdict.UNREACHABLE
    sentence = answer.reason or str(answer.verdict)
    # What is reached and unfit says itself what it lacks.
    return Finding(
        check=name, level=Level.FAULT, sentence=sentence, advice=advice if is_away else None, is_away=is_away
    )


def _locked(blocker: Blocker) -> Finding:
    waiters = "another one who waits" if blocker.waiters == 1 else f"{blocker.waiters:,} others who wait"
    sentence = (
        f"{blocker.holder} holds up {waiters} for a lock on {blocker.table}, the first for {span(blocker.wait)} now."
    )
    advice = "end it: pg_terminate_backend() with its number does, or ROLLBACK PREPARED. Then ask again: all else had to wait."
    return Finding(check="lock", level=Level.FAULT, sentence=sentence, advice=advice)


def _skew(before: datetime, there: datetime, after: datetime) -> Finding:
    """The database's clock must lie between both of ours, or nearly so."""
    off = max(before - there, there - after, timedelta())
    if off <= SKEW:
        return Finding(check="clock", level=Level.OK, sentence="this host's clock agrees with the database's.")
    sentence = f"this host's clock is {off.total_seconds():.0f} s off the database's."
    return Finding(check="clock", level=Level.NOTICE, sentence=sentence, advice="let both hosts follow a time server.")


def _database(condition: Condition, _version: str) -> Iterator[Finding]:
    yield Finding(check="server", level=Level.OK, sentence=f"PostgreSQL {condition.server_version}.")
    snapshot = condition.snapshot
    if snapshot is not None and snapshot.age > OLD_SNAPSHOT:
        sentence = f"{snapshot.holder} has been in a transaction for {span(snapshot.age)}; vacuum waits for it."
        yield Finding(check="snapshot", level=Level.FAULT, sentence=sentence, advice="end it, or ask its owner to.")
    else:
        yield Finding(check="snapshot", level=Level.OK, sentence="no transaction has been open for long.")
    ensure = "let a worker run whose role may create tables, or run SELECT eventbus.ensure_partitions()."
    if not condition.has_next_partition:
        sentence = "there is no partition for the next week."
        yield Finding(check="partitions", level=Level.FAULT, sentence=sentence, advice=ensure)
    elif condition.has_strays:
        sentence = "some events lie in the default partition."
        advice = f"{ensure} What is of a week that is over stays there, and is found all the same."
        yield Finding(check="partitions", level=Level.NOTICE, sentence=sentence, advice=advice)
    else:
        yield Finding(check="partitions", level=Level.OK, sentence="there is one for the next week.")


def _workers(condition: Condition, version: str) -> Iterator[Finding]:
    if not any(worker.groups for worker in condition.workers):
        sentence, advice = "no worker is running.", "start one: eventbus -A MODULE worker"
        level = Level.FAULT if condition.groups else Level.NOTICE
        yield Finding(check="workers", level=level, sentence=sentence, advice=advice)
    for worker in condition.workers:
        sentence = f"{worker.name} ({worker.pool} x {worker.concurrency}, version {worker.version}) serves " + (
            ", ".join(worker.groups) or "no group"
        )
        if not worker.groups:
            advice = "its -Q names no group's queue: start it by 'eventbus worker GROUP'."
            yield Finding(check="worker", level=Level.NOTICE, sentence=f"{sentence}.", advice=advice)
            continue
        differs = worker.version != version
        yield Finding(
            check="worker",
            level=Level.NOTICE if differs else Level.OK,
            sentence=f"{sentence}.",
            subject=worker.name,
            advice=f"this command has version {version}: finish the deploy." if differs else None,
        )


def _namesakes(condition: Condition, _version: str) -> Iterator[Finding]:
    """Workers of one name that live at once; one that was killed was not seen since the start of the one in its place."""
    by_name: dict[str, list[Seen]] = {}
    for worker in condition.workers:  # by name, then start
        by_name.setdefault(worker.name, []).append(worker)
    for name, workers in by_name.items():
        at_once = [each for each in workers if each.seen_at >= workers[-1].started_at]
        if len(at_once) > 1:
            places = ", ".join(f"process {each.pid} on {each.host}" for each in at_once)
            yield Finding(
                check="worker",
                level=Level.NOTICE,
                sentence=f"{len(at_once)} workers are called {name}: {places}.",
                subject=name,
                advice="they take each other's messages: give each a name of its own, as with -n inventory-1@%h.",
            )


def _removed(group: GroupState, *, is_served: bool) -> Iterator[Finding]:
    """What is left of a group without a subscription."""
    if is_served:
        sentence = f"{group.name} has a worker, but no subscription: it was removed."
        replay = f"'eventbus replay run \"#\" --group {group.name} --since' the removal"
        advice = f"stop the worker; or, to undo the removal: 'eventbus -A MODULE sync' with its code, then {replay}."
        yield Finding(check="group", level=Level.NOTICE, sentence=sentence, advice=advice, subject=group.name)
    elif group.lag:
        sentence = f"{group.name} was removed, but some of its deliveries are still open."
        advice = f"cancel them: eventbus groups remove {group.name}"
        yield Finding(check="group", level=Level.NOTICE, sentence=sentence, advice=advice, subject=group.name)


def _groups(condition: Condition, _version: str) -> Iterator[Finding]:
    served = {name for worker in condition.workers for name in worker.groups}
    wanting = {wish.group for wish in condition.wishes if wish.removed_at is None}
    for group in condition.groups:
        dead = sum(count for (_, name), count in condition.dead.items() if name == group.name)
        if dead:
            advice = f"eventbus dead list --group {group.name}"
            sentence = f"{group.name} has {dead:,} dead letters."
            yield Finding(check="dead", level=Level.NOTICE, sentence=sentence, advice=advice, subject=group.name)
        if parked := condition.parked.get(group.name):
            advice = f"deploy code that reads their versions: eventbus schema parked --group {group.name}"
            sentence = f"{group.name} has {parked:,} parked deliveries, which its code cannot read."
            yield Finding(check="parked", level=Level.NOTICE, sentence=sentence, advice=advice, subject=group.name)
        if group.name not in wanting:
            yield from _removed(group, is_served=group.name in served)
        elif group.paused:
            advice = f"eventbus groups resume {group.name}"
            sentence = f"{group.name} {group.pause}."
            yield Finding(check="group", level=Level.NOTICE, sentence=sentence, advice=advice, subject=group.name)
        elif group.name not in served:
            waits = f"its oldest due delivery has waited for {span(group.lag)}" if group.lag else "nothing of it is due"
            sentence = f"{group.name} has no worker; {waits}."
            advice = f"start one: eventbus -A MODULE worker {group.name}"
            if not group.lag:
                advice += f"; if nobody needs the group any more: eventbus groups remove {group.name}"
            yield Finding(check="group", level=Level.FAULT, sentence=sentence, advice=advice, subject=group.name)
        elif group.lag > LATE:
            sentence = f"{group.name} is {span(group.lag)} late."
            advice = (
                "start more workers, or see what its handlers wait for; 'eventbus why' explains one delivery, and if workers are "
                "idle, 'eventbus sweep' wakes them."
            )
            yield Finding(check="group", level=Level.FAULT, sentence=sentence, advice=advice, subject=group.name)
        else:
            yield Finding(check="group", level=Level.OK, sentence=f"{group.name} keeps up.", subject=group.name)


def _types(condition: Condition, _version: str) -> Iterator[Finding]:
    living = [wish for wish in condition.wishes if wish.removed_at is None]
    for type in condition.types:
        if not any(matches(wish.pattern, type) for wish in living):
            yield Finding(
                check="type",
                level=Level.NOTICE,
                sentence=f"nobody consumes {type}.",
                subject=type,
                advice="subscribe a group to it, or stop publishing it.",
            )
    for wish in living:
        if not any(matches(wish.pattern, type) for type in condition.types):
            sentence = f"{wish.group}'s subscription to {wish.pattern} never matched an event."
            advice = "see whether it is misspelt."
            yield Finding(
                check="subscription", level=Level.NOTICE, sentence=sentence, advice=advice, subject=wish.group
            )


def _repairs(condition: Condition, _version: str) -> Iterator[Finding]:
    for group, sent in condition.repairs.items():
        if sent.in_hour > MANY_REPAIRS:
            sentence = f"relays sent {sent.in_hour:,} wake-ups for {group} this hour."
            advice = (
                "messages are lost (see the broker's memory and eviction policy), its workers are too few, "
                "or many runs fail and are tried again after more than a minute."
            )
            yield Finding(check="relay", level=Level.FAULT, sentence=sentence, advice=advice, subject=group)
