"""PostgreSQL goes away under workers: they go on by themselves, and what was done counts once."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta

import pytest

from eventbus import Draft
from eventbus.embedded import EmbeddedPostgres, Servers
from eventbus.errors import DatabaseUnreachable
from tests.e2e.stage import TIMEOUT, Stage
from tests.support import wait_until
from tests.support.clocks import clock_that_is_off


@pytest.fixture
def stage(postgres: EmbeddedPostgres, servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage on a PostgreSQL of its own."""
    folder = tmp_path_factory.mktemp("trouble")
    environment = {
        "EVENTBUS_DATABASE_URL": postgres.url,
        "EVENTBUS_BROKER_URL": servers.broker_url,
        "EVENTBUS_PREFIX": folder.name,
        "EVENTBUS_LEASE_SECONDS": "3",
    }
    stage = Stage(folder, environment)
    yield stage
    stage.close()


def test_workers_outlive_a_restart_of_the_database(stage: Stage, postgres: EmbeddedPostgres) -> None:
    """It is gone for a while with all connections; afterwards events flow as before, without help."""
    worker = stage.start(groups=["courier", "inventory"])
    before = [stage.publish("parcel.sent", {}) for _ in range(5)]
    for event in before:
        stage.wait_for_state(event, "courier", "done")

    postgres.stop()
    worker.wait_for_log("duty_waits", timeout=TIMEOUT)
    postgres.start()
    after = [stage.publish("parcel.sent", {}) for _ in range(5)]

    for event in after:
        stage.wait_for_state(event, "courier", "done")
    assert [len(stage.effects(event, "courier")) for event in before + after] == [2] * 10
    assert worker.is_running


@pytest.mark.faketime
@pytest.mark.parametrize("offset", ["+600s", "-600s"])
def test_workers_go_on_when_the_clock_jumps_at_a_failover(
    stage: Stage, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, offset: str
) -> None:
    """Ten minutes ahead or back: what is published then is recorded and handled, by workers old and new; retries come in time."""
    worker = stage.start(groups=["courier", "inventory"])
    before = stage.publish("parcel.sent", {})
    stage.wait_for_state(before, "courier", "done")
    postgres.kill()
    with monkeypatch.context() as patched:
        for name, value in clock_that_is_off(offset).items():
            patched.setenv(name, value)
        postgres.start()

    stage.start(groups=["flaky"])
    after = [stage.publish("parcel.sent", {}) for _ in range(3)]
    retried = stage.publish("flaky.asked", {"error": "ValueError", "failures": 1})

    jump = after[0].created_at - before.created_at
    assert abs(abs(jump) - timedelta(minutes=10)) < timedelta(minutes=1)
    for event in after:
        stage.wait_for_state(event, "courier", "done")
        assert len(stage.effects(event, "courier")) == 2
    stage.wait_for_state(retried, "flaky", "done")
    assert worker.is_running


def test_a_run_whose_settlement_meets_a_dead_database_counts_once(stage: Stage, postgres: EmbeddedPostgres) -> None:
    """The handler has returned while PostgreSQL was away: it is marked when it is back, not run again, and not charged."""
    worker = stage.start(module="tests.e2e.shop.offline", groups=["offline"])
    event = stage.publish("offline.asked", {})
    wait_until((worker.folder / "started").exists, timeout=TIMEOUT)
    postgres.stop()
    (worker.folder / "go on").touch()
    worker.wait_for_log("settlement_repeated", timeout=TIMEOUT)

    postgres.start()

    row = stage.wait_for_state(event, "offline", "done")
    assert (row.attempts, row.deaths) == (0, 0)
    assert (worker.folder / "started").read_text() == "started\n"


def test_terminated_backends_cost_no_event(stage: Stage) -> None:
    """All connections are cut at once, as at a failover: what runs is done once, what waits is run."""
    stage.start(groups=["courier"])
    stage.wait_for_state(stage.publish("parcel.sent", {}), "courier", "done")
    events = [stage.publish("parcel.sent", {}) for _ in range(10)]
    stage.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND application_name = 'eventbus' AND datname = current_database()"
    )
    # The publisher's own connection was cut as well: it is told that nothing was recorded, and publishes again.
    with contextlib.suppress(DatabaseUnreachable):
        events.append(stage.publish("parcel.sent", {}))
    events += [stage.publish("parcel.sent", {}) for _ in range(10)]

    for event in events:
        row = stage.wait_for_state(event, "courier", "done")
        assert row.deaths == 0
        assert {item.facts["step"] for item in stage.effects(event, "courier")} == {"started", "ended"}


def test_a_backlog_of_sessions_outlives_a_server_that_is_killed(stage: Stage, postgres: EmbeddedPostgres) -> None:
    """What a batch has not waited for is forgotten, effect and completion alike, and runs again: each effect is there once."""
    module = "tests.e2e.shop.ledger"
    for statement in ("CREATE TABLE public.entry (event_id uuid)", "ALTER SYSTEM SET wal_writer_delay = '10s'"):
        stage.change(statement)
    stage.change("SELECT pg_reload_conf()")
    stage.sync(module=module)
    asked = {
        event.id
        for event in stage.bus.publish_many(Draft(type="entry.asked", data={}, source="a") for _ in range(2000))
    }

    def count(what: str) -> int:
        return int(stage.rows(f"SELECT count(*) AS found FROM {what}")[0].found)

    stage.start(module=module, groups=["ledger"])
    for entries in (300, 900, 1500):
        wait_until(lambda least=entries: count("public.entry") >= least, timeout=TIMEOUT, message=stage.logs)  # type: ignore[misc]
        postgres.kill()
        postgres.start()
    wait_until(lambda: count("eventbus.delivery WHERE state <> 'done'") == 0, timeout=TIMEOUT, message=stage.logs)

    found = [row.event_id for row in stage.rows("SELECT event_id FROM public.entry")]
    assert (len(found), set(found)) == (2000, asked)
