"""Runs with a session that follow each other: they share a connection, and each is one transaction of its own."""

import contextlib
import io
import signal
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import RealDictCursor
from psycopg2.sql import SQL, Identifier
from sqlalchemy import event as events
from sqlalchemy import text
from sqlalchemy.exc import InvalidRequestError, OperationalError
from sqlalchemy.orm import Session

from eventbus import Event, EventBus
from eventbus.errors import DatabaseUnreachable, HandlerError
from eventbus.lifecycle import handler_sessions
from eventbus.lifecycle.attending import Attendant
from eventbus.lifecycle.pace import Pace
from eventbus.lifecycle.slices import Slice
from eventbus.storage import driver
from eventbus.storage.connection import compiled
from eventbus.storage.database import Database
from eventbus.storage.driver import DriverConnection
from eventbus.storage.preparing import _commands
from eventbus.storage.settling import COMMIT_DONE
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.rows import Rows
from tests.support.statements import statements
from tests.support.waiting import wait_until

Body = Callable[[Event, Session], None]
#: Runs a slice for three events with the numbers 1 to 3; what became of the failed ones.
Drain = Callable[..., list[str]]

IDLE = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND datname = current_database()"
RUNNING = "WHERE state = 'running' AND event_id = %s"


@pytest.fixture
def table(rows: Rows) -> None:
    """Where handlers leave what they did: a number, and the transaction it was."""
    rows.all("CREATE TABLE public.effect (number integer, xid xid8 DEFAULT pg_current_xact_id())")


@pytest.fixture
def drain(table: None, worker: MakeWorker) -> Drain:
    """A function that publishes three events and runs a handler for them, one after the other in one batch."""

    def run(bus: EventBus, body: Body) -> list[str]:
        def handler(event: Event, session: Session) -> None:
            body(event, session)

        bus.subscribe("order.created", group="a", handler=handler)
        execution = worker(bus)
        for number in range(1, 4):
            bus.publish("order.created", number, source="orders")
        failed: list[str] = []
        pace = Pace()
        pace.note("a", deliveries=1000, seconds=0.01)
        turn = Slice(execution, "a", task_id="task", attendant=Attendant(execution.slots), pace=pace)
        turn.run_batches(
            lambda claimed, error, outcome: failed.append(f"{type(error).__name__} {type(outcome).__name__}")
        )
        turn.close()
        return failed

    return run


def effect(event: Event, session: Session) -> None:
    """A row that can be counted."""
    session.execute(text("INSERT INTO effect VALUES (:number)"), {"number": event.data})


def effects(rows: Rows) -> list[int]:
    """What has been committed."""
    return [number for (number,) in rows.all("SELECT number FROM effect ORDER BY 1")]


def states(rows: Rows) -> list[str]:
    """Where the three deliveries stand."""
    return [state for (state,) in rows.all("SELECT state FROM eventbus.delivery ORDER BY event_id")]


def second(body: Body, *, otherwise: Body = effect) -> Body:
    """*body* for the second event."""
    return lambda event, session: (body if event.data == 2 else otherwise)(event, session)


def test_each_run_is_a_transaction_of_its_own(drain: Drain, bus: EventBus, rows: Rows) -> None:
    """On one connection."""
    pids: list[int] = []

    def handler(event: Event, session: Session) -> None:
        effect(event, session)
        pids.append(session.execute(text("SELECT pg_backend_pid()")).scalar_one())

    failed = drain(bus, handler)

    assert (failed, effects(rows), states(rows)) == ([], [1, 2, 3], ["done"] * 3)
    assert len(set(pids)) == 1
    assert rows.value("SELECT count(DISTINCT xid) FROM effect") == 3
    assert rows.value("SELECT sum(consumed) FROM eventbus.traffic_tally") == 3


