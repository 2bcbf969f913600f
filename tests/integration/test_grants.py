"""`grants`: each role can do its work with what is printed for it, and nothing else."""

import threading
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
import redis
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from eventbus import Draft, Event, EventBus
from eventbus.errors import NotPermitted
from eventbus.lifecycle import housekeeping
from eventbus.lifecycle.health import Verdict
from eventbus.lifecycle.relaying import Relay
from eventbus.storage import workers
from eventbus.storage.workers import Worker
from tests.integration.conftest import MakeBus, MakeWorker, Run
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns

As = Callable[[str], EventBus]


def refuse(event: Event) -> None:
    raise ValueError(event.type)


@pytest.fixture
def as_role(rows: Rows, run_here: Run, environment: object, make_bus: MakeBus, database_url: str) -> Iterator[As]:
    """A function that makes a bus whose database user has one role, of those that `eventbus grants` prints."""
    prefix = f"test_{uuid4().hex[:8]}"
    printed = run_here("grants", "--prefix", prefix)
    assert printed.returncode == 0
    rows.all(printed.stdout)
    rows.all(printed.stdout)  # safe to run again

    def make(role: str) -> EventBus:
        user = f"{prefix}_{role}_user"
        rows.all(f"CREATE ROLE {user} LOGIN PASSWORD 'secret' IN ROLE {prefix}_{role}")
        url = make_url(database_url).set(username=user, password="secret")
        return make_bus(database_url=url.render_as_string(hide_password=False))

    yield make
    for (name,) in rows.all("SELECT rolname FROM pg_roles WHERE rolname LIKE %s ORDER BY rolname DESC", f"{prefix}%"):
        rows.all(f'DROP OWNED BY "{name}"')
        rows.all(f'DROP ROLE "{name}"')


@pytest.fixture
def owner(bus: EventBus) -> EventBus:
    """A bus of the tables' owner, with a group that fails."""
    bus.subscribe("order.*", group="stock", handler=refuse, max_retries=0)
    bus.sync()
    return bus


def run_all(here: SingleRuns) -> None:
    """Handle what is due, once."""
    claimed = here.take("stock")
    assert claimed is not None
    ended = here.run(claimed)
    if isinstance(ended, BaseException):
        here.fail(claimed, ended)


def test_a_publisher_publishes_in_every_way(owner: EventBus, as_role: As, rows: Rows) -> None:
    """With keys that repeat and keys that were forgotten, in batches, and in a transaction."""
    publisher = as_role("publisher")
    for _ in range(2):
        publisher.publish("order.created", {}, source="shop", idempotency_key="k")
    rows.all("UPDATE eventbus.publish_key SET created_at = now() - interval '8 days'")
    publisher.publish("order.created", {}, source="shop", idempotency_key="k")
    publisher.publish_many([Draft(type="order.paid", data={}, source="shop", idempotency_key=key) for key in "ab"])
    with Session(publisher.database.engine) as session:
        publisher.publish("order.paid", {}, source="shop", session=session)
        session.commit()

    assert (rows.count("event_log"), rows.count("delivery")) == (5, 5)
    assert publisher.health().verdict is Verdict.OK
    for action in (lambda: publisher.pause_group("stock"), publisher.stats, publisher.sync):
        with pytest.raises(NotPermitted, match="eventbus grants"):
            action()


