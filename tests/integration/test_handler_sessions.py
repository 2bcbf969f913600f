"""Handlers that take `session`: their effect and the delivery's `done` are one commit, and only eventbus makes it."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from eventbus import Event, EventBus
from eventbus.errors import DatabaseUnreachable, HandlerError
from eventbus.lifecycle.settlement import Done, Fenced
from tests.integration.conftest import MakeWorker
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns
from tests.support.statements import statements

PAST = "UPDATE eventbus.delivery SET due_at = clock_timestamp() - interval '1 second'"
Handle = Callable[[Event, Session], None]
Run = Callable[[Handle], Any]


def effect(session: Session, number: int = 1) -> None:
    """A row that can be counted."""
    session.execute(text(f"INSERT INTO effect VALUES ({number})"))


@pytest.fixture
def run(bus: EventBus, worker: MakeWorker, rows: Rows) -> Run:
    """A function that publishes an event and runs a handler for it; the outcome."""
    rows.all("CREATE TABLE public.effect (number integer)")

    def start(body: Handle, *, before: Callable[[SingleRuns], None] = lambda _: None) -> Any:
        def handler(event: Event, session: Session) -> None:
            body(event, session)
            before(execution)

        bus.subscribe("order.created", group="a", handler=handler)
        bus.subscribe("order.packed", group="b", handler=lambda event: None)
        execution = worker()
        event = bus.publish("order.created", 1, source="orders", correlation_id="story")
        claimed = execution.take("a", event.id, task_id=None)
        assert claimed is not None
        return execution.run(claimed)

    return start


def effects(rows: Rows) -> list[int]:
    """What has been committed."""
    return [number for (number,) in rows.all("SELECT number FROM effect ORDER BY 1")]


def state(rows: Rows, group: str = "a") -> str:
    """Where the group's only delivery stands."""
    return str(rows.value("SELECT state FROM eventbus.delivery WHERE group_name = %s", group))


NOTE_MARKING = """
CREATE TABLE marked (xid xid8);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO marked VALUES (pg_current_xact_id());
    RETURN NEW;
END $$;
CREATE TRIGGER note AFTER UPDATE ON eventbus.delivery FOR EACH ROW WHEN (NEW.state = 'done') EXECUTE FUNCTION note();
"""


def test_effect_and_completion_are_one_transaction(run: Run, rows: Rows) -> None:
    """Neither exists without the other."""
    rows.all("ALTER TABLE effect ADD COLUMN xid xid8 DEFAULT pg_current_xact_id()")
    rows.all(NOTE_MARKING)

    outcome = run(lambda event, session: session.execute(text("INSERT INTO effect VALUES (1)")))

    assert outcome == Done()
    assert rows.all("SELECT effect.xid = marked.xid FROM effect CROSS JOIN marked") == [(True,)]


def test_a_handler_that_fails_leaves_nothing(run: Run, rows: Rows, bus: EventBus) -> None:
    """Neither its rows nor the events that it published."""

    def handler(event: Event, session: Session) -> None:
        effect(session)
        bus.publish("order.packed", 1, source="stock")
        raise KeyError("sku")

    outcome = run(handler)

    assert isinstance(outcome, KeyError)
    assert effects(rows) == []
    assert rows.count("event_log") == 1
    assert state(rows) == "running"


def test_a_run_that_was_taken_over_commits_nothing(
    run: Callable[..., Any], rows: Rows, bus: EventBus, messages: Callable[[str], list[Any]]
) -> None:
    """A zombie's writes, events and messages vanish: the fence is the last statement before the commit."""

    def taken_over(execution: SingleRuns) -> None:
        rows.all(PAST)
        assert execution.take("a", None, task_id=None) is not None

    def handler(event: Event, session: Session) -> None:
        effect(session)
        bus.publish("order.packed", 1, source="stock")

    outcome = run(handler, before=taken_over)

    assert outcome == Fenced()
    assert effects(rows) == []
    assert rows.count("event_log") == 1
    assert messages("b") == []
    assert state(rows) == "running"


def test_what_a_handler_publishes_joins_its_session_and_its_story(
    run: Run, rows: Rows, bus: EventBus, messages: Callable[[str], list[Any]]
) -> None:
    """The event exists exactly if the run counts, and nobody is woken before."""
    seen: list[Any] = []

    def handler(event: Event, session: Session) -> None:
        published = bus.publish("order.packed", 1, source="stock")
        seen.extend([event, published, rows.count("event_log"), messages("b")])

    outcome = run(handler)

    cause, published, before, woken = seen
    assert outcome == Done()
    assert (published.correlation_id, published.causation_id) == ("story", cause.id)
    assert (before, woken) == (1, [])
    assert rows.count("event_log") == 2
    assert len(messages("b")) == 1


def in_block(event: Event, session: Session) -> None:
    """The usual way to write with a session."""
    with session.begin():
        effect(session)


def by_commit(event: Event, session: Session) -> None:
    """Commit early."""
    effect(session)
    session.commit()


def by_connection(event: Event, session: Session) -> None:
    """Commit behind the session's back."""
    effect(session)
    session.connection().commit()


def in_savepoint_by_connection(event: Event, session: Session) -> None:
    """Commit behind the session's back, in a savepoint."""
    effect(session)
    with session.begin_nested():
        session.connection().commit()


def in_savepoint_by_commit(event: Event, session: Session) -> None:
    """session.commit() ends every level."""
    session.begin_nested()
    effect(session)
    session.commit()


def by_statement(statement: str) -> Handle:
    """Commit in SQL."""

    def handler(event: Event, session: Session) -> None:
        effect(session)
        session.execute(text(statement))

    return handler


