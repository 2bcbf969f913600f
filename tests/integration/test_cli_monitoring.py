"""`eventbus stats` and `eventbus health`: for people, for pipes, for programs, and as health checks by their exit code."""

import json
import os
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pexpect
import pytest
import redis

from eventbus import EventBus
from eventbus.cli import main, target
from eventbus.embedded import EmbeddedValkey
from eventbus.embedded.server import free_port
from eventbus.storage import workers
from eventbus.storage.workers import Worker
from tests.support.rows import Rows
from tests.support.workers import ROOT

Answer = tuple[int, str]
Run = Callable[..., Answer]


@pytest.fixture
def run(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs `eventbus ARGUMENTS` in this process: its exit code and its output."""

    def call(*arguments: str) -> Answer:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out + captured.err

    return call


@pytest.fixture
def busy(bus: EventBus) -> EventBus:
    """Two events for one group, nothing handled."""
    bus.subscribe("order.*", group="stock", handler=lambda event: None)
    bus.sync()
    for type in ("order.created", "order.paid"):
        bus.publish(type, {}, source="tests")
    return bus


@pytest.fixture
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that refuses connections, for the command line."""
    monkeypatch.setenv("EVENTBUS_BROKER_URL", f"redis://127.0.0.1:{free_port()}/0")


def beat(bus: EventBus, *groups: str, host: str = "elsewhere") -> None:
    """Let a worker of *groups* say that it lives."""
    worker = Worker(
        id=uuid4(), name=f"{groups[0]}@{host}", host=host, pid=1, pool="solo", concurrency=1, version="0", groups=groups
    )
    with bus.database.autocommit() as connection:
        workers.beat(connection, worker)


def test_stats_in_a_pipe_are_lines(run: Run, busy: EventBus) -> None:
    """One for each type and group, and the total."""
    code, output = run("stats")

    assert code == 0
    assert output.splitlines() == [
        "type\torder.created\t1\t0\t0\t\t",
        "type\torder.paid\t1\t0\t0\t\t",
        "group\tstock\t\t0\t0\t2\t2",
        "total\t\t2\t0\t0\t2\t2",
    ]


def test_stats_for_programs_are_one_object(run: Run, busy: EventBus, rows: Rows) -> None:
    """With the names of the API; counted anew on request, saying how far it has come."""
    rows.all("INSERT INTO eventbus.traffic_total VALUES ('damage', '', 7, 0)")

    code, output = run("stats", "--recount", "--json")
    answer, *progress = output.splitlines()

    assert "2 of 2 days" in progress[-1]
    assert (code, json.loads(answer)) == (
        0,
        {
            "published": 2,
            "consumed": 0,
            "dead": 0,
            "queue_depths": {"stock": 2},
            "by_type": {
                "order.created": {"published": 1, "consumed": 0, "dead": 0},
                "order.paid": {"published": 1, "consumed": 0, "dead": 0},
            },
            "by_group": {"stock": {"consumed": 0, "dead": 0, "depth": 2}},
            "broker_depths": {"stock": 2},
        },
    )


def test_stats_on_a_terminal_are_a_table(environment: dict[str, str], busy: EventBus) -> None:
    """With headings; a broker that cannot be reached is said to be so, and changes no number."""
    variables = {**os.environ, "EVENTBUS_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from eventbus.cli import main; main()", "stats"]
    child = pexpect.spawn(command[0], command[1:], env={**variables, "TERM": "xterm"}, dimensions=(40, 120), timeout=30)  # type: ignore[arg-type]
    child.expect(pexpect.EOF)
    child.close()
    output = child.before.decode()  # type: ignore[union-attr]

    assert child.exitstatus == 0, output
    assert "in broker" in output
    [stock] = [line.split() for line in output.splitlines() if "stock" in line]
    assert stock[-4:] == ["0", "0", "2", "unreachable"]


def test_stats_without_a_database_are_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unreachable is an exit code of its own."""
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", f"postgresql://me:secret@127.0.0.1:{free_port()}/x")

    code, output = run("stats")

    assert code == 4
    assert "secret" not in output


def test_a_bus_whose_servers_answer_is_healthy(run: Run, bus: EventBus) -> None:
    """PostgreSQL has the tables, the broker takes messages."""
    assert run("health") == (0, "database  ok\nbroker  ok\n")


def test_tables_of_another_revision_are_unhealthy(run: Run, rows: Rows) -> None:
    """The answer is no, and says what to do."""
    rows.all("UPDATE eventbus.alembic_version SET version_num = '0000'")

    code, output = run("health", "--json")
    found = json.loads(output)

    assert (code, found["healthy"], found["database"]["verdict"], found["broker"]["verdict"]) == (
        1,
        False,
        "unfit",
        "ok",
    )
    assert "eventbus migrate" in found["database"]["reason"]


def test_a_database_that_takes_no_writes_is_unhealthy(
    run: Run, bus: EventBus, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that can be read of a standby looks well, and nobody can publish."""
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", f"{database_url}?options=-cdefault_transaction_read_only%3Don")

    code, output = run("health")
    diagnosed, findings = run("doctor")

    assert (code, diagnosed) == (1, 1)
    assert output.startswith("database  unfit: PostgreSQL at ")
    assert "is read-only, as a standby is" in output
    assert "is read-only, as a standby is" in findings


def test_a_broker_that_cannot_be_reached_is_told_apart(run: Run, no_broker: None) -> None:
    """From a database that is not as it should be; the database is asked all the same."""
    code, output = run("health")

    assert code == 4
    assert output.startswith("database  ok\nbroker  unreachable: the broker at redis://")


@pytest.mark.parametrize(("setting", "value"), [("maxmemory", "1"), ("requirepass", "secret")])
def test_a_broker_that_refuses_is_unfit(
    setting: str, value: str, run: Run, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, and takes no messages."""
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set(setting, value)
    monkeypatch.setenv("EVENTBUS_BROKER_URL", valkey.url)

    code, output = run("health")

    assert code == 1
    assert output.startswith("database  ok\nbroker  unfit: the broker at redis://")


def test_a_database_that_cannot_be_reached_is_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its password is not told."""
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", f"postgresql://me:secret@127.0.0.1:{free_port()}/x")

    code, output = run("health")

    assert code == 4
    assert output.endswith("broker  ok\n")
    assert "secret" not in output


def test_a_group_is_healthy_while_a_worker_of_it_lives(run: Run, bus: EventBus, no_broker: None) -> None:
    """All groups that are named must have one; the broker is not asked."""
    beat(bus, "stock", "mail")

    assert run("health", "worker", "stock", "mail") == (0, "stock  stock@elsewhere\nmail  stock@elsewhere\n")
    assert run("health", "worker", "stock", "search") == (1, "stock  stock@elsewhere\nsearch  no worker\n")


def test_a_worker_that_is_silent_is_unhealthy(run: Run, bus: EventBus, rows: Rows) -> None:
    """Thirty seconds without a word."""
    beat(bus, "stock")
    before = run("health", "worker")
    rows.all("UPDATE eventbus.worker SET started_at = now() - interval '1 h', seen_at = now() - interval '31 s'")

    assert before == (0, "stock  stock@elsewhere\n")
    assert run("health", "worker") == (1, "no worker serves any group.\n")


def test_a_container_asks_for_its_own_worker(run: Run, bus: EventBus) -> None:
    """Another one's does not help it."""
    beat(bus, "stock")
    without = run("health", "worker", "--here", "stock", "--json")
    beat(bus, "stock", host=socket.gethostname())

    code, output = run("health", "worker", "--here", "stock", "--json")

    assert (without[0], json.loads(without[1])) == (1, {"healthy": False, "groups": {"stock": []}})
    assert (code, json.loads(output)["groups"]) == (0, {"stock": [f"stock@{socket.gethostname()}"]})


def test_a_worker_check_without_a_database_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether workers live: a health check takes that for no as well."""
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", f"postgresql://127.0.0.1:{free_port()}/x")

    assert run("health", "worker")[0] == 4


def test_a_group_that_cannot_be_is_bad_input(run: Run) -> None:
    """A typo is not an unhealthy worker."""
    assert run("health", "worker", "No Group")[0] == 2


@pytest.mark.parametrize("command", ["stats", "doctor"])
def test_a_lock_that_somebody_forgot_holds_up_no_look(
    command: str, bus: EventBus, run: Run, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is woken by it is told where to look, and not left waiting."""
    bus.subscribe("order.created", group="a", handler=lambda event: None)
    bus.sync()
    monkeypatch.setattr(target, "_PATIENCE", timedelta(seconds=0.5))

    with rows.transaction() as other:
        other.execute("LOCK TABLE eventbus.delivery IN ACCESS EXCLUSIVE MODE")
        code, said = run(*command.split())

    assert code == 4
    assert "cannot be reached" in said
