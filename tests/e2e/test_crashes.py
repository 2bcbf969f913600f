"""Workers that die or freeze: what they held is run again, once, and what they come back with does not count."""

import contextlib
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from eventbus import Event
from eventbus.embedded import EmbeddedValkey, Servers
from tests.e2e.conftest import make_stage
from tests.e2e.stage import TIMEOUT, Stage
from tests.support import wait_until

LEASE = timedelta(seconds=2)


@pytest.fixture(scope="module")
def stage(servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage whose workers lose what they hold after two seconds without a sign of life."""
    yield from make_stage(servers, template_database, tmp_path_factory, EVENTBUS_LEASE_SECONDS="2")


@pytest.fixture(scope="module", autouse=True)
def subscribed(stage: Stage) -> None:
    """All groups are, whatever workers have been started."""
    stage.sync()


@pytest.fixture(autouse=True)
def workers(stage: Stage) -> Iterator[None]:
    """The test's workers end with it."""
    yield
    stage.end_workers()


def steps(stage: Stage, event: Any, group: str = "courier") -> list[str]:
    """What the handler has noted of *event*."""
    return [item.facts["step"] for item in stage.effects(event, group) if item.facts]


def starts(stage: Stage, event: Any) -> list[Any]:
    """When the handler was started."""
    return [item.at for item in stage.effects(event, "courier") if item.facts["step"] == "started"]


def test_a_killed_workers_event_is_run_by_another_when_its_lease_has_ended(stage: Stage) -> None:
    """Nobody sweeps: the relay of whoever lives finds it. It is a suspect from then on, and nothing is charged."""
    doomed = stage.start(groups=["courier"], concurrency=1)
    stage.start(groups=["courier"], concurrency=1)
    with stage.closed_gate(7):
        event = stage.publish("parcel.sent", {"gate": 7})
        stage.wait_for_effects(event, "courier")
        owner = stage.delivery(event, "courier").worker
        held = next(item for item in stage.workers if item.folder.name in owner)
        held.kill()
        ended = stage.rows("SELECT clock_timestamp() AS at")[0].at
        wait_until(lambda: len(starts(stage, event)) == 2, timeout=TIMEOUT, message=stage.logs)
    row = stage.wait_for_state(event, "courier", "done")

    assert steps(stage, event) == ["started", "started", "ended"]
    assert (row.attempts, row.deaths) == (0, 0)
    assert starts(stage, event)[1] - ended < LEASE + timedelta(seconds=3)
    assert doomed.folder.exists()


def test_a_killed_childs_event_is_run_again_within_two_seconds(stage: Stage) -> None:
    """Its main process knows at once what the child had started, and charges that alone."""
    worker = stage.start(groups=["courier"], concurrency=2, environment={"EVENTBUS_LEASE_SECONDS": "30"})
    with stage.closed_gate(8):
        event = stage.publish("parcel.sent", {"gate": 8})
        (effect,) = stage.wait_for_effects(event, "courier")
        os.kill(effect.pid, signal.SIGKILL)
        wait_until(lambda: len(starts(stage, event)) == 2, timeout=TIMEOUT, message=stage.logs)
    row = stage.wait_for_state(event, "courier", "done")

    assert steps(stage, event) == ["started", "started", "ended"]
    assert (row.attempts, row.deaths) == (0, 1)
    assert starts(stage, event)[1] - starts(stage, event)[0] < timedelta(seconds=3)
    assert worker.is_running


def test_a_handler_may_run_far_longer_than_a_lease(stage: Stage) -> None:
    """While its main process lives its lease is renewed, so nobody runs it twice."""
    for _ in range(2):
        stage.start(groups=["courier"], concurrency=1)
    with stage.closed_gate(9):
        event = stage.publish("parcel.sent", {"gate": 9})
        stage.wait_for_effects(event, "courier")
        began = stage.rows("SELECT clock_timestamp() AS at")[0].at
        wait_until(lambda: stage.rows("SELECT clock_timestamp() AS at")[0].at - began > 2.5 * LEASE, timeout=TIMEOUT)
    stage.wait_for_state(event, "courier", "done")

    assert steps(stage, event) == ["started", "ended"]


def test_a_lease_is_renewed_while_the_broker_hangs_and_while_the_worker_stops(
    valkey: EmbeddedValkey, servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Neither has a part in it: what a handler that takes its time is doing stays its own, and is done once."""
    own = Servers(database_url=servers.database_url, broker_url=valkey.url, postgres=None, valkey=valkey)
    for stage in make_stage(own, template_database, tmp_path_factory, EVENTBUS_LEASE_SECONDS="2"):
        worker = stage.start(groups=["courier"], concurrency=1)
        with stage.closed_gate(13):
            event = stage.publish("parcel.sent", {"gate": 13})
            stage.wait_for_effects(event, "courier")
            valkey.freeze()
            outlast_a_lease(stage, event)
            valkey.thaw()
            worker.send_signal(signal.SIGTERM)
            outlast_a_lease(stage, event)
            assert worker.is_running
        row = stage.wait_for_state(event, "courier", "done")

        assert steps(stage, event) == ["started", "ended"]
        assert (row.attempts, row.deaths) == (0, 0)
        assert worker.wait(timeout=TIMEOUT) == 0


def outlast_a_lease(stage: Stage, event: Event) -> None:
    """Return when the lease that *event* has now has ended, and another one has begun."""
    ends = stage.delivery(event, "courier").due_at

    def is_over() -> bool:
        [found] = stage.rows(
            "SELECT clock_timestamp() AS at, state, due_at > clock_timestamp() AS is_held FROM eventbus.delivery "
            "WHERE event_id = :id",
            id=event.id,
        )
        assert found.state == "running", stage.logs()
        return bool(found.at > ends + timedelta(seconds=0.5) and found.is_held)

    wait_until(is_over, timeout=TIMEOUT, message=stage.logs)


@pytest.mark.parametrize("group", ["courier", "accounts"])
def test_a_frozen_worker_that_comes_back_changes_nothing(stage: Stage, group: str) -> None:
    """Another has handled the event by then; with a session, what the zombie wrote is rolled back."""
    frozen = stage.start(groups=[group], concurrency=1)
    with stage.closed_gate(10):
        event = stage.publish("parcel.sent" if group == "courier" else "account.moved", {"gate": 10})
        stage.wait_for_effects(event, group)
        frozen.freeze()
    stage.start(groups=[group], concurrency=1)
    done = stage.wait_for_state(event, group, "done")

    frozen.thaw()
    frozen.wait_for_log(f"delivery_fenced event_id={event.id}", timeout=TIMEOUT)

    assert stage.delivery(event, group) == done
    assert steps(stage, event, group).count("started") == 2
    assert len([item for item in stage.effects(event, group) if not item.facts]) == (group == "accounts")


def test_an_orphan_of_a_killed_main_process_changes_nothing(stage: Stage) -> None:
    """Nobody renews for it: when its lease has ended its event is another's, whatever it still does."""
    doomed = stage.start(groups=["accounts"], concurrency=1)
    with stage.closed_gate(11):
        event = stage.publish("account.moved", {"gate": 11, "apart": True})
        (orphan,) = stage.wait_for_effects(event, "accounts")
        os.kill(orphan.pid, signal.SIGSTOP)
        doomed.send_signal(signal.SIGKILL)
    try:
        stage.start(groups=["accounts"], concurrency=1)
        done = stage.wait_for_state(event, "accounts", "done")

        os.kill(orphan.pid, signal.SIGCONT)
        doomed.wait_for_log(f"delivery_fenced event_id={event.id}", timeout=TIMEOUT, ended=True)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(orphan.pid, signal.SIGKILL)

    assert stage.delivery(event, "accounts") == done
    assert len([item for item in stage.effects(event, "accounts") if not item.facts]) == 1


def test_a_frozen_child_keeps_its_event_while_its_main_process_lives(stage: Stage) -> None:
    """It may be slow, but it is not dead: nobody runs its event beside it."""
    stage.start(groups=["courier"], concurrency=2)
    event = stage.publish("parcel.sent", {})
    stage.wait_for_state(event, "courier", "done")
    with stage.closed_gate(12):
        event = stage.publish("parcel.sent", {"gate": 12})
        (effect,) = stage.wait_for_effects(event, "courier")
        os.kill(effect.pid, signal.SIGSTOP)
        began = stage.rows("SELECT clock_timestamp() AS at")[0].at
        wait_until(lambda: stage.rows("SELECT clock_timestamp() AS at")[0].at - began > 2 * LEASE, timeout=TIMEOUT)
        os.kill(effect.pid, signal.SIGCONT)
    stage.wait_for_state(event, "courier", "done")

    assert steps(stage, event) == ["started", "ended"]