@pytest.fixture
def waited(table: None, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A function that tells what the commit of each effect waited for; the next run is in time, however busy the machine is."""
    monkeypatch.setattr(handler_sessions, "SPARE_SECONDS", 10.0)
    rows.all(
        "CREATE TABLE committed (number integer, setting text);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO committed VALUES (NEW.number, current_setting('synchronous_commit')); RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER note AFTER INSERT ON effect DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION note()"
    )
    return lambda: [setting for (setting,) in rows.all("SELECT setting FROM committed ORDER BY number")]


@pytest.mark.parametrize("usual", ["on", "local", "off"])
def test_only_a_run_whose_transaction_was_not_begun_ahead_waits_for_the_disk(
    usual: str, drain: Drain, bus: EventBus, waited: Callable[[], list[str]], rows: Rows
) -> None:
    """As its server says."""
    rows.all(f"ALTER DATABASE {rows.value('SELECT current_database()')} SET synchronous_commit = {usual}")

    failed = drain(bus, effect)

    assert (failed, waited()) == ([], [usual, "off", "off"])


@pytest.mark.parametrize("usual", ["on", "local", "off"])
@pytest.mark.parametrize("way", ["itself", "before the commit", "info cleared"])
def test_a_run_that_has_published_waits_for_the_disk_as_its_server_says(
    usual: str, way: str, drain: Drain, bus: EventBus, waited: Callable[[], list[str]], rows: Rows
) -> None:
    """Whenever it did that, and by what its server says now."""
    rows.all(f"ALTER DATABASE {rows.value('SELECT current_database()')} SET synchronous_commit = {usual}")

    def publish(session: Session) -> None:
        bus.publish("order.shipped", {}, source="orders", session=session)

    def handler(event: Event, session: Session) -> None:
        effect(event, session)
        if way == "before the commit":
            events.listen(session, "before_commit", publish)
        else:
            publish(session)
        if way == "info cleared":
            session.info.clear()

    failed = drain(bus, second(handler))

    assert (failed, waited()) == ([], [usual, usual, "off"])


def test_a_handler_waits_for_what_it_says(drain: Drain, bus: EventBus, waited: Callable[[], list[str]]) -> None:
    """As in any transaction."""

    def handler(event: Event, session: Session) -> None:
        effect(event, session)
        session.execute(text(f"SET LOCAL synchronous_commit = {'off' if event.data == 1 else 'local'}"))
        if event.data == 2:
            bus.publish("order.shipped", {}, source="orders")

    failed = drain(bus, handler)

    assert (failed, waited()) == ([], ["off", "local", "local"])


def test_nothing_is_open_when_the_batch_is_over(drain: Drain, bus: EventBus, rows: Rows) -> None:
    """A transaction that was begun ahead would stand open until the next wake-up."""
    drain(bus, effect)

    assert rows.value(IDLE) == 0


def test_no_transaction_stands_open_behind_a_handler_that_has_not_begun(
    drain: Drain, bus: EventBus, rows: Rows
) -> None:
    """The one that was begun ahead is ended, and the handler's first statement begins its own."""
    seen: list[int] = []

    def slow(event: Event, session: Session) -> None:
        wait_until(lambda: rows.value(IDLE) == 0)
        seen.append(rows.value(IDLE))
        effect(event, session)
        seen.append(rows.value(IDLE))

    failed = drain(bus, second(slow))

    assert (failed, effects(rows), seen) == ([], [1, 2, 3], [0, 1])


def test_a_handler_that_has_begun_keeps_its_transaction(drain: Drain, bus: EventBus, rows: Rows) -> None:
    """However it reaches the driver, and however long it takes."""
    ended = threading.Event()

    def slow(event: Event, session: Session) -> None:
        bind: Any = session.get_bind()
        with bind.connection.cursor() as cursor:
            cursor.execute("INSERT INTO effect VALUES (2)")
        ended.wait(handler_sessions.SPARE_SECONDS * 5)

    failed = drain(bus, second(slow))

    assert (failed, effects(rows), states(rows)) == ([], [1, 2, 3], ["done"] * 3)


def fail(event: Event, session: Session) -> None:
    """Fail after writing."""
    effect(event, session)
    raise KeyError("sku")


def twice(event: Event, session: Session) -> None:
    """Write what a deferred constraint refuses at the commit."""
    effect(event, session)
    effect(event, session)


def divide(event: Event, session: Session) -> None:
    """Write what a deferred trigger refuses in the way in which the marking does."""
    session.execute(text("INSERT INTO effect VALUES (0)"))


def go_on(event: Event, session: Session) -> None:
    """Hide an error of the database's."""
    effect(event, session)
    with contextlib.suppress(Exception):
        session.execute(text("SELECT 1 / 0"))


def refuse(event: Event, session: Session) -> None:
    """Have a listener that ends the commit before the driver hears of it."""
    effect(event, session)

    @events.listens_for(session, "before_commit")
    def end(_session: Session) -> None:
        raise LookupError


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (fail, "KeyError"),
        (twice, "IntegrityError"),
        (divide, "DataError"),
        (go_on, "HandlerError"),
        (refuse, "LookupError"),
    ],
)
def test_a_run_that_fails_leaves_its_neighbours_alone(
    body: Body, error: str, drain: Drain, bus: EventBus, rows: Rows
) -> None:
    """In the handler, or at the commit: it is charged an attempt, and they are done."""
    rows.all("ALTER TABLE effect ADD UNIQUE (number) DEFERRABLE INITIALLY DEFERRED")
    rows.all(
        "CREATE FUNCTION divide() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 / NEW.number; RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER divide AFTER INSERT ON effect DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION divide()"
    )

    failed = drain(bus, second(body))

    assert (failed, effects(rows)) == ([f"{error} Retrying"], [1, 3])
    assert states(rows) == ["done", "retrying", "done"]


