"""publish(session=): the event exists exactly if the caller's transaction commits, and nobody hears of it before."""

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from eventbus import Draft, Event, EventBus
from eventbus.errors import DatabaseUnreachable, InvalidInput, NotMigrated
from eventbus.lifecycle.committing import dispatch_after_commit
from tests.support import requirements
from tests.support.rows import Rows

SECRET = "s3cr" + "3t"  # not as it stands in lines of this file, which tracebacks show
Messages = Callable[[str], list[dict[str, Any]]]


class Base(DeclarativeBase):
    """What the caller maps."""


class Purchase(Base):
    """A row of the caller's."""

    __tablename__ = "purchase"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def engine(database_url: str, rows: Rows) -> Iterator[sqlalchemy.Engine]:
    """The caller's own engine, and a table of the caller's."""
    rows.all("CREATE TABLE purchase (id integer)")
    engine = sqlalchemy.create_engine(database_url.replace("postgresql://", "postgresql+psycopg2://"))
    yield engine
    engine.dispose()


@pytest.fixture
def subscribed(bus: EventBus) -> EventBus:
    """The bus, with the group ``a`` that wants everything."""
    bus.subscribe("#", group="a", handler=lambda event: None)
    bus.sync()
    return bus


def publish(bus: EventBus, session: Any, data: Any = 1) -> Event:
    """An event in the caller's transaction."""
    return bus.publish("order.created", data, source="orders", session=session)


@pytest.fixture
def told(messages: Messages) -> Callable[[], list[str]]:
    """A function that returns the ids of the events that group ``a`` was woken for."""
    return lambda: [message["headers"]["argsrepr"].split()[1] for message in messages("a")]


@pytest.fixture
def recorded(rows: Rows) -> Callable[[], list[str]]:
    """A function that returns the ids of the events that exist, with their deliveries."""
    return lambda: [
        id
        for (id,) in rows.all(
            "SELECT e.id FROM eventbus.event_log e JOIN eventbus.delivery d ON d.event_id = e.id ORDER BY 1"
        )
    ]


Ids = Callable[[], list[str]]


def test_messages_leave_after_the_commit_and_not_before(
    subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids, rows: Rows
) -> None:
    """A worker that is told earlier would find nothing."""
    with Session(engine) as session:
        session.execute(text("INSERT INTO purchase VALUES (1)"))
        event = publish(subscribed, session)
        before = told(), recorded()
        session.commit()

    assert before == ([], [])
    assert told() == recorded() == [str(event.id)]
    assert rows.value("SELECT count(*) FROM purchase") == 1


