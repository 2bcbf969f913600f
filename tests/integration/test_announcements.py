"""Announcements: the command that tells the groups of one event holds what Celery and kombu would have pushed for each."""

import json
import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from celery import Celery, signals

from eventbus.broker import QUEUE_CAP, Announcement, Notice, RedisBroker, WakeUp
from eventbus.broker.announcements import Announcements
from eventbus.broker.envelopes import Envelopes, Ids, joined
from eventbus.broker.redis_server import PUSH_SHA

NOTICE = Notice(channel="events:order.created", text=b'{"id": 1}')


@pytest.fixture
def app() -> Iterator[Celery]:
    """An app of Celery alone, with a broker in memory."""
    with Celery("test", broker="memory://", set_as_current=False) as app:
        yield app


def announcement(*queues: str, type: str = "order.created") -> Announcement:
    """Of one event."""
    return Announcement(event_id=str(uuid4()), type=type, queues=queues)


def made(app: Celery) -> Announcements:
    """Those of *app*."""
    return Announcements(Envelopes(app), keyprefix="p:")


def parts(command: bytes | None) -> list[str]:
    """A packed command's, by its own lengths; all of it must be told."""
    assert command is not None
    head, _, rest = command.partition(b"\r\n")
    found = []
    for _number in range(int(head[1:])):
        length, _, rest = rest.partition(b"\r\n")
        found.append(rest[: int(length[1:])].decode())
        assert rest[int(length[1:]) :].startswith(b"\r\n")
        rest = rest[int(length[1:]) + 2 :]
    assert rest == b""
    return found


def messages(found: list[str]) -> list[dict[str, Any]]:
    """What is pushed to the first two keys."""
    return [json.loads(found[7]), json.loads(found[9])]


@pytest.mark.parametrize("type", ["order.created", "a%s.b", "x"])
@pytest.mark.parametrize("notice", [NOTICE, None])
def test_each_message_is_the_one_that_celery_and_kombu_make(app: Celery, type: str, notice: Notice | None) -> None:
    """To the byte, for the first event of its kind, and for those that are filled in."""
    announcements, envelopes = made(app), Envelopes(app)

    for _ in range(3):
        item = announcement("q.a", "q.b", type=type)
        found = parts(announcements.command(item, notice))
        expected = []
        for queue, message in zip(item.queues, messages(found), strict=True):
            ids = Ids(message["headers"]["id"], message["properties"]["delivery_tag"], None, None)
            wake_up = WakeUp(queue=queue, event_id=item.event_id, type=type)
            expected.append(joined(*envelopes.encoded(wake_up, ids)))

        assert found[:6] == ["EVALSHA", PUSH_SHA, "2", "p:q.a", "p:q.b", str(QUEUE_CAP)]
        assert found[6:10] == ["1", expected[0], "1", expected[1]]
        assert found[10:] == ([NOTICE.channel, NOTICE.text.decode()] if notice else [])


def count_messages(app: Celery) -> list[str]:
    """The queue of each message that Celery makes from now on."""
    make, made_for = app.amqp.create_task_message, []

    def counted(task_id: str, name: str, *args: Any, **options: Any) -> Any:
        made_for.append(name)
        return make(task_id, name, *args, **options)

    app.amqp.__dict__["create_task_message"] = counted
    return made_for


@pytest.mark.parametrize("notice", [NOTICE, None])
def test_celery_makes_messages_for_the_first_of_a_kind_only(app: Celery, notice: Notice | None) -> None:
    """Making them takes ten times as long as filling in, while a publisher waits."""
    made_for = count_messages(app)
    announcements = made(app)

    counts = []
    for type in ("order.created", "order.paid", "order.created", "order.paid"):
        announcements.command(announcement("q.a", "q.b", type=type), notice)
        counts.append(len(made_for))

    # Each is made twice: to be kept with gaps, and to be compared with what filling these gives.
    assert counts == [4, 8, 8, 8]


def test_no_two_messages_share_an_id(app: Celery) -> None:
    """Neither within an announcement nor between two."""
    announcements = made(app)

    found = [
        message for _ in range(3) for message in messages(parts(announcements.command(announcement("a", "b"), NOTICE)))
    ]

    ids = [message["headers"]["id"] for message in found] + [message["properties"]["delivery_tag"] for message in found]
    assert len(set(ids)) == 12


def test_a_message_is_found_by_its_event(app: Celery) -> None:
    """The ids of its tasks begin as the event's, so that one finds one by the other in Flower."""
    announcements, item = made(app), announcement("a", "b")

    found = [messages(parts(announcements.command(item, NOTICE))) for _ in range(2)]

    ids = [message["headers"]["id"] for message in found[0]]
    assert [id[:34] for id in ids] == [item.event_id[:34]] * 2
    assert [message["headers"]["id"] for message in found[1]] == ids


@pytest.mark.parametrize(
    "task_id",
    ["0198f000-0000-4000-8000-000000000001", "outer-id", "é" * 36, '"' * 36],
    ids=["uuid", "short", "wide", "odd"],
)
def test_what_is_sent_within_a_task_names_it(app: Celery, task_id: str) -> None:
    """Whatever its id is, also one that is longer than ours, in characters or in bytes, or that JSON has to escape."""
    announcements = made(app)
    found: list[dict[str, Any]] = []

    def run() -> None:
        for _ in range(2):
            found.extend(messages(parts(announcements.command(announcement("a", "b"), NOTICE))))

    app.task(run, name="usual", shared=False).apply(task_id=str(uuid4()), throw=True)
    found.clear()
    app.task(run, name="outer", shared=False).apply(task_id=task_id, throw=True)
    outside = messages(parts(announcements.command(announcement("a", "b"), None)))

    assert [(message["headers"]["root_id"], message["headers"]["parent_id"]) for message in found] == [
        (task_id,) * 2
    ] * 4
    assert {message["headers"]["parent_id"] for message in outside} == {None}