def test_a_claim_that_is_lost_in_the_middle_commits_nothing(drain: Drain, bus: EventBus, rows: Rows) -> None:
    """And its neighbours are done."""

    def lose(event: Event, session: Session) -> None:
        effect(event, session)
        rows.all(f"UPDATE eventbus.delivery SET claim = claim - 1 {RUNNING}", str(event.id))

    failed = drain(bus, second(lose))

    assert (failed, effects(rows), states(rows)) == ([], [1, 3], ["done", "running", "done"])


def test_what_is_replayed_while_it_runs_is_committed_and_new_again(drain: Drain, bus: EventBus, rows: Rows) -> None:
    """It is not done: the replay was told that it would run once more."""
    replayed: list[Event] = []

    def replay(event: Event, session: Session) -> None:
        effect(event, session)
        if not replayed:
            replayed.append(event)
            rows.all(f"UPDATE eventbus.delivery SET rerun = true {RUNNING}", str(event.id))

    failed = drain(bus, second(replay))

    assert (failed, effects(rows), states(rows)) == ([], [1, 2, 2, 3], ["done"] * 3)


def test_what_a_run_leaves_open_is_committed(drain: Drain, bus: EventBus, rows: Rows) -> None:
    """Savepoints, by SQL or by SQLAlchemy, and cursors."""

    def handler(event: Event, session: Session) -> None:
        session.execute(text("SAVEPOINT own"))
        session.begin_nested()
        effect(event, session)
        session.execute(text("DECLARE own CURSOR FOR SELECT 1"))

    failed = drain(bus, handler)

    assert (failed, effects(rows), states(rows)) == ([], [1, 2, 3], ["done"] * 3)


def test_what_is_written_last_of_all_is_committed_as_well(drain: Drain, bus: EventBus, rows: Rows) -> None:
    """Before the commit SQLAlchemy tells whoever listens."""

    def handler(event: Event, session: Session) -> None:
        events.listen(session, "before_commit", lambda session: effect(event, session))

    failed = drain(bus, handler)

    assert (failed, effects(rows), states(rows)) == ([], [1, 2, 3], ["done"] * 3)


def by_option(event: Event, session: Session) -> None:
    """As SQLAlchemy has it."""
    session.connection(execution_options={"isolation_level": "SERIALIZABLE"})


def by_deferrable(event: Event, session: Session) -> None:
    """An option that the driver refuses to change within a transaction."""
    session.connection(execution_options={"isolation_level": "SERIALIZABLE", "postgresql_deferrable": True})


def by_statement(event: Event, session: Session) -> None:
    """As SQL has it, for one transaction."""
    session.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))


def by_own_driver(event: Event, session: Session) -> None:
    """As psycopg2 has it, for all that its connection will do."""
    driver: Any = session.connection().connection.dbapi_connection
    driver.set_session(isolation_level="SERIALIZABLE")


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("body", [by_option, by_deferrable, by_statement, by_own_driver])
def test_how_a_run_wants_its_transaction_is_its_own_affair(
    body: Body, late: bool, drain: Drain, bus: EventBus, rows: Rows
) -> None:
    """It gets what it asks for; the next does not, also where the transaction begun ahead of it has been ended."""
    levels: list[str] = []

    def show(event: Event, session: Session) -> None:
        levels.append(session.execute(text("SHOW transaction_isolation")).scalar_one())

    def strict(event: Event, session: Session) -> None:
        body(event, session)
        show(event, session)

    def plain(event: Event, session: Session) -> None:
        if late:
            wait_until(lambda: rows.value(IDLE) == 0)
        show(event, session)

    failed = drain(bus, second(strict, otherwise=plain))

    assert (failed, levels) == ([], ["read committed", "serializable", "read committed"])


