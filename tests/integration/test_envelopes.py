"""Messages: what is pushed is what Celery and kombu would push, whether it was made by them or filled into a template."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from celery import Celery, signals
from kombu import Connection

from eventbus.broker import RedisBroker, WakeUp
from eventbus.broker.envelopes import Envelopes

Celerys = Callable[[Celery, WakeUp], None]


@pytest.fixture
def app(broker_url: str) -> Iterator[Celery]:
    """An app of Celery alone."""
    with Celery("test", broker=broker_url, set_as_current=False) as app:
        yield app


def wake_up(queue: str) -> WakeUp:
    """Of an event."""
    return WakeUp(queue=queue, event_id=uuid4(), type="order.created")


def send_by_celery(app: Celery, item: WakeUp) -> None:
    """What Celery's public way would send."""
    repr = f"{item.type} {item.event_id}"
    options: dict[str, Any] = {"queue": item.queue, "ignore_result": True, "argsrepr": repr, "kwargsrepr": "{}"}
    args = (str(item.event_id), *(["everywhere"] if item.everywhere else []))
    app.send_task(item.queue, args, **options)


def masked(message: dict[str, Any]) -> str:
    """A message without what differs between any two: its own ids, and where answers that nobody awaits would go.

    send_task repeats argsrepr and kwargsrepr, which are headers, among the properties, where nobody reads them.
    """
    headers = {**message["headers"], "id": 0}
    if headers.get("root_id") == message["headers"].get("id"):
        headers["root_id"] = 0
    properties = {**message["properties"], "correlation_id": 0, "delivery_tag": 0, "reply_to": 0}
    for repeated in ("argsrepr", "kwargsrepr"):
        properties.pop(repeated, None)
    return json.dumps({**message, "headers": headers, "properties": properties})


def pushed(client: "redis.Redis[bytes]", queue: str) -> list[dict[str, Any]]:
    """What waits in *queue*, oldest first."""
    return [json.loads(text) for text in reversed(client.lrange(queue, 0, -1))]


def assert_alike(app: Celery, broker_url: str, client: "redis.Redis[bytes]", queue: str) -> list[dict[str, Any]]:
    """Send the same by Celery and by ourselves, thrice of each kind; what was pushed, ours and Celery's in turn."""
    broker = RedisBroker(app, broker_url, keyprefix="", realtime_url=None)
    for item in [replace(wake_up(queue), everywhere=everywhere) for everywhere in (True, False) for _ in range(3)]:
        broker.send([item], [])
        send_by_celery(app, item)

    found = pushed(client, queue)
    assert [masked(message) for message in found[::2]] == [masked(message) for message in found[1::2]]
    return found


def test_a_wake_up_is_celerys_own_message(
    app: Celery, broker_url: str, prefix: str, redis_client: "redis.Redis[bytes]"
) -> None:
    """Same keys in the same order, same values, same bytes but for the ids: the first, which Celery made, and those after it."""
    found = assert_alike(app, broker_url, redis_client, f"{prefix}.a")

    ours = found[::2]
    assert [str(UUID(item["headers"]["id"])) for item in ours] == [
        item["properties"]["correlation_id"] for item in ours
    ]
    assert len({item["headers"]["id"] for item in ours} | {item["properties"]["delivery_tag"] for item in ours}) == 12


def test_celery_makes_the_first_message_of_a_queue_only(app: Celery) -> None:
    """Making one takes ten times as long as filling in."""
    make, made_for = app.amqp.create_task_message, []

    def counted(task_id: str, name: str, *args: Any, **options: Any) -> Any:
        made_for.append(name)
        return make(task_id, name, *args, **options)

    app.amqp.__dict__["create_task_message"] = counted
    envelopes = Envelopes(app)

    for _ in range(2):
        envelopes.stored([wake_up(queue) for queue in "abab"])

    # Each is made twice: as a template, and to be compared with what filling that gives.
    assert made_for == ["a", "a", "b", "b"]


