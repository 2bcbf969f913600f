"""A machine that runs the real statements from several connections, in any order, and expects of each what the model says.

    rule ─▶ statement on one of the connections ─┬─ its answer     ┐
                    model: delivery.py + locks ──┴─ what is due ───┴─▶ equal, after every step; and in the end all can be settled

Transactions stay open between statements. Claims are kept for ever, those that were rolled back too: any of them may come back
as a zombie's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from eventbus.storage.claiming import Claimed
from eventbus.storage.database import Database
from tests.model import delivery, statements
from tests.model.clients import Blocked, Client, Clients
from tests.model.delivery import RETRYING, RUNNING, Claim, Row
from tests.model.rules import Rules
from tests.support.rows import Rows

CLIENTS, DELIVERIES = 3, 2
_RULES = Rules()
_WRITE = """
WITH gone AS (DELETE FROM eventbus.dead_letter), also AS (DELETE FROM eventbus.delivery), log AS (DELETE FROM eventbus.event_log)
SELECT 1
"""
_INSERT = """
WITH made AS (
    INSERT INTO eventbus.event_log (id, type, version, source, data, metadata, created_at)
    SELECT eventbus.uuid_v7(at, gen_random_uuid()), 'order.created', 1, 'tests', '{}', '{"correlation_id": "c"}', at
    FROM generate_series(1, %s) AS n
    CROSS JOIN LATERAL (SELECT clock_timestamp() - interval '1 minute' + n * interval '1 second' AS at) AS clock
    RETURNING id, created_at
)
INSERT INTO eventbus.delivery (event_id, group_name, subscription_id, due_at)
SELECT id, 'a', %s, created_at FROM made RETURNING event_id::text
"""
_PAST = "UPDATE eventbus.delivery SET due_at = clock_timestamp() - interval '1 second' WHERE event_id = %s"
_READ = """
SELECT d.event_id::text, d.state, d.due_at <= clock_timestamp(), d.attempts, d.deaths, d.claim, d.suspect, d.started_at IS NOT NULL,
       d.rerun, l.id, coalesce(l.status, 'none')