def test_a_session_is_of_no_use_after_its_run(drain: Drain, bus: EventBus, rows: Rows) -> None:
    """What a handler left behind would write into the transaction of another."""
    kept: list[Any] = []

    def keep(event: Event, session: Session) -> None:
        effect(event, session)
        kept.extend([session, session.connection()])

    def use(event: Event, session: Session) -> None:
        for old in kept:
            with pytest.raises(InvalidRequestError, match="closed"):
                old.execute(text("INSERT INTO effect VALUES (9)"))

    failed = drain(bus, second(use, otherwise=keep))

    assert (failed, effects(rows), states(rows)) == ([], [1, 3], ["done"] * 3)


def test_a_server_that_prepares_nothing_is_asked_in_the_ordinary_way(
    drain: Drain, make_bus: MakeBus, rows: Rows
) -> None:
    """EVENTBUS_PREPARE=0: the marking, and then the commit, which is the driver's."""
    bus = make_bus(prepare="0")
    bus.sync()

    with statements(bus.database) as sent:
        failed = drain(bus, effect)

    assert (failed, effects(rows), states(rows)) == ([], [1, 2, 3], ["done"] * 3)
    assert not [statement for statement in sent if "SAVEPOINT" in statement or "EXECUTE" in statement]


def test_a_run_does_not_go_on_where_its_connection_was_lost(drain: Drain, bus: EventBus, rows: Rows) -> None:
    """On another one nothing would keep its handler from committing early."""

    def go_on_without(event: Event, session: Session) -> None:
        pid = session.execute(text("SELECT pg_backend_pid()")).scalar()
        rows.all("SELECT pg_terminate_backend(%s, 5000)", pid)
        with contextlib.suppress(OperationalError):
            session.execute(text("SELECT 1"))
        session.rollback()
        effect(event, session)
        session.commit()

    failed = drain(bus, second(go_on_without))

    assert (failed, effects(rows)) == (["ResourceClosedError Retrying"], [1, 3])


def past_sqlalchemy(statement: Any) -> Body:
    """Commit by the driver's own cursor."""

    def body(event: Event, session: Session) -> None:
        effect(event, session)
        cursor = session.connection().connection.cursor()
        cursor.execute(statement)

    return body


def with_driver(act: Callable[[Any], Any]) -> Body:
    """Write, and do something with the driver's connection."""

    def body(event: Event, session: Session) -> None:
        effect(event, session)
        act(session.connection().connection.dbapi_connection)

    return body


def in_autocommit(event: Event, session: Session) -> None:
    """Write where each statement would commit by itself."""
    session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
    effect(event, session)


def by_driver(event: Event, session: Session) -> None:
    """Commit by the driver itself, and go on."""
    effect(event, session)
    with contextlib.suppress(HandlerError):
        session.connection().connection.commit()
    effect(event, session)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (past_sqlalchemy("COMMIT"), "HandlerError"),
        (past_sqlalchemy(b"COMMIT"), "HandlerError"),
        (past_sqlalchemy(SQL("COMMIT {}").format(SQL("AND CHAIN"))), "HandlerError"),
        (past_sqlalchemy("/* a /* nested */ trace */ COMMIT"), "HandlerError"),
        (past_sqlalchemy("-- a trace\nCOMMIT"), "HandlerError"),
        (past_sqlalchemy("SELECT ';' AS \"--\", $$ '$$, E'\\''; COMMIT"), "HandlerError"),
        (past_sqlalchemy(";COMMIT"), "HandlerError"),
        (with_driver(lambda driver: driver.cursor().executemany("COMMIT", [()])), "HandlerError"),
        (past_sqlalchemy("CREATE FUNCTION pg_temp.f() RETURNS int BEGIN ATOMIC SELECT 1; END; COMMIT"), "HandlerError"),
        (with_driver(lambda driver: driver.cursor().copy_expert("COMMIT", io.StringIO())), "HandlerError"),
        (with_driver(lambda driver: driver.set_isolation_level(3)), "HandlerError"),
        (with_driver(lambda driver: driver.set_client_encoding("LATIN1")), "HandlerError"),
        (with_driver(lambda driver: driver.reset()), "HandlerError"),
        (with_driver(lambda driver: driver.tpc_begin("x")), "HandlerError"),
        (with_driver(lambda driver: setattr(driver, "autocommit", True)), "HandlerError"),
        (with_driver(lambda driver: driver.set_isolation_level(0)), "HandlerError"),
        (with_driver(lambda driver: driver.set_session(autocommit=True)), "HandlerError"),
        (with_driver(lambda driver: driver.set_session(None, None, None, True)), "HandlerError"),
        (in_autocommit, "HandlerError"),
        (by_driver, "InterfaceError"),
    ],
)
def test_nobody_commits_past_sqlalchemy(body: Body, error: str, drain: Drain, bus: EventBus, rows: Rows) -> None:
    """It would be as early."""
    failed = drain(bus, second(body))

    assert (failed, effects(rows)) == ([f"{error} Retrying"], [1, 3])


