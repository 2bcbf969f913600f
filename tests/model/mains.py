"""The main processes of workers: what they do for their children, and what befalls both."""

from collections.abc import Iterator

from tests.model.delivery import RUNNING
from tests.model.record import Record
from tests.model.states import (
    ANY,
    CLAIMED,
    FAILED,
    HUNG,
    RETURNED,
    STARTED,
    Child,
    Entry,
    Main,
    Outcome,
    State,
    Step,
    Worker,
)

_KILLS = (
    ("kill_worker", (Main.UP, Main.DRAINING, Main.FROZEN, Main.GONE), Main.DOWN),
    ("kill_main", (Main.UP, Main.DRAINING, Main.FROZEN), Main.GONE),
    ("freeze", (Main.UP,), Main.FROZEN),
    ("shutdown", (Main.UP,), Main.DRAINING),
)


class Mains(Record):
    """Main processes, living and dying."""

    def main_process(self, state: State, w: int, worker: Worker) -> Iterator[Step]:
        """Come back up, thaw, and settle the accounts of dead children from their slots, row by row."""
        if worker.main in (Main.DOWN, Main.FROZEN):
            yield f"w{w} main is up again", self.put_worker(state, w, worker._replace(main=Main.UP)), None
        for c, child in enumerate(worker.children):
            if child.frozen:
                yield f"w{w}.{c} thaws", self.put_child(state, w, c, child._replace(frozen=False)), None
            if child.dead and worker.main in (Main.UP, Main.DRAINING):
                yield self._account(state, w, c, child)

    def _account(self, state: State, w: int, c: int, child: Child) -> Step:
        entry, rest, i = child.slot[0], child.slot[1:], child.slot[0].row
        if not self.rules.slot_names_the_dead and child.named >= 0 and state.rows[child.named].state == RUNNING:
            i, rest, outcome = child.named, (), Outcome.DEATH
            own = any(self.is_current(state.rows[i], e) and e.status != CLAIMED for e in child.slot if e.row == i)
            row = self.ended(state.rows[i], Outcome.DEATH)
            broken = None if own else f"row{i} charged, but the dead child had not started it"
        else:
            outcome = self.outcome_of(entry)
            row, broken = self.settled(state.rows[i], entry, outcome)
        after = self.put_row(state, i, row)
        after = self.put_child(
            after, w, c, child._replace(slot=rest, dead=bool(rest), named=child.named if rest else ANY)
        )
        return f"w{w} main settles row{i} of its dead child: {outcome}", after, broken

    def outcome_of(self, entry: Entry) -> Outcome:
        """What a slot says of how a claim ended whose holder is dead."""
        if entry.died and self.rules.found_death_is_charged:
            return Outcome.DEATH
        if entry.status in (STARTED, HUNG):
            return Outcome.DEATH
        if entry.status == CLAIMED:
            return Outcome.GIVEN_BACK if self.rules.only_started_is_charged else Outcome.DEATH
        settles = {RETURNED: Outcome.RETURNED, FAILED: Outcome.ERROR} if self.rules.main_settles_returned else {}
        return settles.get(entry.status, Outcome.GIVEN_BACK)

    def process_faults(self, state: State, w: int, worker: Worker) -> Iterator[Step]:
        """Kills, freezes and shutdowns, of workers that hold something."""
        if not any(child.slot for child in worker.children):
            return
        for fault, mains, then in _KILLS:
            if worker.main not in mains or not (after := self.spend(state, fault)):
                continue
            children = worker.children
            if then is Main.FROZEN:
                children = tuple(child._replace(frozen=bool(child.slot) and not child.dead) for child in children)
            after = after if fault == "shutdown" else self.hit(after, worker.children)
            yield f"{fault.upper()} w{w}", self.put_worker(after, w, Worker(then, children)), None
        for c, child in enumerate(worker.children):
            if child.slot and not child.dead and (after := self.spend(state, "kill_child")):
                after = self.hit(after, (child,))
                yield f"KILL_CHILD w{w}.{c}", self.put_child(after, w, c, child._replace(dead=True)), None