def test_an_event_of_many_groups_has_a_message_for_each(app: Celery) -> None:
    """With ids like any other's, though there are more than are told apart in the kept way."""
    queues = [f"q{number}" for number in range(150)]

    found = parts(made(app).command(announcement(*queues), None))

    headers = [json.loads(text)["headers"] for text in found[-299::2]]
    assert [each["task"] for each in headers] == queues
    assert len({UUID(each["id"]) for each in headers}) == 150


ODD = "a-name-longer-than-an-id-of-ours-is-here"


OWN, OTHER = "0198f000-0000-4000-8000-000000000001", "0198f000-0000-4000-8000-000000000002"


@pytest.mark.parametrize(("root_id", "task_id"), [(OTHER, OWN), (ODD, OWN), (OTHER, ODD)])
def test_a_story_may_have_begun_under_another_name(app: Celery, root_id: str, task_id: str) -> None:
    """Both are named, though what is kept was made within a first task, and whatever text its sender chose for an id."""
    announcements = made(app)
    found: list[dict[str, Any]] = []

    def run() -> None:
        found.extend(messages(parts(announcements.command(announcement("a", "b"), NOTICE))))

    def run_in_story() -> None:
        app.current_worker_task.request.root_id = root_id
        run()

    app.task(run, name="usual", shared=False).apply(task_id=str(uuid4()), throw=True)
    found.clear()
    app.task(run_in_story, name="odd", shared=False).apply(task_id=task_id, throw=True)

    assert [(message["headers"]["root_id"], message["headers"]["parent_id"]) for message in found] == [
        (root_id, task_id)
    ] * 2


@pytest.mark.parametrize("signal", [signals.before_task_publish, signals.after_task_publish])
def test_while_celerys_signals_are_heard_each_message_is_made(app: Celery, signal: Any) -> None:
    """A listener hears of each, and may change it; and no publish waits because somebody listens."""
    announcements = made(app)
    announcements.command(announcement("a", "b"), None)
    heard: list[str] = []

    def mark(headers: dict[str, Any], **_facts: Any) -> None:
        heard.append(headers["id"])
        headers["marked"] = True

    signal.connect(mark)
    try:
        found = [
            message
            for _ in range(3)
            for message in messages(parts(announcements.command(announcement("a", "b"), NOTICE)))
        ]
    finally:
        signal.disconnect(mark)

    assert [message["headers"].get("marked") for message in found] == [True] * 6
    assert heard == [message["headers"]["id"] for message in found]


def test_messages_of_an_unusual_app_are_made_each_time(app: Celery) -> None:
    """What is kept is compared with what the app makes, before it is used."""
    make, count = app.amqp.create_task_message, iter(range(100))

    def numbered(*args: Any, **options: Any) -> Any:
        message = make(*args, **options)
        message.headers["number"] = next(count)
        return message

    app.amqp.__dict__["create_task_message"] = numbered
    announcements = made(app)

    found = [
        message for _ in range(3) for message in messages(parts(announcements.command(announcement("a", "b"), None)))
    ]

    numbers = [message["headers"]["number"] for message in found]
    assert numbers == sorted(set(numbers))


def test_a_forked_child_names_itself(app: Celery) -> None:
    """The process is in every message."""
    announcements = made(app)
    announcements.command(announcement("a", "b"), None)
    reader, writer = os.pipe()

    if (child := os.fork()) == 0:
        os.write(writer, announcements.command(announcement("a", "b"), None) or b"")
        os._exit(0)
    os.waitpid(child, 0)
    found = messages(parts(os.read(reader, 1 << 16)))

    assert {message["headers"]["origin"].partition("@")[0] for message in found} == {f"gen{child}"}


def test_an_event_of_no_group_is_only_noticed(broker_url: str, app: Celery, redis_client: "redis.Redis[bytes]") -> None:
    """Listeners hear of it; no message is made, and without a notice nothing is sent."""
    assert parts(made(app).command(announcement(), NOTICE))[2:] == ["0", str(QUEUE_CAP), NOTICE.channel, '{"id": 1}']
    assert made(app).command(announcement(), None) is None

    broker = RedisBroker(app, broker_url, keyprefix="", realtime_url=None)
    channel = str(uuid4())
    with redis_client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(channel)
        heard.get_message(timeout=5)
        broker.announce(announcement(), None)
        broker.announce(announcement(), Notice(channel=channel, text=b"x"))
        found = heard.get_message(timeout=5)

    assert found is not None
    assert found["data"] == b"x"


def test_many_kinds_do_not_pile_up(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types may be as many as somebody makes up; what is kept of them is not."""
    monkeypatch.setattr("eventbus.broker.announcements._KEPT", 10)
    announcements = made(app)

    for number in range(35):
        assert announcements.command(announcement("a", type=f"t{number}"), None)

    assert len(announcements._kept) <= 10