#: What a session has beside its transaction.
KEPT = """
SELECT current_setting('statement_timeout'), current_setting('search_path'), current_setting('synchronous_commit'),
       (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
       (SELECT count(*) FROM pg_cursors), (SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'),
       (SELECT count(*) FROM pg_listening_channels()), to_regclass('pg_temp.mine')
"""


@pytest.mark.parametrize(
    "statement",
    [
        "SET statement_timeout = '1234ms'",
        "/* of a tenant */ SET search_path = public",
        "SELECT 1; SET synchronous_commit = local",
        "SELECT set_config('statement_timeout', '1234ms', false)",
        "SELECT pg_advisory_lock(7)",
        "DECLARE kept CURSOR WITH HOLD FOR SELECT 1",
        "LISTEN here",
        "CREATE TEMP TABLE mine (number integer)",
        "SELECT 1 AS number INTO TEMPORARY mine",
        "CREATE TABLE pg_temp.mine (number integer)",
        "CREATE OR REPLACE TEMP VIEW mine AS SELECT 1",
        "PREPARE mine AS SELECT 1",
    ],
)
def test_what_a_handler_sets_on_its_connection_ends_with_its_run(
    statement: str, drain: Drain, bus: EventBus, rows: Rows
) -> None:
    """Neither the next run has it, nor whoever has the connection from the pool; and be it that the run fails after it."""
    kept = []
    is_failing = "lock" in statement

    def body(event: Event, session: Session) -> None:
        kept.append(session.execute(text(KEPT)).one())
        effect(event, session)
        if event.data == 2:
            session.execute(text(statement))
            if is_failing:
                raise KeyError("sku")

    failed = drain(bus, body)
    with bus.database.engine.connect() as connection:
        kept.append(connection.execute(text(KEPT)).one())

    # A transaction that was begun together with a commit does not wait for the disk.
    assert len(kept) == 4
    assert {found[2] for found in kept} <= {"on", "off"}
    assert len({(*found[:2], *found[3:]) for found in kept}) == 1
    assert kept[-1] == kept[0]
    assert (failed, effects(rows)) == ((["KeyError Retrying"], [1, 3]) if is_failing else ([], [1, 2, 3]))


@pytest.mark.parametrize(
    "act",
    [
        lambda driver: driver.cursor().callproc("pg_advisory_lock", [7]),
        lambda driver: driver.cursor("kept", withhold=True).execute("SELECT 1"),
    ],
    ids=["function", "cursor"],
)
def test_what_a_handler_sets_by_the_driver_ends_with_its_run(
    act: Callable[[Any], Any], drain: Drain, bus: EventBus, rows: Rows
) -> None:
    """As well."""
    kept = []

    def body(event: Event, session: Session) -> None:
        kept.append(session.execute(text(KEPT)).one()[3:])
        if event.data == 2:
            act(session.connection().connection.dbapi_connection)

    assert drain(bus, body) == []
    assert len(set(kept)) == 1


def test_a_handler_may_send_much_at_once(drain: Drain, bus: EventBus, rows: Rows) -> None:
    """A statement for many rows, and COPY, by the driver."""

    def body(event: Event, session: Session) -> None:
        with session.connection().connection.cursor() as cursor:
            cursor.executemany("INSERT INTO effect VALUES (%s)", [(event.data,), (event.data + 10,)])
            cursor.copy_expert("COPY effect (number) FROM STDIN", io.StringIO(f"{event.data + 20}\n"))

    assert drain(bus, body) == []
    assert effects(rows) == [1, 2, 3, 11, 12, 13, 21, 22, 23]