@pytest.mark.parametrize("signal", [signals.before_task_publish, signals.after_task_publish])
def test_while_celerys_signals_are_heard_each_wake_up_is_made(app: Celery, signal: Any) -> None:
    """A listener hears of each, and may change it, though its queue has a template."""
    envelopes = Envelopes(app)
    envelopes.stored([wake_up("q")])
    heard: list[str] = []

    def hear(headers: dict[str, Any], **_facts: Any) -> None:
        heard.append(headers["id"])

    signal.connect(hear)
    try:
        found = [json.loads(text) for text in envelopes.stored([wake_up("q") for _ in range(3)])]
    finally:
        signal.disconnect(hear)

    assert heard == [message["headers"]["id"] for message in found]


def test_a_wake_up_that_is_sent_within_a_task_names_it(
    app: Celery, broker_url: str, prefix: str, redis_client: "redis.Redis[bytes]"
) -> None:
    """As each task that a task sends: Flower shows what led to what."""
    found: list[dict[str, Any]] = []

    def run() -> None:
        found.extend(assert_alike(app, broker_url, redis_client, f"{prefix}.a"))

    app.task(run, name="outer").apply(task_id="outer-id", throw=True)

    assert {(item["headers"]["root_id"], item["headers"]["parent_id"]) for item in found} == {("outer-id", "outer-id")}


OWN, OTHER = "0198f000-0000-4000-8000-000000000001", "0198f000-0000-4000-8000-000000000002"
ODD = 'the "first" of them'


@pytest.mark.parametrize(("root_id", "task_id"), [(OTHER, OWN), (ODD, OWN), (OTHER, ODD)])
def test_a_task_and_the_first_of_its_story_are_both_named(app: Celery, root_id: str, task_id: str) -> None:
    """Though the template was made within a first task, whose id is both."""
    envelopes = Envelopes(app)
    found: list[str] = []

    def run() -> None:
        found.extend(envelopes.stored([wake_up("q")]))

    def run_in_story() -> None:
        app.current_worker_task.request.root_id = root_id
        run()

    app.task(run, name="usual", shared=False).apply(task_id=str(uuid4()), throw=True)
    app.task(run_in_story, name="inner", shared=False).apply(task_id=task_id, throw=True)

    headers = json.loads(found[1])["headers"]
    assert (headers["root_id"], headers["parent_id"]) == (root_id, task_id)


def test_the_apps_configuration_shapes_its_messages(
    app: Celery, broker_url: str, prefix: str, redis_client: "redis.Redis[bytes]"
) -> None:
    """Such as Celery's older protocol, though a template was made before."""
    queue = f"{prefix}.a"
    envelopes = Envelopes(app)
    first = json.loads(envelopes.stored([wake_up(queue)])[0])

    app.amqp.__dict__["create_task_message"] = app.amqp.task_protocols[1]
    item = wake_up(queue)
    second = json.loads(envelopes.stored([item])[0])
    redis_client.lpush(queue, *envelopes.stored([item]))
    with Connection(broker_url) as connection, connection.SimpleQueue(queue) as waiting:
        message = waiting.get(timeout=5)
        message.ack()

    assert first["headers"]["task"] == queue
    assert "task" not in second["headers"]
    assert message.decode()["task"] == queue
    assert message.decode()["args"] == [str(item.event_id), "everywhere"]


def test_a_forked_child_names_itself(app: Celery) -> None:
    """A template holds the sender's process id."""
    envelopes = Envelopes(app)
    item = wake_up("q")
    envelopes.stored([item])
    reader, writer = os.pipe()

    if (child := os.fork()) == 0:
        origin = json.loads(envelopes.stored([item])[0])["headers"]["origin"]
        os.write(writer, origin.encode())
        os._exit(0)
    os.waitpid(child, 0)
    origin = os.read(reader, 1000).decode()

    assert origin.partition("@")[0] == f"gen{child}"


def test_a_message_that_fits_no_template_is_made_each_time(app: Celery) -> None:
    """Whatever an app makes of its messages: it is never guessed."""
    make = app.amqp.create_task_message
    count = 0

    def numbered(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        message = make(*args, **options)
        message.headers["number"] = count
        return message

    app.amqp.__dict__["create_task_message"] = numbered
    envelopes = Envelopes(app)

    texts = [json.loads(text) for text in envelopes.stored([wake_up("q:body%s") for _ in range(3)])]

    numbers = [text["headers"]["number"] for text in texts]
    assert numbers == sorted(set(numbers))
    assert {text["headers"]["task"] for text in texts} == {"q:body%s"}