def test_a_worker_handles_and_keeps_house(
    owner: EventBus, as_role: As, worker: MakeWorker, rows: Rows, redis_client: "redis.Redis[bytes]"
) -> None:
    """Declares, claims, fails, gives up, finishes, relays; but it makes no partitions, which is the owner's."""
    role = as_role("worker")
    role.subscribe("order.*", group="stock", handler=refuse, max_retries=0)
    role.subscribe("user.*", group="mail", handler=lambda event: None)
    here = worker(role)
    role.publish("order.created", {}, source="shop", idempotency_key="k")
    role.publish("user.seen", {}, source="shop")
    run_all(here)
    seen = here.take("mail")
    assert seen is not None
    with here.sessions() as sessions:
        assert here.call(seen, sessions) is None
    here.done(seen)
    rows.all(
        "UPDATE eventbus.delivery SET state = 'pending', finished_at = NULL, due_at = now() - interval '1 h' "
        "WHERE group_name = 'mail'"
    )
    living = Worker(id=uuid4(), name="w", host="h", pid=1, pool="solo", concurrency=1, version="0", groups=["stock"])
    chores = [chore for chore in housekeeping.chores_of(living) if chore.name != "partitions"]
    for chore in chores:
        chore.do(role.database)
    relay = Relay(
        database=role.database,
        broker=role.broker,
        subscriptions=here.known.all_ids(),
        own_queue=f"{role.settings.prefix}.own",
        is_idle=threading.Event().is_set,
        restart_consumer=lambda: None,
    )
    redis_client.delete(role.settings.queue("mail"))
    relay.sweep()
    housekeeping.say_goodbye(role.database, living)

    assert (rows.count("dead_letter"), rows.value("SELECT group_name FROM eventbus.repair")) == (1, "mail")
    with role.database.autocommit() as connection:
        assert workers.list_live(connection) == []
    with pytest.raises(NotPermitted):
        role.replay("#", group="stock")


def test_a_viewer_sees_everything_and_changes_nothing(
    owner: EventBus, as_role: As, worker: MakeWorker, run_here: Run, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    """Every view works; every change is refused, in a sentence."""
    event = owner.publish("order.created", {}, source="shop", correlation_id="c")
    run_all(worker(owner))
    viewer = as_role("viewer")
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", viewer.settings.database_url)
    views = ["stats", "events list", f"events show {event.id}", "groups list", "groups show stock", "dead list"]
    views += ["trace c", f"why {event.id} stock", "replay list", "replay plan # --group stock", "health"]
    answers = {view: run_here(*view.split()).returncode for view in views}
    with rows.transaction() as cursor:
        # Of another role's transaction a viewer may see that there is one, and not since when.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT 1")
        checked = run_here("doctor")
        answers["storage"] = run_here("storage").returncode
    changes = ["groups pause stock", "dead retry --group stock --yes", "groups remove stock --yes"]
    changes += ["replay run # --group stock --yes", "publish order.created {} --source x"]
    refused = {change: run_here(*change.split()) for change in changes}

    assert set(answers.values()) == {0}, answers
    assert "no worker is running" in checked.stdout
    assert {done.returncode for done in refused.values()} == {2}, refused
    assert all("eventbus grants" in done.stderr for done in refused.values())


def test_an_operator_operates(
    owner: EventBus, as_role: As, worker: MakeWorker, run_here: Run, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    """Every change that the command line offers; but it publishes nothing."""
    owner.publish("order.created", {}, source="shop")
    here = worker(owner)
    run_all(here)
    operator = as_role("operator")
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", operator.settings.database_url)
    letter = rows.value("SELECT id FROM eventbus.dead_letter")
    changes = ["groups pause stock", "groups resume stock", "stats --recount", f"dead note {letter} mine"]
    changes += [
        "dead discard --group stock --reason x --yes",
        f"dead restore {letter}",
        "dead retry --group stock --yes",
    ]
    changes += ["replay run # --group stock --yes", "sweep", "groups remove stock --yes"]
    answers = {change: run_here(*change.split()) for change in changes}

    assert {done.returncode for done in answers.values()} == {0}, answers
    assert run_here("publish", "order.created", "{}", "--source", "x").returncode == 2


def test_roles_can_be_printed_one_by_one(run_here: Run, environment: object) -> None:
    """With what they include; a prefix is a name."""
    printed = run_here("grants", "operator").stdout

    assert 'CREATE ROLE "eventbus_viewer"' in printed
    assert 'GRANT "eventbus_viewer" TO "eventbus_operator";' in printed
    assert "worker" not in printed.partition("-- operator")[0]
    assert run_here("grants", "--prefix", 'x"; DROP').returncode == 2
