"""From publish to handler: who gets an event, through which worker, and how often."""

import base64
import json
import os
import subprocess
import sys
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery

from eventbus.broker import WakeUp
from eventbus.broker.envelopes import Envelopes
from eventbus.embedded.server import free_port
from tests.e2e.stage import SHOP, TIMEOUT, Stage
from tests.support import wait_until
from tests.support.tls_proxy import TlsProxy
from tests.support.workers import ROOT, WorkerProcess

LOOPING_PUBLISHER = """
import sys
from eventbus import EventBus

bus = EventBus.from_env()
for line in sys.stdin:
    print(bus.publish("order.created", {"number": int(line)}, source="loop").id, flush=True)
"""


@pytest.fixture(scope="module")
def worker(stage: Stage) -> WorkerProcess:
    """A worker without -Q: it serves all that the shop declares, in modules that Celery includes."""
    return stage.start()


def test_each_group_handles_an_event_once(stage: Stage, worker: WorkerProcess) -> None:
    """One publish, one run in every group that is subscribed; a pattern of another length gets nothing."""
    event = stage.publish("order.created", {"number": 1})
    other = stage.publish("order.line.added", {})

    for group in ("inventory", "analytics", "ledger"):
        stage.wait_for_state(event, group, "done")
        assert [item.attempt for item in stage.effects(event, group)] == [1]
        assert stage.states(event, group) == ["pending", "running", "done"]
    stage.wait_for_state(other, "ledger", "done")
    assert stage.delivery(other, "inventory") is stage.delivery(other, "analytics") is None


def test_a_worker_without_queues_serves_groups_of_included_modules(stage: Stage, worker: WorkerProcess) -> None:
    """Handlers in modules that are imported after the app is made have their queue consumed."""
    assert all(f".> {stage.queue(group)} " in worker.log for group in ("inventory", "flaky", "chain-end", "session"))

    event = stage.publish("parcel.sent", {})

    stage.wait_for_state(event, "courier", "done")


def test_data_arrives_as_it_was_published(stage: Stage, worker: WorkerProcess) -> None:
    """Through jsonb and back: equal, for numbers and text that tempt others to change them."""
    number = {
        "big": 2**63,
        "float": 1e16,
        "tiny": 5e-324,
        "text": "ünï \U0001f600 \\u0041",
        "nested": [None, True, {"": []}],
    }

    event = stage.publish("order.created", {"number": number})

    assert stage.wait_for_effects(event, "inventory")[0].facts == {"number": number}


def test_a_repeated_message_is_handled_once(stage: Stage, worker: WorkerProcess) -> None:
    """A message is a wake-up: the second, third and tenth find nothing to claim."""
    event = stage.publish("order.created", {"number": 2})
    for _ in range(10):
        stage.app.send_task(stage.queue("inventory"), (str(event.id),), queue=stage.queue("inventory"))
    stage.wait_for_state(event, "inventory", "done")

    # A later event of the same queue, whose handling shows that the repeated messages are through.
    last = stage.publish("order.created", {"number": 3})
    stage.wait_for_state(last, "inventory", "done")

    wait_until(lambda: stage.broker.llen(stage.queue("inventory")) == 0, timeout=TIMEOUT)
    assert len(stage.effects(event, "inventory")) == 1


def strange_messages(stage: Stage) -> dict[str, bytes]:
    """What can lie in a queue without being a wake-up."""
    queue = stage.queue("inventory")

    def sound() -> dict[str, Any]:
        [text] = Envelopes(stage.app).stored([WakeUp(queue=queue, event_id=uuid4(), type="order.created")])
        return dict(json.loads(text))

    def with_body(body: object) -> bytes:
        return json.dumps({**sound(), "body": base64.b64encode(json.dumps(body).encode()).decode()}).encode()

    stranger = sound()
    stranger["headers"]["task"] = "eventbus.nobody"
    return {
        "no json": b"\xff{",
        "no object": b"[]",
        "no properties": b'{"body": "", "headers": {}}',
        "no list": with_body(7),
        "arguments that are no list": with_body([7, {}, {}]),
        "an unknown task, as of a subscription that has gone": json.dumps(stranger).encode(),
        "no event": with_body([["no uuid"], {}, {}]),
        "no word of what it belongs to": with_body([[str(uuid4())], {}, None]),
        "no argument": with_body([[], {}, {}]),
        "an event that nobody published": json.dumps(sound()).encode(),
    }


