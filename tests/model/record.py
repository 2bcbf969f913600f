"""Small changes of a whole moment, the fence, and what the observer notes; the base of all who act."""

from tests.model import delivery
from tests.model.delivery import DEAD, DONE, OPEN_STATES, RUNNING, Claim, Row
from tests.model.rules import Rules
from tests.model.states import ANY, CLAIMED, FAULTS, FOREIGN, Child, Entry, Main, Outcome, Scenario, State, Worker, swap

#: retry.DEATH_FLOOR is 3; 2 shows the same with fewer states.
DEATH_FLOOR = 2


class Record:
    """The state of one scenario under one set of rules."""

    def __init__(self, scenario: Scenario, rules: Rules) -> None:
        self.scenario, self.rules = scenario, rules
        self.promised_deaths = max(scenario.max_attempts, DEATH_FLOOR)
        self.death_limit = self.promised_deaths if rules.death_limit_has_floor else scenario.max_attempts
        self.names_matter = not (rules.wake_up_name_is_hint and rules.slot_names_the_dead)
        self.rest = (FOREIGN,) if scenario.busy else ()

    def claimable(self, state: State, w: int, *, asks_known: bool = True, asks_paused: bool = True) -> list[int]:
        """Due rows for worker *w*, as its slices and its relay see them."""
        if state.paused and asks_paused:
            return []
        due = [i for i, row in enumerate(state.rows) if delivery.is_claimable(row)]
        if asks_known and self.scenario.knows:
            due = [i for i in due if i in self.scenario.knows[w]]
        if self.rules.one_suspect_per_worker and any(e.suspect for c in state.workers[w].children for e in c.slot):
            due = [i for i in due if not self.is_suspect(state.rows[i])]
        return due

    def is_suspect(self, row: Row) -> bool:
        """Whether its process may die of it."""
        return row.suspect or row.deaths > 0 or (row.state == RUNNING and self.rules.ended_lease_makes_suspect)

    def new_claim(self, state: State, i: int, w: int) -> Claim:
        """A claim that nobody holds: only equality counts, so the smallest unused number stands for a random one."""
        held = [e.claim for worker in state.workers for child in worker.children for e in child.slot if e.row == i]
        forgettable = (old for commit in state.unflushed for j, old in commit if j == i)
        held += [row.claim for row in (state.rows[i], *forgettable) if row.claim]
        serial = min(set(range(1, len(held) + 2)) - {claim.serial for claim in held})
        fence = serial if self.rules.claim_is_random else state.rows[i].attempts + state.rows[i].deaths
        return Claim(fence, serial, 0 if self.rules.renewal_follows_slots else w)

    def is_current(self, row: Row, entry: Entry) -> bool:
        """Whether *entry* really is the row's present claim, whatever the fence compares."""
        return row.state == RUNNING and row.claim is not None and row.claim.serial == entry.claim.serial

    def settled(self, row: Row, entry: Entry, outcome: Outcome) -> tuple[Row, str | None]:
        """The row after *entry*'s claim ended, unchanged where the fence forbids it; and the promise that this breaks."""
        if not delivery.is_held(row, entry.claim, rules=self.rules):
            return row, None
        current = self.is_current(row, entry)
        broken = None if current else f"row{entry.row} ({row.state}): {outcome} accepted from a lost claim"
        return self.ended(row, outcome), broken

    def ended(self, row: Row, outcome: Outcome) -> Row:
        """What settlement decides: done, another try, dead, or given back."""
        if outcome is Outcome.GIVEN_BACK:
            return delivery.given_back(row, rules=self.rules)
        if outcome is Outcome.RETURNED:
            return delivery.done(row, rules=self.rules)
        attempts, deaths = int(outcome is Outcome.ERROR), int(outcome is Outcome.DEATH)
        limited = row.attempts + attempts >= self.scenario.max_attempts or row.deaths + deaths >= self.death_limit
        change = delivery.dead if limited else delivery.retrying
        return change(row, rules=self.rules, attempts=attempts, deaths=deaths)

    def spend(self, state: State, fault: str) -> State | None:
        """*state* with one *fault* less to come; None if none is left."""
        i = FAULTS.index(fault)
        return state._replace(budget=swap(state.budget, i, state.budget[i] - 1)) if state.budget[i] else None

    def put_rows(self, state: State, rows: dict[int, Row], *, asynchronous: bool = False) -> State:
        """Commit *rows*: asynchronously, so that a crash of PostgreSQL may forget it, or with all that was committed before.

        What changes nothing writes nothing, and flushes nothing.
        """
        if all(row == state.rows[i] for i, row in rows.items()):
            return state
        tracked = asynchronous and state.budget[FAULTS.index("postgres_crash")]
        unflushed = (*state.unflushed, tuple((i, state.rows[i]) for i in rows)) if tracked else ()
        kept = tuple(_merged(rows.get(i, row)) for i, row in enumerate(state.rows))
        return state._replace(rows=kept, unflushed=unflushed)

    def put_row(self, state: State, i: int, row: Row, *, asynchronous: bool = False) -> State:
        return self.put_rows(state, {i: row}, asynchronous=asynchronous)

    def wait(self, state: State, i: int) -> State:
        """Time passes until row *i* is due; PostgreSQL commits nothing."""
        return state._replace(rows=swap(state.rows, i, state.rows[i]._replace(due=True)))

    def observe(self, state: State, i: int, **seen: object) -> State:
        """Change what the observer knows of row *i*; the database is not involved."""
        return state._replace(rows=swap(state.rows, i, state.rows[i]._replace(**seen)))  # type: ignore[arg-type]

    def hit(self, state: State, children: tuple[Child, ...], only: int | None = None) -> State:
        """Note that a kill or stall met the handlers that *children* have started."""
        for entry in (e for child in children if not child.dead for e in child.slot if only in (None, e.row)):
            if entry.status != CLAIMED and self.is_current(state.rows[entry.row], entry):
                state = self.observe(state, entry.row, hits=state.rows[entry.row].hits + 1)
        return state

    def put_worker(self, state: State, w: int, worker: Worker) -> State:
        """Replace a worker; one that is stopping, or whose main is gone, is down when its last child has ended."""
        ended = all(not child.slot or (child.dead and worker.main is Main.GONE) for child in worker.children)
        if worker.main is Main.DOWN or (worker.main in (Main.DRAINING, Main.GONE) and ended):
            worker = Worker(Main.DOWN, (Child(),) * self.scenario.children)
        return state._replace(workers=swap(state.workers, w, worker))

    def put_child(self, state: State, w: int, c: int, child: Child) -> State:
        worker = state.workers[w]
        return self.put_worker(state, w, worker._replace(children=swap(worker.children, c, child)))

    def put_slot(self, state: State, w: int, c: int, slot: tuple[Entry, ...]) -> State:
        """Write a living child's slot; its slice ends with the last entry, and may send one more wake-up."""
        child = state.workers[w].children[c]
        state = self.put_child(state, w, c, child._replace(slot=slot, named=child.named if slot else ANY))
        return state if slot else self.end_slice(state, w)

    def put_entry(self, state: State, w: int, c: int, old: Entry, *new: Entry) -> State:
        """Replace, or drop, an entry of a slot."""
        slot = state.workers[w].children[c].slot
        return self.put_slot(state, w, c, swap(slot, slot.index(old), *new))

    def end_slice(self, state: State, w: int, *, claimed: bool = True) -> State:
        careful = self.rules.rewakes_after_progress_only
        remain = self.claimable(state, w, asks_known=careful, asks_paused=careful)
        return self.push(state, remain[0]) if remain and (claimed or not careful) else state

    def push(self, state: State, i: int) -> State:
        """Send a wake-up unless the queue holds plenty (here: one)."""
        return state if state.queue else state._replace(queue=(i if self.names_matter else ANY,))

    def broken_promise(self, state: State) -> str | None:
        """The first promise that *state* breaks."""
        return next(
            (f"row{i} {what}" for i, row in enumerate(state.rows) for broken, what in self._judged(i, row) if broken),
            None,
        )

    def _judged(self, i: int, row: Row) -> tuple[tuple[bool, str], ...]:
        kind, attempts, deaths = self.scenario.handlers[i], self.scenario.max_attempts, self.promised_deaths
        limit = (attempts if kind == "fails" else deaths) + self.scenario.extra_starts + row.hits
        innocent = kind == "ok" and row.hits < deaths and row.errors < attempts
        return (
            (row.effects > 1, "committed its effect twice"),
            ((row.letter == "open") != (row.state == DEAD), f"is {row.state}, its dead letter {row.letter}"),
            (row.state == DEAD and innocent, f"is innocent, but dead after {row.hits} kills and {row.errors} errors"),
            (row.starts > limit, f"({kind}) started {row.starts} times"),
            (row.state == DONE and not row.effects, "is done, but its handler never finished"),
            (row.state in (DONE, DEAD) and row.owed, "was replayed, but not run since"),
        )


def _merged(row: Row) -> Row:
    """A row that has ended without what no statement will ever ask it again, to merge states."""
    return row if row.state in OPEN_STATES else row._replace(attempts=0, deaths=0, suspect=False, due=False)
