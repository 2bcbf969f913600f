"""Everything but the workers: time, the relay, operators, the broker, PostgreSQL."""

from collections.abc import Iterator

from tests.model import delivery
from tests.model.delivery import CANCELLED, RETRYING, RUNNING, Row
from tests.model.record import Record
from tests.model.states import DIRECT, Main, State, Step, Worker, swap


class Environment(Record):
    """What happens around the workers."""

    def time(self, state: State) -> Iterator[Step]:
        """Backoffs and leases end; living main processes renew the leases in their children's slots."""
        for i, row in enumerate(state.rows):
            if row.state == RETRYING and not row.due:
                ended = self.wait(state, i)
                yield f"backoff of row{i} ends", self.push(ended, i), None  # Celery's ETA message is one more wake-up
            if row.state != RUNNING:
                continue
            renewing = any(self._renews(row, i, w, worker) for w, worker in enumerate(state.workers))
            if renewing and not any(self.is_current(row, e) for w in state.workers for c in w.children for e in c.slot):
                yield f"lease of row{i} is renewed", state, f"row{i}: renewed for a claim that was lost"
            if not row.due and not renewing:
                yield f"lease of row{i} ends", self.wait(state, i), None
            if row.due and renewing and self.rules.renewal_revives_ended_lease:
                yield f"ended lease of row{i} is renewed", self.put_row(state, i, row._replace(due=False)), None
            if not row.due and renewing and (after := self.spend(state, "stall")):
                after = self.hit(after, sum((worker.children for worker in state.workers), ()), i)
                yield f"STALL: lease of row{i} ends", self.wait(after, i), None

    def _renews(self, row: Row, i: int, w: int, worker: Worker) -> bool:
        if worker.main is not Main.UP and not (worker.main is Main.DRAINING and self.rules.renewal_outlives_stop):
            return False
        assert row.claim is not None  # it runs
        if not self.rules.renewal_follows_slots:
            return row.claim.worker == w
        held = [e for child in worker.children for e in child.slot if e.row == i]
        return any(e.claim.fence == row.claim.fence or not self.rules.renewal_asks_claim for e in held)

    def relay(self, state: State) -> Iterator[Step]:
        """The relay of each living main process pushes if the queue is empty; if nothing moved, it wakes its own worker."""
        for w, worker in enumerate(state.workers):
            if worker.main is not Main.UP or not self.rules.relay_runs:
                continue
            due = self.claimable(
                state, w, asks_known=self.rules.relay_counts_known_rows, asks_paused=self.rules.relay_skips_paused
            )
            if not due:
                continue
            if not state.stale and (not state.queue or self.rules.relay_goes_direct):
                pushed = self.push(state, due[0])
                yield f"relay of w{w} sweeps", pushed._replace(stale=self.rules.relay_goes_direct), None
            for c, child in enumerate(worker.children if state.stale else ()):
                if not child.slot and not child.frozen:
                    yield from self.slice(state, w, c, DIRECT)

    def slice(self, state: State, w: int, c: int, message: int) -> Iterator[Step]:
        """A wake-up is taken: see Children."""
        raise NotImplementedError

    def operators(self, state: State) -> Iterator[Step]:
        """Pause and resume, replay; retry and discard of dead letters that were read earlier."""
        if after := state if state.paused else self.spend(state, "pause"):
            yield "OP resume" if state.paused else "OP pause", after._replace(paused=not state.paused), None
        for i, row in enumerate(state.rows):
            if row.state != CANCELLED and (after := self.spend(state, "replay")):
                new = delivery.replayed(row, rules=self.rules)
                yield f"OP replay row{i}", self.push(self.put_row(after, i, new), i), None
            for verb in ("retry", "discard"):
                if row.letter == "open" and (after := self.spend(state, verb)):
                    yield f"OP will {verb} row{i}", after._replace(selected=(*state.selected, (verb, i))), None
        for n, (verb, i) in enumerate(state.selected):
            yield self._resolve(state._replace(selected=swap(state.selected, n)), verb, i)

    def _resolve(self, state: State, verb: str, i: int) -> Step:
        row, label = state.rows[i], f"OP does {verb} row{i}"
        if row.letter != "open" and self.rules.resolving_asks_open:
            return label, state, None
        broken = None if row.letter == "open" else f"{verb} of row{i} undid another operator's act"
        new = delivery.retried(row) if verb == "retry" else delivery.discarded(row)
        return label, self.push(self.put_row(state, i, new), i), broken

    def broker_and_database(self, state: State) -> Iterator[Step]:
        """Messages are lost and repeated; PostgreSQL crashes and forgets the last of what is not on its disk."""
        if state.queue and (after := self.spend(state, "loss")):
            yield "BROKER loses all wake-ups", after._replace(queue=self.rest), None
        if state.queue and (after := self.spend(state, "repeat")):
            yield "BROKER repeats a wake-up", after._replace(queue=state.queue + state.queue[:1]), None
        if state.unflushed and (after := self.spend(state, "postgres_crash")):
            for first in range(len(state.unflushed)):
                yield self._forget(after, first)

    def _forget(self, state: State, first: int) -> Step:
        """The commits since *first* are as if they had never been."""
        forgotten: dict[int, delivery.Row] = {}
        for commit in state.unflushed[first:]:
            for i, old in commit:
                forgotten.setdefault(i, old)
        for i, old in forgotten.items():
            now = state.rows[i]
            seen = {"starts": now.starts, "errors": now.errors, "owed": now.owed}
            # A completion is forgotten: that repeats a run, and is promised no better. With `session` its effect is, too.
            effects = old.effects if i in self.scenario.sessions else now.effects
            forgotten[i] = old._replace(effects=effects, hits=now.hits + (old.state == RUNNING), **seen)
        shown = ", ".join(f"row{i}" for i in forgotten)
        return (
            f"POSTGRES crashes, forgets commits on {shown}",
            self.put_rows(state, forgotten)._replace(unflushed=()),
            None,
        )