def test_messages_that_make_no_sense_end_no_worker(stage: Stage, worker: WorkerProcess) -> None:
    """Each is dropped with a word in the log; those that are wake-ups all the same find nothing, and cause no other."""
    queue = stage.queue("inventory")
    stage.broker.lpush(queue, *strange_messages(stage).values())

    event = stage.publish("order.created", {"number": 4})
    stage.wait_for_state(event, "inventory", "done")
    wait_until(lambda: stage.broker.llen(queue) == 0, timeout=TIMEOUT)

    log = worker.log
    assert log.count("message_malformed") == 3
    assert log.count("Received invalid task message") == 2
    assert log.count("Received unregistered task of type 'eventbus.nobody'") == 1
    assert worker.is_running
    assert stage.broker.llen(queue) == 0


def test_a_message_that_makes_no_sense_ends_no_worker_with_an_encrypted_broker(empty_stage: Stage) -> None:
    """It reads Redis by another transport, and is as tolerant."""
    with TlsProxy(empty_stage.environment["EVENTBUS_BROKER_URL"]) as proxy:
        worker = empty_stage.start(groups=["inventory"], environment={"EVENTBUS_BROKER_URL": proxy.url})
        empty_stage.broker.lpush(empty_stage.queue("inventory"), b"\xff{")
        event = empty_stage.publish("order.created", {"number": 4})

        empty_stage.wait_for_state(event, "inventory", "done")
        worker.wait_for_log("message_malformed", timeout=TIMEOUT)
        assert worker.is_running
        empty_stage.end_workers()


def test_a_message_of_celerys_first_protocol_is_a_wake_up(stage: Stage, worker: WorkerProcess) -> None:
    """An app may send in it, for workers of other kinds: task_protocol = 1."""
    queue = stage.queue("inventory")
    with Celery("old", broker=stage.environment["EVENTBUS_BROKER_URL"], set_as_current=False) as app:
        app.conf.task_protocol = 1

        id = app.send_task(queue, ("no uuid",), queue=queue).id

    worker.wait_for_log(f"[{id}] succeeded", timeout=TIMEOUT)


def test_a_message_for_an_event_that_runs_finds_nothing(stage: Stage, worker: WorkerProcess) -> None:
    """While a handler runs, and its lease, nobody else takes its event."""
    queue = stage.queue("courier")
    with stage.closed_gate(2):
        event = stage.publish("parcel.sent", {"gate": 2})
        stage.wait_for_effects(event, "courier")

        for _ in range(3):
            stage.app.send_task(queue, (str(event.id),), queue=queue)
        after = stage.publish("parcel.sent", {})
        stage.wait_for_state(after, "courier", "done")
        wait_until(lambda: stage.broker.llen(queue) == 0, timeout=TIMEOUT)
    stage.wait_for_state(event, "courier", "done")

    assert [item.facts["step"] for item in stage.effects(event, "courier")] == ["started", "ended"]


def test_ordinary_tasks_run_beside_deliveries(stage: Stage, worker: WorkerProcess) -> None:
    """A worker without -Q still serves the app's default queue."""
    stage.app.send_task("shop.ordinary", ("beside",), queue=f"{stage.prefix}.ordinary")

    wait_until(
        lambda: stage.rows("SELECT 1 FROM effect WHERE facts ->> 'word' = 'beside'"),
        timeout=TIMEOUT,
        message=stage.logs,
    )


def test_log_lines_say_which_event_and_hold_no_payload(stage: Stage, worker: WorkerProcess) -> None:
    """Event id, type, group and correlation id are in the worker's log; what the event holds is not."""
    event = stage.publish(
        "flaky.asked", {"error": "ValueError", "failures": 1, "secret": "4111-1111"}, correlation_id="story-1"
    )
    stage.wait_for_state(event, "flaky", "done")
    worker.wait_for_log(f"delivery_done event_id={event.id}", timeout=TIMEOUT)

    for message in ("delivery_retrying", "delivery_done"):
        line = next(line for line in worker.log.splitlines() if f"{message} event_id={event.id}" in line)
        assert all(fact in line for fact in ("type=flaky.asked", "group=flaky", "correlation_id=story-1"))
    assert "4111-1111" not in worker.log