def test_an_encoding_may_be_chosen_before_the_first_statement_and_ends_with_the_run(
    drain: Drain, bus: EventBus, rows: Rows
) -> None:
    """Like everything else that a handler sets."""
    used = []

    def body(event: Event, session: Session) -> None:
        if event.data == 2:
            session.connection().connection.dbapi_connection.set_client_encoding("LATIN1")
        effect(event, session)
        used.append(session.execute(text("SHOW client_encoding")).scalar_one())

    assert drain(bus, body) == []
    assert (effects(rows), used) == ([1, 2, 3], ["UTF8", "LATIN1", "UTF8"])


def test_whoever_was_lent_no_connection_may_do_with_it_as_he_likes(database: Database) -> None:
    """Transactions of two phases, and a reset."""
    pooled = database.lend(COMMIT_DONE)
    connection: Any = pooled.dbapi_connection

    connection.tpc_begin("two phases")
    connection.tpc_rollback()
    connection.cursor().execute("SET statement_timeout = '1h'")
    connection.reset()

    cursor = connection.cursor()
    cursor.execute("SHOW statement_timeout")
    assert cursor.fetchone() == ("0",)
    pooled.invalidate()


def test_what_lasts_no_longer_than_its_transaction_costs_nothing(drain: Drain, bus: EventBus, rows: Rows) -> None:
    """No connection is closed for an UPDATE, or a SET LOCAL."""
    pids = []

    def body(event: Event, session: Session) -> None:
        effect(event, session)
        session.execute(text("UPDATE effect SET number = number"))
        session.execute(text("SET LOCAL statement_timeout = '1h'"))
        session.execute(text("SELECT set_config('app.tenant', :tenant, true)"), {"tenant": "seven"})
        session.execute(text("CREATE TEMP TABLE passing (number integer) ON COMMIT DROP"))
        session.execute(text("RESET ROLE"))
        pids.append(session.execute(text("SELECT pg_backend_pid()")).scalar_one())

    failed = drain(bus, body)

    assert (failed, effects(rows), len(set(pids))) == ([], [1, 2, 3], 1)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT '; COMMIT'",
        "SELECT 1 -- ; COMMIT\n",
        "SELECT 1 /* ; COMMIT",
        'SELECT 1 AS "; COMMIT"',
        "SELECT E'\\'; COMMIT'",
        "DO $body$ BEGIN PERFORM 1; END; $body$",
        "SELECT CASE WHEN true THEN 1\nEND; SELECT 1",
        "SAVEPOINT s; ROLLBACK TO s",
        "SAVEPOINT s; ROLLBACK WORK TO SAVEPOINT s",
        "CREATE FUNCTION pg_temp.one() RETURNS integer BEGIN ATOMIC SELECT 1; END",
    ],
)
def test_what_only_looks_like_the_end_of_a_transaction_is_sent(
    statement: str, drain: Drain, bus: EventBus, rows: Rows
) -> None:
    """Words in texts, names, comments and bodies end nothing."""

    def body(event: Event, session: Session) -> None:
        effect(event, session)
        with contextlib.suppress(psycopg2.errors.SyntaxError):  # of a comment that has no end
            session.connection().connection.cursor().execute(statement)
        raise LookupError

    failed = drain(bus, second(body))

    assert failed == ["LookupError Retrying"]


def test_a_handler_may_have_cursors_of_its_own_kind(drain: Drain, bus: EventBus, rows: Rows) -> None:
    """The driver's, as it asks for them; and statements that the driver composes."""
    found: list[Any] = []

    def body(event: Event, session: Session) -> None:
        with session.connection().connection.cursor(cursor_factory=RealDictCursor) as cursor:
            insert = SQL("INSERT INTO {} VALUES (%s) RETURNING number").format(Identifier("effect"))
            cursor.execute(insert, (event.data,))
            found.extend(cursor.fetchall())

    failed = drain(bus, body)

    assert (failed, effects(rows)) == ([], [1, 2, 3])
    assert found == [{"number": 1}, {"number": 2}, {"number": 3}]


@pytest.fixture
def proxied(database_url: str, make_bus: MakeBus) -> Iterator[tuple[EventBus, FaultProxy]]:
    """A bus behind a proxy that loses connections."""
    with FaultProxy(database_url) as proxy:
        yield make_bus(database_url=proxy.url), proxy