FROM eventbus.delivery AS d LEFT JOIN LATERAL (
    SELECT id, status FROM eventbus.dead_letter WHERE event_id = d.event_id AND group_name = d.group_name ORDER BY id DESC LIMIT 1
) AS l ON true
"""


@dataclass(frozen=True, eq=False)
class Held:
    """A claim that somebody has made, and believes in."""

    i: int
    claimed: Claimed
    claim: Claim


#: Which client; of three statements, the transaction stays open after one.
clients = st.integers(0, 3 * CLIENTS - 1)
numbers = st.integers(0, DELIVERIES - 1)
outcomes = st.sampled_from(["done", "done", "retrying", "dead", "given back"])


class StatementMachine(RuleBasedStateMachine):
    """Three connections at three deliveries of one group."""

    #: Set by the test that runs it.
    database: Database
    rows: Rows
    subscription: int

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.rows.all(_WRITE)
        made = self.rows.all(_INSERT, DELIVERIES, self.subscription)
        self.events = [UUID(id) for (id,) in made]
        self.places = {id: i for i, id in enumerate(self.events)}
        self.clients = Clients(self.database, count=CLIENTS, rows=DELIVERIES)
        self.paused = False
        self.letters: dict[int, int] = {}
        #: The newest claim of each row, which most likely holds.
        self.latest: dict[int, Held] = {}
        self.intact = True
        #: Whose transaction ends after the present step.
        self.ending: Client | None = None

    @initialize()
    def resume_at_first(self) -> None:
        self._pause(paused=False)

    # Claims

    @rule(target=held, k=clients, i=numbers, late=st.booleans())
    def claim_named(self, k: int, i: int, late: bool) -> Any:
        client = self._client(k, late=late)
        found = client.run(statements.claim_named, self.events[i], subscription=self.subscription)
        return self._claimed(client, found, [i], limit=1)

    @rule(target=held, k=clients, limit=st.integers(1, 2), late=st.booleans())
    def claim_fresh(self, k: int, limit: int, late: bool) -> Any:
        client = self._client(k, late=late)
        found = client.run(statements.claim_fresh, subscription=self.subscription, limit=limit)
        untried = [i for i in range(DELIVERIES) if self._is_fresh(client, i)]
        return self._claimed(client, found, untried, limit=limit)

    @rule(target=held, k=clients, suspects=st.booleans(), late=st.booleans())
    def claim_tried(self, k: int, suspects: bool, late: bool) -> Any:
        client = self._client(k, late=late)
        found = client.run(statements.claim_tried, subscription=self.subscription, suspects=suspects)
        tried = [
            i for i in range(DELIVERIES) if not self._is_fresh(client, i) and (suspects or self._is_safe(client, i))
        ]
        return self._claimed(client, found, tried, limit=1)

    def _is_fresh(self, client: Client, i: int) -> bool:
        return not delivery.is_tried(self.clients.seen(client, i))

    def _is_safe(self, client: Client, i: int) -> bool:
        row = self.clients.seen(client, i)
        return row.state != RUNNING and not row.suspect and not row.deaths

    def _claimed(self, client: Client, found: list[Claimed], among: Sequence[int], *, limit: int) -> Any:
        """Check that as many as could be were taken, and nothing that could not."""
        can = [
            i
            for i in among
            if delivery.is_claimable(self.clients.seen(client, i))
            and not self.paused
            and not self.clients.is_locked(i, except_by=client)
        ]
        places = [self.places[item.event.id] for item in found]
        self._expect(set(places) <= set(can), f"claimed {places}, where only {can} could be")
        self._expect(len(places) == min(limit, len(can)), f"claimed {places} of {can}")
        made = []
        for i, item in zip(places, found, strict=True):
            before = self.clients.seen(client, i)
            self._expect(item.died == delivery.has_died(before), f"died is {item.died} for {before}")
            claim = Claim(item.claim, item.claim, 0)
            client.own[i] = delivery.claimed(before, claim, rules=_RULES)
            made.append(Held(i, item, claim))
            self.latest[i] = made[-1]
        return multiple(*made)

    # Under the fence

    @rule(k=clients, i=numbers)
    def commit_latest_start(self, k: int, i: int) -> None:
        if i in self.latest:
            self.commit_start(k, self.latest[i])

    @rule(k=clients, held=held)
    def commit_start_of_any(self, k: int, held: Held) -> None:
        self.commit_start(k, held)

    def commit_start(self, k: int, held: Held) -> None:
        if not held.claimed.died:
            self._settle(k, held, statements.commit_start, delivery.start_committed)

    @rule(k=clients, i=numbers, how=outcomes, death=st.booleans())
    def settle_latest(self, k: int, i: int, how: str, death: bool) -> None:
        if i in self.latest:
            self.settle(k, self.latest[i], how, death)

    @rule(k=clients, held=held, how=outcomes, death=st.booleans())
    def settle_any(self, k: int, held: Held, how: str, death: bool) -> None:
        self.settle(k, held, how, death)

    @rule(target=held, k=clients, i=numbers, how=outcomes, death=st.booleans())
    def settle_after_a_takeover(self, k: int, i: int, how: str, death: bool) -> Any:
        """The lease ends, somebody else claims the row, and the old holder comes back."""
        if i not in self.latest:
            return multiple()
        zombie, made = self.latest[i], self.claim_named(k, i, True)
        self.clients.end(self.clients.all[k % CLIENTS], commit=True)
        self.settle(k, zombie, how, death)
        return made

    def settle(self, k: int, held: Held, how: str, death: bool) -> None:
        charge = {"attempts": int(not death), "deaths": int(death)}
        if how == "done" and not held.claimed.died:
            self._settle(k, held, statements.mark_done, lambda row: delivery.done(row, rules=_RULES))
        elif how == "given back":
            self._settle(k, held, statements.give_back, lambda row: delivery.given_back(row, rules=_RULES))
        elif how == "dead":
            change = partial(delivery.dead, rules=_RULES, **charge)
            self._settle(k, held, statements.mark_dead, change, death=death)
        else:
            change = partial(delivery.retrying, rules=_RULES, **charge)
            self._settle(k, held, statements.mark_retrying, change, death=death)

    @rule(k=clients, held=st.lists(held, min_size=1, max_size=3))
    def mark_many_done(self, k: int, held: list[Held]) -> None:
        batch = {item.i: item for item in held if item.claim == held[0].claim and not item.claimed.died}
        if not batch:
            return
        mine = [i for i, item in batch.items() if self._holds(k, item)]
        answer = self._run(k, mine, statements.mark_many_done, [item.claimed for item in batch.values()])
        if answer is Blocked:
            return
        self._expect(answer == {self.events[i] for i in mine}, f"marked {answer}, held {mine}")
        self._change(self._client(k), mine, lambda row: delivery.done(row, rules=_RULES))

    @rule(k=clients, held=st.lists(held, min_size=1, max_size=3))
    def renew(self, k: int, held: list[Held]) -> None:
        """Rows that somebody has locked are passed over."""
        client = self._client(k)
        batch = {item.i: item for item in held if item.claim == held[0].claim}
        mine = [i for i, item in batch.items() if self._holds(k, item)]
        free = [i for i in mine if not self.clients.is_locked(i, except_by=client)]
        answer = client.run(statements.renew, [item.claimed for item in batch.values()])
        self._expect(answer == len(free), f"renewed {answer}, held {mine}, free {free}")
        self._change(self._client(k), free, lambda row: row._replace(due=False))

    def _holds(self, k: int, held: Held) -> bool:
        return delivery.is_held(self.clients.seen(self._client(k), held.i), held.claim, rules=_RULES)

    def _settle(
        self, k: int, held: Held, statement: Callable[..., Any], change: Callable[[Row], Row], **options: Any
    ) -> None:
        holds = self._holds(k, held)
        answer = self._run(k, [held.i] if holds else [], statement, held.claimed, **options)
        if answer is Blocked:
            return
        self._expect(bool(answer) == holds, f"{statement.__name__} says {answer}, held: {holds}")
        if holds:
            self._change(self._client(k), [held.i], change)

    # Operators

    @rule(k=clients, chosen=st.sets(numbers, min_size=1))
    def lock_for_replay(self, k: int, chosen: set[int]) -> None:
        client, wanted = self._client(k), sorted(chosen)
        answer = self._run(k, wanted, statements.lock_for_replay, [self.events[i] for i in wanted])
        if answer is Blocked:
            return
        self._change(self._client(k), wanted, lambda row: row)
        expected = {self.events[i]: self.clients.seen(client, i).state for i in wanted}
        self._expect(_alike(answer, expected), f"read {answer}, expected {expected}")
        client.judged, self.ending = answer, None  # what it has read holds only while it has the locks

    @rule(commits=st.booleans())
    def replay(self, commits: bool) -> None:
        client = next((client for client in self.clients.all if client.judged is not None), None)
        if client is None or client.judged is None:
            return
        states, client.judged = client.judged, None
        still = {id: state for id, state in states.items() if state == self.clients.seen(client, self.places[id]).state}
        client.run(statements.replay, still, subscription=self.subscription)
        self._change(client, [self.places[id] for id in still], lambda row: delivery.replayed(row, rules=_RULES))
        self.ending = client if commits else None

    @rule(k=clients, i=numbers, verb=st.sampled_from(["retry", "discard"]))
    def resolve(self, k: int, i: int, verb: str) -> None:
        """An operator acts upon a dead letter that was read at any time before; what others are at is passed over."""
        client = self._client(k)
        if i not in self.letters:
            return
        is_open = self.clients.seen(client, i).letter == "open" and not self.clients.is_locked(i, except_by=client)
        answer = client.run(statements.resolve, self.letters[i], verb=verb, subscription=self.subscription)
        self._expect(answer == is_open, f"{verb} says {answer}, open: {is_open}")
        if is_open:
            self._change(self._client(k), [i], delivery.retried if verb == "retry" else delivery.discarded)

    @rule(k=clients, i=numbers, how=outcomes, death=st.booleans())
    def settle_after_a_replay(self, k: int, i: int, how: str, death: bool) -> None:
        """The row is replayed while it runs, and then its holder settles it."""
        if i not in self.latest or any(client.judged is not None for client in self.clients.all):
            return
        self.lock_for_replay(k, {i})
        self.replay(True)
        self.clients.end(self.clients.all[k % CLIENTS], commit=True)
        self.settle(k, self.latest[i], how, death)

    @rule(k=clients, i=numbers, way=st.sampled_from(["retry", "discard", "replay"]))
    def resolve_after_a_death(self, k: int, i: int, way: str) -> None:
        """The row is given up; then it is replayed, or two operators act upon its dead letter, one after the other."""
        if i not in self.latest or any(client.judged is not None for client in self.clients.all):
            return
        self.settle(k, self.latest[i], "dead", False)
        self.clients.end(self.clients.all[k % CLIENTS], commit=True)
        self.committed_rows_are_as_they_should_be()
        if way == "replay":
            self.lock_for_replay(k, {i})
            self.replay(True)
            return
        for _ in range(2):
            self.resolve(k, i, way)
            self.clients.end(self.clients.all[k % CLIENTS], commit=True)

    @rule(target=held, k=clients, i=numbers)
    def claim_while_paused(self, k: int, i: int) -> Any:
        self._pause(paused=True)
        try:
            return self.claim_named(k, i, True)
        finally:
            self._pause(paused=False)

    def _pause(self, *, paused: bool) -> None:
        self.rows.all("UPDATE eventbus.consumer_group SET paused = %s", paused)
        self.paused = paused

    # Transactions and time

    @rule(k=clients, commits=st.booleans())
    def end(self, k: int, commits: bool) -> None:
        self.clients.end(self.clients.all[k % CLIENTS], commit=commits)

    @rule()
    def time_passes(self) -> None:
        """The leases of running rows, and the backoffs of retrying ones, have ended."""
        for i, row in enumerate(self.clients.committed):
            if row.state in (RUNNING, RETRYING) and not self.clients.is_locked(i):
                self.rows.all(_PAST, str(self.events[i]))
                self.clients.committed[i] = row._replace(due=True)

    @invariant()
    def committed_rows_are_as_they_should_be(self) -> None:
        if self.ending is not None:
            self.clients.end(self.ending, commit=True)
            self.ending = None
        for event_id, *columns, letter_id, letter in self.rows.all(_READ):
            i = self.places[UUID(event_id)]
            found, expected = (*columns, letter), _columns(self.clients.committed[i])
            self._expect(_same(found, expected), f"row{i} is {found}, expected {expected}")
            if letter_id is not None:
                self.letters[i] = letter_id

    def teardown(self) -> None:
        """Whatever happened, all can still be settled once the locks and leases have ended."""
        try:
            if self.intact:
                self._settle_all()
        finally:
            self.clients.close()

    def _settle_all(self) -> None:
        for client in self.clients.all:
            self.clients.end(client, commit=False)
        self._pause(paused=False)
        self.time_passes()
        client = self.clients.all[0]
        for i in range(DELIVERIES):
            while found := client.run(statements.claim_named, self.events[i], subscription=self.subscription):
                if found[0].died:
                    client.run(statements.mark_dead, found[0], death=True)
                else:
                    client.run(statements.mark_done, found[0])
            client.end(commit=True)
        left = self.rows.all("SELECT state FROM eventbus.delivery WHERE finished_at IS NULL")
        assert left == [], f"not to be settled: {left}"
        odd = self.rows.all(_READ + "WHERE (d.state = 'dead') <> (coalesce(l.status, 'none') = 'open')")
        assert odd == [], f"dead and open letter disagree: {odd}"

    # Small parts

    def _client(self, k: int, *, late: bool = False) -> Client:
        if late:
            self.time_passes()
        client = self.clients.all[k % CLIENTS]
        if k < 2 * CLIENTS:
            self.ending = client
        return client

    def _run(
        self, k: int, changes: Sequence[int], statement: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        """What *statement* answers; Blocked where, and only where, another transaction has locked what it changes."""
        client = self._client(k)
        waits = self.clients.must_wait(client, [i for i in changes if i not in client.own])
        try:
            answer = client.run(statement, *arguments, **options)
        except Blocked:
            self._expect(waits, f"{statement.__name__} waited for a lock that nobody should have")
            return Blocked
        self._expect(not waits, f"{statement.__name__} did not wait for {changes}, which another has locked")
        return answer

    def _change(self, client: Client, rows: Sequence[int], change: Callable[[Row], Row]) -> None:
        for i in rows:
            client.own[i] = change(self.clients.seen(client, i))

    def _expect(self, holds: bool, message: str) -> None:
        if not holds:
            self.intact = False
            raise AssertionError(message)


def _columns(row: Row) -> tuple[Any, ...]:
    fence = row.claim.fence if row.claim else None
    return (row.state, row.due, row.attempts, row.deaths, fence, row.suspect, row.started, row.rerun, row.letter)


def _same(found: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    """Equal, but that nobody asks whether a final row is due."""
    is_open = expected[0] in delivery.OPEN_STATES
    return found == expected if is_open else (found[0], *found[2:]) == (expected[0], *expected[2:])


def _alike(states: Any, expected: dict[UUID, str]) -> bool:
    return dict(states) == expected