def test_the_message_in_redis_holds_only_ids(empty_stage: Stage) -> None:
    """No payload leaves PostgreSQL by way of Celery: an id, a type, and what Celery needs."""
    empty_stage.sync()

    event = empty_stage.publish(
        "order.created", {"number": "4111-1111"}, correlation_id="story-2", headers={"tenant": "acme-9"}
    )

    (raw,) = empty_stage.broker.lrange(empty_stage.queue("inventory"), 0, -1)
    assert isinstance(raw, bytes)
    message = json.loads(raw)
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert (args, kwargs) == ([str(event.id)], {})
    assert message["headers"]["argsrepr"] == f"order.created {event.id}"
    everything = raw.decode() + base64.b64decode(message["body"]).decode()
    assert not any(secret in everything for secret in ("4111-1111", "story-2", "acme-9", "tests"))


def test_a_worker_with_queues_serves_their_groups_only(empty_stage: Stage) -> None:
    """`celery -A … worker -Q eventbus.inventory` handles and subscribes inventory, and nothing else."""
    empty_stage.sync()
    empty_stage.start(groups=["inventory"])

    event = empty_stage.publish("order.created", {"number": 1})

    empty_stage.wait_for_state(event, "inventory", "done")
    assert empty_stage.states(event, "analytics") == ["pending"]
    assert empty_stage.broker.llen(empty_stage.queue("analytics")) == 1


def test_eventbus_worker_serves_the_groups_that_it_names(empty_stage: Stage) -> None:
    """`eventbus worker inventory ledger` is `celery worker` with their queues, and subscribes just these."""
    worker = empty_stage.start_by_eventbus("inventory", "ledger")

    event = empty_stage.publish("order.created", {"number": 1})

    for group in ("inventory", "ledger"):
        empty_stage.wait_for_state(event, group, "done")
    assert empty_stage.delivery(event, "analytics") is None
    assert worker.stop() == 0