@pytest.mark.parametrize(
    ("fault", "outcome", "left", "state"),
    [
        (Fault.BEFORE, ["DatabaseUnreachable Retrying"], [2, 3], "retrying"),
        (Fault.ANSWERED, ["DatabaseUnreachable Fenced"], [1, 2, 3], "done"),
    ],
)
def test_the_row_says_what_became_of_a_run_whose_answer_was_lost(
    fault: Fault,
    outcome: list[str],
    left: list[int],
    state: str,
    drain: Drain,
    proxied: tuple[EventBus, FaultProxy],
    rows: Rows,
) -> None:
    """Marked and committed, or neither: one command, and one transaction."""
    bus, proxy = proxied
    bus.sync()
    proxy.lose(fault, "; COMMIT; BEGIN")

    failed = drain(bus, effect)

    assert (failed, effects(rows), states(rows)) == (outcome, left, [state, "done", "done"])


def test_a_connection_that_cannot_be_had_is_no_failure_of_the_handler(
    drain: Drain, proxied: tuple[EventBus, FaultProxy], rows: Rows
) -> None:
    """While the marking is prepared: nothing has started, so all are given back, uncharged, and come again."""
    bus, proxy = proxied
    bus.sync()
    proxy.lose(Fault.BEFORE, f"PREPARE {_commands(compiled(COMMIT_DONE, 'eventbus'))[2]}")

    with pytest.raises(DatabaseUnreachable):
        drain(bus, effect)

    assert rows.all("SELECT state, attempts, deaths, claim FROM eventbus.delivery") == [("pending", 0, 0, None)] * 3
    assert effects(rows) == []


@pytest.mark.parametrize("suspect", [False, True])
def test_one_that_runs_alone_is_not_charged_for_a_connection_that_cannot_be_had(
    suspect: bool, table: None, worker: MakeWorker, proxied: tuple[EventBus, FaultProxy], rows: Rows
) -> None:
    """Not even one whose start is committed before its handler is called."""
    bus, proxy = proxied

    def handler(event: Event, session: Session) -> None:
        effect(event, session)

    bus.subscribe("order.created", group="a", handler=handler)
    execution = worker(bus)
    event = bus.publish("order.created", 1, source="orders")
    rows.all("UPDATE eventbus.delivery SET state = 'retrying', suspect = %s", suspect)
    proxy.lose(Fault.BEFORE, f"PREPARE {_commands(compiled(COMMIT_DONE, 'eventbus'))[2]}")
    turn = Slice(execution, "a", task_id="task", attendant=Attendant(execution.slots), pace=Pace())

    with pytest.raises(DatabaseUnreachable):
        turn.run_alone(event.id)

    found = rows.all("SELECT state, attempts, deaths, claim, started_at FROM eventbus.delivery")
    assert found == [("retrying" if suspect else "pending", 0, 0, None, None)]
    assert turn.run_alone(event.id) is None
    assert (effects(rows), states(rows)) == ([1], ["done"])


def test_a_server_that_is_away_lends_nothing(proxied: tuple[EventBus, FaultProxy]) -> None:
    """As an error of ours."""
    bus, proxy = proxied
    bus.sync()
    bus.database.dispose()
    proxy.refuses = True

    with pytest.raises(DatabaseUnreachable):
        bus.database.lend(COMMIT_DONE)


def test_an_alarm_in_the_middle_of_the_commit_changes_nothing_that_is_done(
    drain: Drain, bus: EventBus, rows: Rows
) -> None:
    """As Celery's own limit may ring: the command has ended, and the row says how."""
    rows.all(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON effect DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW WHEN (NEW.number = 2) EXECUTE FUNCTION wait()"
    )
    commits = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"

    def ring(*_: Any) -> None:
        raise TimeoutError("rung")

    def watch() -> None:
        wait_until(lambda: rows.all(commits))
        signal.raise_signal(signal.SIGUSR1)

    def alarmed(event: Event, session: Session) -> None:
        effect(event, session)
        threading.Thread(target=watch).start()

    before = signal.signal(signal.SIGUSR1, ring)
    try:
        failed = drain(bus, second(alarmed))
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert (failed, effects(rows), states(rows)) == (["TimeoutError Fenced"], [1, 2, 3], ["done"] * 3)
    assert rows.value(IDLE) == 0