@pytest.mark.parametrize("mode", ["create_savepoint", "rollback_only", "conditional_savepoint", "control_fully"])
def test_a_session_that_joined_a_transaction_tells_nobody_before_that_has_ended(
    mode: Any, subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """Its own commit decides nothing, unless it was given control; a relay finds what the transaction commits."""
    with engine.connect() as connection:
        transaction = connection.begin()
        with Session(connection, join_transaction_mode=mode) as session:
            event = publish(subscribed, session)
            session.commit()
        before = told(), recorded()
        transaction.commit() if transaction.is_active else None

    committed = [str(event.id)]
    assert before == ((committed, committed) if mode == "control_fully" else ([], []))
    assert recorded() == committed


@pytest.mark.parametrize("end", [Session.rollback, Session.close, Session.invalidate])
def test_a_transaction_that_does_not_commit_publishes_nothing(
    end: Callable[[Session], None], subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """Rolled back, closed or cut off: neither event nor message, also when the session goes on."""
    with Session(engine) as session:
        publish(subscribed, session)
        end(session)
        session.execute(text("SELECT 1"))
        session.commit()

    assert told() == recorded() == []


def test_what_a_block_raises_takes_its_events_along(
    subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """The usual `with Session.begin()` keeps the promise too."""
    with pytest.raises(ZeroDivisionError), Session(engine) as session, session.begin():
        publish(subscribed, session)
        raise ZeroDivisionError

    assert told() == recorded() == []


def test_several_events_of_one_transaction_leave_together_in_order(
    subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """One commit, one dispatch."""
    with sessionmaker(engine).begin() as session:
        events = [publish(subscribed, session, number) for number in range(3)]

    assert told() == recorded() == [str(event.id) for event in events]


def test_a_session_can_be_used_again_after_each_end(
    subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """Each transaction answers for its own events, and each event leaves once."""
    with Session(engine) as session:
        first = publish(subscribed, session)
        session.commit()
        publish(subscribed, session)
        session.rollback()
        second = publish(subscribed, session)
        session.commit()
        session.execute(text("SELECT 1"))
        session.commit()

    assert told() == recorded() == [str(first.id), str(second.id)]


def test_a_released_savepoint_waits_for_the_outermost_commit(
    subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """SQLAlchemy reports the release as a commit; it is none."""
    with Session(engine) as session:
        with session.begin_nested():
            with session.begin_nested():
                event = publish(subscribed, session)
            after_inner = told()
        after_outer = told()
        session.commit()

    assert after_inner == after_outer == []
    assert told() == recorded() == [str(event.id)]


def test_a_savepoint_that_is_rolled_back_drops_its_own_events_only(
    subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """What was published before and after it stays."""
    with Session(engine) as session:
        kept = [publish(subscribed, session)]
        savepoint = session.begin_nested()
        publish(subscribed, session)
        savepoint.rollback()
        kept.append(publish(subscribed, session))
        with session.begin_nested():
            kept.append(publish(subscribed, session))
        session.commit()

    assert told() == recorded() == [str(event.id) for event in kept]


def test_an_outer_savepoint_takes_the_released_ones_inside_it_along(
    subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """Released is not safe: the savepoint around it decides."""
    with Session(engine) as session:
        kept = publish(subscribed, session)
        outer = session.begin_nested()
        with session.begin_nested():
            publish(subscribed, session)
        outer.rollback()
        session.commit()

    assert told() == recorded() == [str(kept.id)]


def test_a_rollback_after_released_savepoints_drops_everything(
    subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """The outermost transaction has the last word."""
    with Session(engine) as session:
        with session.begin_nested():
            publish(subscribed, session)
        session.rollback()
        session.commit()

    assert told() == recorded() == []


def test_commit_inside_a_savepoint_commits_all(
    subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """session.commit() ends every level at once."""
    with Session(engine) as session:
        first = publish(subscribed, session)
        session.begin_nested()
        second = publish(subscribed, session)
        session.commit()

    assert told() == recorded() == [str(first.id), str(second.id)]


@pytest.fixture
def two_phases(request: pytest.FixtureRequest, rows: Rows) -> None:
    """Only where the server prepares transactions: by default PostgreSQL does not."""
    if rows.value("SHOW max_prepared_transactions") == "0":
        requirements.skip(request.node, "a server with max_prepared_transactions")


@pytest.mark.usefixtures("two_phases")
def test_two_phases_are_one_commit(subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids) -> None:
    """Nothing leaves while the transaction is only prepared."""
    with Session(engine, twophase=True) as session:
        event = publish(subscribed, session)
        session.prepare()
        prepared = told(), recorded()
        session.commit()

    assert prepared == ([], [])
    assert told() == recorded() == [str(event.id)]


@pytest.mark.usefixtures("two_phases")
def test_a_prepared_transaction_may_still_be_rolled_back(
    subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """Prepared is not committed."""
    with Session(engine, twophase=True) as session:
        publish(subscribed, session)
        session.prepare()
        session.rollback()

    assert told() == recorded() == []


def test_a_scoped_session_is_the_session_it_stands_for(
    subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """Web frameworks hand out scoped sessions; removing one rolls it back."""
    scoped = scoped_session(sessionmaker(engine))

    event = publish(subscribed, scoped)
    scoped.commit()
    publish(subscribed, scoped)
    scoped.remove()

    assert told() == recorded() == [str(event.id)]


async def in_async_session(bus: EventBus, url: str, told: Ids) -> tuple[list[str], list[Event]]:
    """Publish in AsyncSessions that commit, roll back and roll a savepoint back; what was told before, what was kept."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    sessions = async_sessionmaker(engine)
    async with sessions() as session:
        kept = [await session.run_sync(lambda inner: publish(bus, inner, {"ü": 1e16}))]
        savepoint = await session.begin_nested()
        await session.run_sync(lambda inner: publish(bus, inner))
        await savepoint.rollback()
        async with session.begin_nested():
            kept.append(await session.run_sync(lambda inner: publish(bus, inner)))
        before = told()
        await session.commit()
    async with sessions() as session:
        await session.run_sync(lambda inner: publish(bus, inner))
        await session.rollback()
    await engine.dispose()
    return before, kept


def test_an_async_session_publishes_through_run_sync(
    subscribed: EventBus, database_url: str, told: Ids, recorded: Ids
) -> None:
    """Another driver, the same promise."""
    before, kept = asyncio.run(in_async_session(subscribed, database_url, told))

    assert before == []
    assert told() == recorded() == [str(event.id) for event in kept]
    assert kept[0].data == {"ü": 1e16}


@pytest.mark.parametrize("session", [AsyncSession(), object(), "session"])
def test_what_is_no_session_is_refused_with_the_way_out(subscribed: EventBus, session: Any, recorded: Ids) -> None:
    """An AsyncSession must go through run_sync; the error says how."""
    with pytest.raises(InvalidInput, match=r"is no SQLAlchemy Session: of an AsyncSession .* session\.run_sync"):
        publish(subscribed, session)

    assert recorded() == []


async def in_async_autocommit(bus: EventBus, url: str) -> None:
    """Publish in an AsyncSession that commits each statement by itself."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"), isolation_level="AUTOCOMMIT")
    async with AsyncSession(engine) as session:
        with pytest.raises(InvalidInput, match="session= is in AUTOCOMMIT"):
            await session.run_sync(lambda inner: publish(bus, inner))
    await engine.dispose()


@pytest.mark.parametrize("many", [False, True])
def test_a_session_that_commits_each_statement_is_refused(
    subscribed: EventBus, engine: sqlalchemy.Engine, database_url: str, recorded: Ids, many: bool
) -> None:
    """Its rollback would leave the event, whatever the driver and whoever said so: engine, connection or session."""
    draft = Draft(type="order.created", data=1, source="orders")
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    changed = Session(engine)
    changed.connection(execution_options={"isolation_level": "AUTOCOMMIT"})

    with autocommit.connect() as connection:
        for session in (Session(autocommit), Session(connection), changed):
            with session, pytest.raises(InvalidInput, match="session= is in AUTOCOMMIT"):
                subscribed.publish_many([draft], session=session) if many else publish(subscribed, session)
    asyncio.run(in_async_autocommit(subscribed, database_url))

    assert recorded() == []


def test_a_refused_event_leaves_the_transaction_as_it_was(
    subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """The caller may catch the error and go on."""
    with Session(engine) as session:
        kept = publish(subscribed, session)
        with pytest.raises(InvalidInput):
            publish(subscribed, session, float("nan"))
        session.commit()

    assert told() == recorded() == [str(kept.id)]


def test_what_the_caller_does_with_its_info_costs_no_message(
    subscribed: EventBus, engine: sqlalchemy.Engine, told: Ids, recorded: Ids
) -> None:
    """It may be cleared, even between publish and commit: each event leaves once, and a savepoint still drops its own."""
    with Session(engine) as session:
        kept = [publish(subscribed, session)]
        session.info.clear()
        kept.append(publish(subscribed, session))
        savepoint = session.begin_nested()
        publish(subscribed, session)
        session.info.clear()
        savepoint.rollback()
        session.commit()
        session.info.clear()
        kept.append(publish(subscribed, session))
        session.commit()

    assert told() == recorded() == [str(event.id) for event in kept]


def test_a_dispatch_that_fails_never_fails_the_commit(
    subscribed: EventBus, engine: sqlalchemy.Engine, caplog: pytest.LogCaptureFixture, told: Ids, recorded: Ids
) -> None:
    """The commit stands, another bus in the same transaction is served, and the failure is logged."""

    def fail(_recorded: Any) -> None:
        raise ZeroDivisionError

    with Session(engine) as session:
        session.connection()
        dispatch_after_commit(session, [], fail)
        event = publish(subscribed, session)
        session.commit()

    assert told() == recorded() == [str(event.id)]
    assert [record.levelno for record in caplog.records if record.message == "dispatch_failed"] == [logging.ERROR]


@pytest.mark.parametrize("known", [False, True])
def test_a_session_on_a_database_without_our_tables_is_told_so(
    bus: EventBus, engine: sqlalchemy.Engine, empty_database_url: str, known: bool
) -> None:
    """One sentence that names the session's database, whether the bus has used its own before or not."""
    elsewhere = sqlalchemy.create_engine(empty_database_url.replace("postgresql://", "postgresql+psycopg2://"))
    if known:
        publish(bus, None)

    with Session(elsewhere) as session, pytest.raises(NotMigrated, match="run 'eventbus migrate'") as caught:
        publish(bus, session, SECRET)

    assert f"{elsewhere.url.render_as_string()} has no eventbus tables" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    elsewhere.dispose()


def failed_statement(session: Session) -> None:
    """Have a statement of the caller's fail, as one that is caught."""
    with pytest.raises(ProgrammingError):
        session.execute(text("SELECT 1 FROM nowhere"))


def failed_flush(session: Session) -> None:
    """Have a flush of the caller's fail, as one that is caught."""
    session.add(Purchase(id="none"))
    with pytest.raises(StatementError):
        session.flush()


@pytest.mark.parametrize("fail", [failed_statement, failed_flush])
def test_a_transaction_that_has_failed_before_takes_no_event(
    subscribed: EventBus, engine: sqlalchemy.Engine, fail: Callable[[Session], None], told: Ids, recorded: Ids
) -> None:
    """It says so, without the event's data; after a rollback the session can be used."""
    with Session(engine) as session:
        fail(session)
        with pytest.raises(InvalidInput, match="in a transaction that has failed before: roll it back") as caught:
            publish(subscribed, session, SECRET)
        session.rollback()
        event = publish(subscribed, session)
        session.commit()

    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert told() == recorded() == [str(event.id)]


def closed(engine: sqlalchemy.Engine) -> Session:
    """A session that is of no use any more."""
    session = Session(engine, close_resets_only=False)
    session.close()
    return session


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (closed, "session= cannot be used: This Session has been permanently closed"),
        (lambda engine: Session(binds={Purchase: engine}), "session= cannot be used: This session is not bound"),
        (
            lambda engine: Session(sqlalchemy.create_engine("sqlite://", poolclass=NullPool)),
            "session= is on sqlite: pass one that is on the",
        ),
    ],
)
def test_a_session_that_cannot_be_joined_is_refused(
    subscribed: EventBus, engine: sqlalchemy.Engine, make: Callable[[sqlalchemy.Engine], Session], says: str
) -> None:
    """It is the caller's to mend, and SQLAlchemy's error nobody's to know."""
    session = make(engine)

    with pytest.raises(InvalidInput) as caught:
        publish(subscribed, session)

    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
    session.close()


def test_the_inside_of_an_async_session_is_refused_with_the_way_out(
    subscribed: EventBus, database_url: str, recorded: Ids
) -> None:
    """Outside of run_sync nobody waits for its driver."""

    async def use() -> str:
        engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"))
        async with AsyncSession(engine) as session:
            await session.connection()
            with pytest.raises(InvalidInput) as caught:
                publish(subscribed, session.sync_session, SECRET)
        await engine.dispose()
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        return str(caught.value)

    assert "session= is the inside of an AsyncSession: of an AsyncSession pass what" in asyncio.run(use())
    assert recorded() == []


def test_a_server_of_the_callers_that_is_gone_is_named(subscribed: EventBus) -> None:
    """The session's, not that of the bus; without the password."""
    away = sqlalchemy.create_engine("postgresql+psycopg2://u:s3cr3t@127.0.0.1:1/away")

    with (
        Session(away) as session,
        pytest.raises(DatabaseUnreachable, match=r"u:\*\*\*@127\.0\.0\.1:1/away cannot be reached"),
    ):
        publish(subscribed, session)