def test_a_running_publisher_reaches_a_new_group_with_its_next_publish(empty_stage: Stage) -> None:
    """No cache: a process that has published before the group existed owes it the very next event."""
    environment = {**os.environ, **empty_stage.environment, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", LOOPING_PUBLISHER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as publisher:
        assert publisher.stdin is not None
        assert publisher.stdout is not None

        def publish(number: int) -> str:
            print(number, file=publisher.stdin, flush=True)
            assert publisher.stdout is not None
            return publisher.stdout.readline().strip()

        before = publish(1)
        empty_stage.start(groups=["inventory"])
        after = publish(2)
        publisher.stdin.close()

    handled = empty_stage.rows("SELECT event_id::text AS id FROM eventbus.delivery ORDER BY 1")
    assert [item.id for item in handled] == [after]
    assert before < after
    wait_until(
        lambda: empty_stage.rows("SELECT 1 FROM effect WHERE event_id = :id", id=after),
        timeout=TIMEOUT,
        message=empty_stage.logs,
    )


def test_events_wait_for_a_group_that_is_down(empty_stage: Stage) -> None:
    """Publishing succeeds while no worker of a subscribed group runs; when one comes up it handles all, each once."""
    empty_stage.sync()
    events = [empty_stage.publish("order.created", {"number": number}) for number in range(20)]
    assert {item.state for item in empty_stage.rows("SELECT state FROM eventbus.delivery")} == {"pending"}

    empty_stage.start(groups=["inventory"])

    for event in events:
        empty_stage.wait_for_state(event, "inventory", "done")
        assert len(empty_stage.effects(event, "inventory")) == 1


def test_two_workers_of_one_group_share_its_events(empty_stage: Stage) -> None:
    """Each event runs once, in one of them; neither stays idle while there is plenty."""
    workers = [empty_stage.start(groups=["courier"], concurrency=1) for _ in range(2)]
    with empty_stage.closed_gate(1):
        held = [empty_stage.publish("parcel.sent", {"gate": 1}) for _ in workers]
        for event in held:
            empty_stage.wait_for_effects(event, "courier")
    events = [*held, *(empty_stage.publish("parcel.sent", {}) for _ in range(20))]

    for event in events:
        empty_stage.wait_for_state(event, "courier", "done")
        assert [item.facts["step"] for item in empty_stage.effects(event, "courier")] == ["started", "ended"]
    ran_in = empty_stage.rows("SELECT DISTINCT worker FROM eventbus.delivery")
    assert {item.worker.partition("@")[0] for item in ran_in} == {worker.folder.name for worker in workers}


@pytest.mark.parametrize("pool", ["solo", "threads", "gevent"])
def test_other_pools_deliver_too(empty_stage: Stage, pool: str) -> None:
    """Solo, threads and gevent: events of many groups are handled, failures retried and given up, async handlers run."""
    worker = empty_stage.start(pool=pool)

    orders = [empty_stage.publish("order.created", {"number": number}) for number in range(5)]
    flaky = empty_stage.publish("flaky.asked", {"error": "ValueError", "failures": 1})
    errors = ("Refused", "MemoryError", "SystemExit", "Panic", "Unformattable", "Closed")
    dead = [empty_stage.publish("strict.asked", {"error": error}) for error in errors]
    later = [empty_stage.publish("async.asked", {"seconds": 0.2}) for _ in range(4)]
    in_session = empty_stage.publish("session.asked", {})

    for event in orders:
        empty_stage.wait_for_state(event, "inventory", "done")
        assert len(empty_stage.effects(event, "inventory")) == 1
    for event in dead:
        empty_stage.wait_for_state(event, "strict", "dead")
    for event, group in ((flaky, "flaky"), *((event, "async") for event in later), (in_session, "session")):
        empty_stage.wait_for_state(event, group, "done")
    assert worker.is_running


def test_a_worker_whose_group_is_taken_does_not_start(empty_stage: Stage) -> None:
    """Another codebase's subscription for the same events of the group is named, in one sentence, with exit code 2."""
    empty_stage.sync()
    empty_stage.change("UPDATE eventbus.subscription SET handler = 'other.shop.handle' WHERE group_name = 'inventory'")

    with pytest.raises(AssertionError, match=r"other\.shop\.handle"):
        empty_stage.start(groups=["inventory"])

    (worker,) = empty_stage.workers
    assert worker.exit_code == 2
    assert "Traceback" not in worker.log
    assert SHOP not in worker.log


def test_a_worker_without_its_database_does_not_start(empty_stage: Stage) -> None:
    """It says so in one sentence, and its exit code is that of a command that reaches no server: whoever starts it can tell."""
    nowhere = f"postgresql://127.0.0.1:{free_port()}/none"

    with pytest.raises(AssertionError, match="ended"):
        empty_stage.start(environment={"EVENTBUS_DATABASE_URL": nowhere})

    (worker,) = empty_stage.workers
    assert worker.exit_code == 4
    assert "Traceback" not in worker.log


def test_no_process_is_ended_before_the_slowest_handler_of_its_group_has_had_its_time(
    stage: Stage, worker: WorkerProcess
) -> None:
    """Celery knows one limit for a task, and a group is one task: it is the longest, and some more."""
    [name] = [row.name for row in stage.rows("SELECT name FROM eventbus.worker")]
    inspected = stage.app.control.inspect(destination=[name], timeout=TIMEOUT, limit=1)

    [line] = [
        line for line in inspected.registered("time_limit")[name] if line.startswith(f"{stage.queue('courier')} ")
    ]

    longest, lease = 1800, 30
    assert longest + lease <= float(line.partition("time_limit=")[2].rstrip("]")) < longest + 2 * lease


def test_no_worker_gives_up_its_broker(stage: Stage, worker: WorkerProcess) -> None:
    """The app says nothing of it, and Celery would end the worker after a hundred tries."""
    [name] = [row.name for row in stage.rows("SELECT name FROM eventbus.worker")]
    inspected = stage.app.control.inspect(destination=[name], timeout=TIMEOUT, limit=1)

    assert inspected.conf(with_defaults=True)[name]["broker_connection_max_retries"] is None
