"""The children of a worker's pool: slices, runs of handlers, and their settlement."""

from collections.abc import Iterator

from tests.model import delivery
from tests.model.mains import Mains
from tests.model.states import (
    ANY,
    CLAIMED,
    DIRECT,
    FAILED,
    FOREIGN,
    HUNG,
    RETURNED,
    STARTED,
    Child,
    Entry,
    Main,
    Outcome,
    State,
    Step,
    swap,
)


class Children(Mains):
    """What a living child may do next."""

    def child_process(self, state: State, w: int, c: int, child: Child) -> Iterator[Step]:
        """Take a wake-up, or start, finish, settle or give back the rows in the slot."""
        if not child.slot and state.workers[w].main is Main.UP:
            for message in set(state.queue):
                yield from self.slice(state, w, c, message)
        waiting = [e for e in child.slot if e.status == CLAIMED]
        active = any(e.status in (STARTED, HUNG) for e in child.slot)
        stopping = state.workers[w].main is Main.DRAINING and self.rules.shutdown_gives_back
        if waiting and (stopping or (active and self.rules.slow_run_gives_neighbours_back)):
            yield self._give_back(state, w, c, waiting)
        if waiting and not active and not stopping:
            yield self._begin(state, w, c, waiting[0])
        for entry in child.slot:
            if entry.status in (STARTED, HUNG):
                yield from self._run(state, w, c, entry)
            elif entry.status == RETURNED and self.scenario.handlers[entry.row] == "kills_late":
                killed = self.put_child(state, w, c, child._replace(dead=True))
                yield f"row{entry.row} kills w{w}.{c} after returning", killed, None
            elif entry.status == FAILED:
                yield from self._settle(state, w, c, [entry], Outcome.ERROR)
        if returned := [e for e in child.slot if e.status == RETURNED]:
            yield from self._settle(state, w, c, returned, Outcome.RETURNED)

    def slice(self, state: State, w: int, c: int, message: int) -> Iterator[Step]:
        """A wake-up is taken: claim the never-tried rows as one batch, or one tried row alone."""
        rows = self.claimable(state, w, asks_known=self.rules.claims_only_known_rows)
        if not self.rules.wake_up_name_is_hint and message != DIRECT:
            rows = [i for i in rows if i == message]
        alone = [i for i in rows if self.rules.suspects_run_alone and self._is_tried(state.rows[i])]
        batch = [i for i in rows if i not in alone]
        if message >= ANY:
            state = state._replace(queue=swap(state.queue, state.queue.index(message)))
        claims = ([batch] if batch else []) + ([[i] for i in alone] if self.rules.tried_rows_are_claimed else [])
        for rows in claims:
            yield from self._claim(state, w, c, rows, message)
        if not claims and message != FOREIGN:
            yield f"w{w}.{c} finds nothing to claim", self.end_slice(state, w, claimed=False), None

    def _is_tried(self, row: delivery.Row) -> bool:
        return row.attempts > 0 or self.is_suspect(row)

    def _claim(self, state: State, w: int, c: int, rows: list[int], message: int) -> Iterator[Step]:
        slot, claimed = [], {}
        for i in rows:
            claim, suspect = self.new_claim(state, i, w), self.is_suspect(state.rows[i])
            claimed[i] = delivery.claimed(state.rows[i], claim, rules=self.rules)
            slot.append(Entry(i, claim, suspect=suspect, died=delivery.has_died(state.rows[i])))
        after = self.put_rows(state, claimed, asynchronous=not self.rules.claims_commit_synchronously)
        after = after._replace(stale=False)
        named = message if self.names_matter else ANY
        child = state.workers[w].children[c]._replace(slot=tuple(slot), named=named)
        yield f"w{w}.{c} claims {rows}", self.put_child(after, w, c, child), None
        if lost := self.spend(after, "claim_lost"):
            yield f"w{w}.{c} claims {rows}, REPLY LOST", lost, None

    def _give_back(self, state: State, w: int, c: int, waiting: list[Entry]) -> Step:
        broken = None
        for entry in waiting:
            charged = entry.died and self.rules.found_death_is_charged
            row, wrong = self.settled(state.rows[entry.row], entry, Outcome.DEATH if charged else Outcome.GIVEN_BACK)
            state, broken = self.put_entry(self.put_row(state, entry.row, row), w, c, entry), broken or wrong
        return f"w{w}.{c} gives back {[e.row for e in waiting]}", state, broken

    def _begin(self, state: State, w: int, c: int, entry: Entry) -> Step:
        """Charge a death that was found; else write STARTED, for a suspect into its row too, and call the handler."""
        i, row = entry.row, state.rows[entry.row]
        if entry.died:
            charged, broken = self.settled(row, entry, Outcome.DEATH)
            after = self.put_entry(self.put_row(state, i, charged), w, c, entry)
            return f"w{w}.{c} charges row{i} the death that it found", after, broken
        current = self.is_current(row, entry)
        if entry.suspect and self.rules.suspect_start_is_committed:
            if not current:
                return f"w{w}.{c} is fenced from starting row{i}", self.put_entry(state, w, c, entry), None
            row = delivery.start_committed(row)
            state = self.put_row(state, i, row)
        if current:
            stalled = row.due or state.workers[w].main not in (Main.UP, Main.DRAINING)  # no lease from the start
            counted = self.scenario.handlers[i] != "ok"
            state = self.observe(state, i, starts=row.starts + counted, hits=row.hits + stalled, owed=False)
        return f"w{w}.{c} starts row{i}", self.put_entry(state, w, c, entry, entry._replace(status=STARTED)), None

    def _run(self, state: State, w: int, c: int, entry: Entry) -> Iterator[Step]:
        """What a started handler may do."""
        i, row, kind = entry.row, state.rows[entry.row], self.scenario.handlers[entry.row]
        if entry.status == HUNG:
            if self.rules.handlers_have_time_limit:
                failed = self.put_entry(state, w, c, entry, entry._replace(status=FAILED))
                yield f"row{i} reaches its time limit in w{w}.{c}", self.observe(failed, i, errors=row.errors + 1), None
        elif kind == "fails" or (self.scenario.knows and i not in self.scenario.knows[w]):
            failed = self.put_entry(state, w, c, entry, entry._replace(status=FAILED))
            yield f"row{i} fails in w{w}.{c}", failed, None
        elif kind == "kills_child":
            child = state.workers[w].children[c]
            yield f"row{i} kills w{w}.{c}", self.put_child(state, w, c, child._replace(dead=True)), None
        elif kind == "kills_worker":
            yield f"row{i} kills w{w}", self.put_worker(state, w, state.workers[w]._replace(main=Main.DOWN)), None
        elif i in self.scenario.sessions and self.rules.session_cannot_commit_early:
            yield from self._commit(state, w, c, entry)
        else:
            effects = (
                row.effects + 1 if i in self.scenario.sessions else max(row.effects, int(self.is_current(row, entry)))
            )
            returned = self.put_entry(state, w, c, entry, entry._replace(status=RETURNED))
            yield f"row{i} returns in w{w}.{c}", self.observe(returned, i, effects=effects), None
        if kind == "ok" and entry.status == STARTED and (after := self.spend(state, "hang")):
            yield f"row{i} HANGS in w{w}.{c}", self.put_entry(after, w, c, entry, entry._replace(status=HUNG)), None

    def _commit(self, state: State, w: int, c: int, entry: Entry) -> Iterator[Step]:
        """A session handler's own COMMIT: effect and done together, or neither."""
        i, row, failed = entry.row, state.rows[entry.row], entry._replace(status=FAILED)
        new, broken = self.settled(row._replace(effects=row.effects + 1), entry, Outcome.RETURNED)
        if new.state == row.state and self.rules.session_commit_is_fenced:
            new = row
        # One that is not forgotten is as if it had waited.
        after = self.put_entry(self.put_row(state, i, new, asynchronous=True), w, c, entry)
        yield f"row{i} commits{' nothing' * (new == row)} in w{w}.{c}", after, broken
        if lost := self.spend(state, "settle_fails"):
            for label, seen in (("FAILS", row), ("succeeds, REPLY LOST,", new)):
                after = self.put_row(lost, i, seen, asynchronous=True)
                after = self.observe(after, i, errors=row.errors + 1)
                yield f"COMMIT of row{i} {label} in w{w}.{c}", self.put_entry(after, w, c, entry, failed), None

    def _settle(self, state: State, w: int, c: int, entries: list[Entry], outcome: Outcome) -> Iterator[Step]:
        """Settle a failed row, or all that have returned, in one commit; while that fails, try again."""
        rows, broken, names = {}, None, [e.row for e in entries]
        for entry in entries:
            row, wrong = self.settled(state.rows[entry.row], entry, outcome)
            broken = broken or wrong
            if row != state.rows[entry.row]:
                rows[entry.row] = row
        after = self.put_rows(state, rows, asynchronous=outcome is Outcome.RETURNED)
        slot = tuple(e for e in state.workers[w].children[c].slot if e not in entries)
        yield f"w{w}.{c} settles {names}: {outcome}", self.put_slot(after, w, c, slot), broken
        if not (lost := self.spend(state, "settle_fails")):
            return
        if self.rules.settlement_is_retried:
            again = self.put_rows(lost, rows)
            yield f"w{w}.{c} settles {names}: {outcome}, REPLY LOST", again, broken
        else:
            yield f"w{w}.{c} FAILS to settle {names}", self.put_slot(lost, w, c, slot), None