@pytest.mark.parametrize(
    "handler",
    [
        in_block,
        by_commit,
        by_connection,
        pytest.param(in_savepoint_by_connection, marks=pytest.mark.filterwarnings("ignore:nested transaction already")),
        in_savepoint_by_commit,
        *map(by_statement, ("COMMIT", " commit and chain", "END", "ROLLBACK", "abort", "PREPARE TRANSACTION 'x'")),
    ],
)
def test_a_handler_cannot_end_the_transaction_early(handler: Handle, run: Run, rows: Rows) -> None:
    """Else its effect could exist without its completion; the run fails and says why."""
    outcome = run(handler)

    assert isinstance(outcome, HandlerError)
    assert "eventbus" in str(outcome)
    assert effects(rows) == []
    assert state(rows) == "running"


def test_savepoints_are_the_handlers_own(run: Run, rows: Rows) -> None:
    """Released or rolled back, as it likes."""

    def handler(event: Event, session: Session) -> None:
        effect(session, 1)
        with session.begin_nested():
            effect(session, 2)
        savepoint = session.begin_nested()
        effect(session, 3)
        savepoint.rollback()
        session.execute(text("SAVEPOINT own"))
        effect(session, 4)
        session.execute(text("ROLLBACK TO own"))

    outcome = run(handler)

    assert outcome == Done()
    assert effects(rows) == [1, 2]


def test_a_constraint_that_fails_at_the_commit_is_the_handlers_failure(run: Run, rows: Rows) -> None:
    """The delivery is not done when its effect is not."""
    rows.all("ALTER TABLE effect ADD UNIQUE (number) DEFERRABLE INITIALLY DEFERRED")

    def handler(event: Event, session: Session) -> None:
        effect(session)
        effect(session)

    outcome = run(handler)

    assert "duplicate key" in str(outcome)
    assert (effects(rows), state(rows)) == ([], "running")


@pytest.mark.parametrize("forget", ["DEALLOCATE ALL", "ALTER TABLE eventbus.delivery ALTER COLUMN state TYPE varchar"])
def test_a_plan_that_is_gone_costs_a_statement(run: Run, rows: Rows, forget: str) -> None:
    """As behind a proxy that pools transactions: the marking is sent as it is, in the same transaction; the handler ran once."""
    runs = []

    def handler(event: Event, session: Session) -> None:
        runs.append(event.id)
        effect(session, len(runs))
        session.execute(text(forget))

    outcome = run(handler)

    assert (outcome, effects(rows), len(runs)) == (Done(), [1], 1)
    assert rows.value("SELECT attempts FROM eventbus.delivery WHERE group_name = 'a'") == 0


def test_the_marking_is_prepared_once_for_each_connection(bus: EventBus, worker: MakeWorker, rows: Rows) -> None:
    """Planning it takes longer than doing it."""
    bus.subscribe("order.created", group="a", handler=lambda event, session: None)
    execution = worker()

    with statements(bus.database) as sent:
        for _ in range(2):
            event = bus.publish("order.created", 1, source="orders")
            claimed = execution.take("a", event.id, task_id=None)
            assert claimed is not None
            execution.run(claimed)

    [marking] = [statement for statement in sent if statement.startswith("PREPARE") and "SELECT 1 / count" in statement]
    name = marking.split()[1]
    assert [f"; EXECUTE {name} " in statement for statement in sent].count(True) == 2


def test_the_plan_of_the_marking_is_kept(bus: EventBus, worker: MakeWorker) -> None:
    """One for all partitions; left to itself the server would plan each time, for longer than the marking takes."""
    seen: list[tuple[int, int]] = []

    def handler(event: Event, session: Session) -> None:
        plans = session.execute(text("SELECT generic_plans, custom_plans FROM pg_prepared_statements")).all()
        seen.extend((generic, custom) for generic, custom in plans)

    bus.subscribe("order.created", group="a", handler=handler)
    execution = worker()

    for _ in range(7):
        event = bus.publish("order.created", 1, source="orders")
        claimed = execution.take("a", event.id, task_id=None)
        assert claimed is not None
        execution.run(claimed)

    assert seen == [(number, 0) for number in range(7)]


def test_the_server_plans_a_handlers_statements_as_it_does_by_itself(run: Run, rows: Rows) -> None:
    """What the marking asks of the planner ends with its transaction."""
    seen: list[str] = []

    def handler(event: Event, session: Session) -> None:
        names = ("plan_cache_mode", "enable_seqscan")
        seen.extend(str(session.execute(text(f"SHOW {name}")).scalar()) for name in names)

    run(handler)
    run(handler)

    assert seen == ["auto", "on"] * 2


def test_a_connection_that_is_lost_while_marking_is_a_failed_run(run: Run, rows: Rows) -> None:
    """Nothing of it is committed."""

    def handler(event: Event, session: Session) -> None:
        effect(session)
        pid = session.execute(text("SELECT pg_backend_pid()")).scalar()
        rows.all("SELECT pg_terminate_backend(%s, 5000)", pid)

    outcome = run(handler)

    assert isinstance(outcome, DatabaseUnreachable)
    assert effects(rows) == []


def test_a_marking_that_the_server_refuses_is_a_failed_run(run: Run, rows: Rows) -> None:
    """Nothing of it is committed either."""
    rows.all("ALTER TABLE eventbus.delivery ADD CONSTRAINT refuse CHECK (state <> 'done') NOT VALID")

    outcome = run(lambda event, session: effect(session))

    assert "refuse" in str(outcome)
    assert effects(rows) == []
