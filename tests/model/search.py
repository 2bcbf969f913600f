"""The search: every state that a scenario can reach, nearest first, and what each breaks.

Then liveness: from every state a way without further faults leads to "all rows final, no wake-up left"; and no cycle of
fault-free steps moves wake-ups only, for that would be a spin.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.children import Children
from tests.model.delivery import OPEN_STATES, Row
from tests.model.environment import Environment
from tests.model.rules import Rules
from tests.model.states import ANY, FAULTS, Child, Main, Scenario, State, Step, Worker


class Protocol(Children, Environment):
    """All who act, together."""

    def initial(self) -> State:
        """All rows published, one wake-up sent, all workers up."""
        workers = (Worker(Main.UP, (Child(),) * self.scenario.children),) * self.scenario.workers
        budget = tuple(self.scenario.faults.get(name, 0) for name in FAULTS)
        queue = self.rest or (0 if self.names_matter else ANY,)
        return State((Row(),) * len(self.scenario.handlers), queue, workers, budget)

    def canonical(self, state: State) -> State:
        """One of the states that differ only in which worker is which; in a trace workers may change names."""
        if self.scenario.knows is not None or not self.rules.renewal_follows_slots or len(state.workers) == 1:
            return state
        first, second = state.workers
        return state if first <= second else state._replace(workers=(second, first))

    def is_goal(self, state: State) -> bool:
        """All rows final, no wake-up left."""
        return state.queue == self.rest and all(row.state not in OPEN_STATES for row in state.rows)

    def steps(self, state: State) -> Iterator[Step]:
        """Every step that may come next; one that spends budget is a fault or an operator's act."""
        yield from self.time(state)
        yield from self.relay(state)
        yield from self.operators(state)
        yield from self.broker_and_database(state)
        for w, worker in enumerate(state.workers):
            yield from self.main_process(state, w, worker)
            yield from self.process_faults(state, w, worker)
            for c, child in enumerate(worker.children):
                if worker.main is not Main.DOWN and not child.dead and not child.frozen:
                    yield from self.child_process(state, w, c, child)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a search found."""

    states: int
    #: The promise that is broken, or None.
    broken: str | None
    #: The shortest way there.
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{number:3} {label}" for number, label in enumerate(self.trace, 1)]
        return "\n".join([f"{self.states} states: {self.broken or 'holds'}", *lines])


class _Graph:
    """The states seen so far, the first way to each, and the fault-free steps between them."""

    def __init__(self, initial: State) -> None:
        self.states = [initial]
        self.numbers = {initial: 0}
        self.parents: list[tuple[int, str]] = [(0, "")]
        self.predecessors: list[list[int]] = [[]]
        self.wake_ups: dict[int, list[int]] = {}

    def add(self, state: State, here: int, label: str) -> tuple[int, bool]:
        """The number of *state*, and whether it is new."""
        number = self.numbers.setdefault(state, len(self.states))
        is_new = number == len(self.states)
        if is_new:
            self.states.append(state)
            self.parents.append((here, label))
            self.predecessors.append([])
        return number, is_new

    def connect(self, here: int, there: int) -> None:
        """Note a step, if it needs no fault."""
        before, after = self.states[here], self.states[there]
        if after.budget != before.budget:
            return
        self.predecessors[there].append(here)
        if (after.rows, after.workers, after.paused) == (before.rows, before.workers, before.paused):
            self.wake_ups.setdefault(here, []).append(there)

    def result(self, broken: str | None, number: int = 0, *last: str) -> Result:
        trace = list(last)
        while number:
            number, label = self.parents[number]
            trace.insert(0, label)
        return Result(states=len(self.states), broken=broken, trace=tuple(trace))


def search(scenario: Scenario, rules: Rules) -> Result:
    """Visit every state of *scenario*, nearest first, until a promise is broken; then check liveness, then spins."""
    protocol = Protocol(scenario, rules)
    graph = _Graph(protocol.initial())
    for here, state in enumerate(graph.states):  # grows while it is read
        for label, step, wrong in protocol.steps(state):
            after = protocol.canonical(step)
            there, is_new = graph.add(after, here, label)
            if broken := wrong or (protocol.broken_promise(after) if is_new else None):
                return graph.result(broken, here, label)
            graph.connect(here, there)
    return _stuck(protocol, graph) or _spin(graph) or graph.result(None)


def _stuck(protocol: Protocol, graph: _Graph) -> Result | None:
    goals = [number for number, state in enumerate(graph.states) if protocol.is_goal(state)]
    reached = set(goals)
    for number in goals:  # grows while it is read
        news = set(graph.predecessors[number]) - reached
        reached |= news
        goals.extend(news)
    unreached = set(range(len(graph.states))) - reached
    return graph.result("stuck: no fault-free way to the end", min(unreached)) if unreached else None


def _spin(graph: _Graph) -> Result | None:
    moves = graph.wake_ups
    while ended := [node for node, after in moves.items() if not any(other in moves for other in after)]:
        for node in ended:
            del moves[node]
    return graph.result("spin: only wake-ups move, for ever", min(moves)) if moves else None