def test_a_spare_transaction_is_ended_before_the_driver_is_changed(database: Database) -> None:
    """psycopg2 refuses that within a transaction, and nobody knows that there is one."""
    pooled = database.lend(COMMIT_DONE)
    driver: Any = pooled.dbapi_connection
    for change in (
        lambda: setattr(driver, "readonly", False),
        lambda: setattr(driver, "isolation_level", None),
        lambda: driver.set_session(readonly=None),
    ):
        driver.cursor().execute("SELECT 1")
        driver.note_spare()

        change()

        assert driver.info.transaction_status == 0
    pooled.close()


def test_a_spare_transaction_may_be_lost(database: Database, rows: Rows) -> None:
    """Whoever ends it has nothing to do with it, and whoever uses its connection hears of that."""
    pooled = database.lend(COMMIT_DONE)
    driver: Any = pooled.dbapi_connection
    driver.cursor().execute("SELECT 1")
    driver.note_spare()
    rows.all("SELECT pg_terminate_backend(%s, 5000)", driver.get_backend_pid())

    driver.end_spare()

    with pytest.raises(psycopg2.InterfaceError):
        driver.cursor().execute("SELECT 1")
    pooled.invalidate()


def test_whoever_writes_waits_until_a_spare_transaction_has_ended(
    database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the write would be rolled back with it, and what comes after it be committed."""
    rows.all("CREATE TABLE public.effect (number integer)")
    pooled = database.lend(COMMIT_DONE)
    connection: Any = pooled.dbapi_connection
    connection.cursor().execute("SELECT 1")
    connection.note_spare()
    is_ending, has_written = threading.Event(), threading.Event()

    def suppress(*errors: type[BaseException]) -> Any:
        is_ending.set()
        has_written.wait(0.3)  # in vain: it waits for this
        return contextlib.suppress(*errors)

    monkeypatch.setattr(driver, "contextlib", SimpleNamespace(suppress=suppress))
    attendant = threading.Thread(target=connection.end_spare)
    attendant.start()
    assert is_ending.wait(10)

    connection.cursor().execute("INSERT INTO public.effect VALUES (1)")
    has_written.set()
    attendant.join()
    connection.commit()
    pooled.close()

    assert rows.all("SELECT number FROM public.effect") == [(1,)]


def test_a_large_object_takes_the_spare_transaction(database: Database) -> None:
    """Like everything that the driver does."""
    pooled = database.lend(COMMIT_DONE)
    driver: Any = pooled.dbapi_connection
    driver.cursor().execute("SELECT 1")
    driver.note_spare()

    driver.lobject()
    driver.end_spare()

    assert driver.info.transaction_status == 2
    pooled.close()


@pytest.mark.parametrize("change", [{"isolation_level": "SERIALIZABLE"}, {"readonly": True}, {"deferrable": True}])
def test_what_was_changed_at_the_driver_ends_with_its_use(change: dict[str, Any], database: Database) -> None:
    """A handler that is lent the same connection again gets it as new; in the pool nobody finds it changed."""
    pooled = database.lend(COMMIT_DONE)
    driver: Any = pooled.dbapi_connection
    found = [driver.is_as_new]
    driver.set_session(**change)
    found.append(driver.is_as_new)
    pooled.close()

    again = database.lend(COMMIT_DONE)

    assert again.dbapi_connection is driver
    assert [*found, driver.is_as_new] == [True, False, True]
    again.close()


def test_a_connection_of_one_moment_begins_as_usual_afterwards(database: Database) -> None:
    """SQLAlchemy would have it begin each transaction with the level that was the usual one when it first connected."""
    with database.transaction(of_one_moment=True) as connection:
        driver: Any = connection.raw.connection.dbapi_connection
        level = connection.value("SHOW transaction_isolation")

    assert (level, driver.is_as_new) == ("repeatable read", True)


def test_only_a_connection_at_rest_is_as_new(database_url: str) -> None:
    """One with a transaction of somebody's, in autocommit, or closed, is not lent again."""
    connection = psycopg2.connect(database_url, connection_factory=DriverConnection)
    found = [connection.is_as_new]
    connection.cursor().execute("SELECT 1")
    found.append(connection.is_as_new)
    connection.rollback()
    connection.autocommit = True
    found.append(connection.is_as_new)
    connection.autocommit = False
    found.append(connection.is_as_new)
    connection.close()
    found.append(connection.is_as_new)

    assert found == [True, False, False, True, False]
