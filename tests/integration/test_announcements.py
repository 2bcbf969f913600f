"""Announcements: the commands that tell the groups of one event hold what Celery and kombu would have pushed for each."""

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


@pytest.fixture(params=[True, False], ids=["script", "plain"])
def by_script(request: pytest.FixtureRequest) -> bool:
    """Each of the two ways to push."""
    return bool(request.param)


def parts(packed: bytes) -> list[list[str]]:
    """Those of each packed command, by their own lengths; all of it must be told."""
    found = []
    while packed:
        head, _, packed = packed.partition(b"\r\n")
        command = []
        for _number in range(int(head[1:])):
            length, _, packed = packed.partition(b"\r\n")
            command.append(packed[: int(length[1:])].decode())
            assert packed[int(length[1:]) :].startswith(b"\r\n")
            packed = packed[int(length[1:]) + 2 :]
        found.append(command)
    return found


def pushed(packed: bytes) -> list[str]:
    """What is pushed, key by key."""
    found = parts(packed)
    if found[0][0] == "EVALSHA":
        count = int(found[0][2])
        return found[0][5 + count : 4 + 3 * count : 2]
    return [command[2] for command in found if command[0] == "LPUSH"]


def messages(packed: bytes) -> list[dict[str, Any]]:
    """The same, decoded."""
    return [json.loads(text) for text in pushed(packed)]


@pytest.mark.parametrize("type", ["order.created", "a%s.b", "x"])
@pytest.mark.parametrize("notice", [NOTICE, None])
def test_each_message_is_the_one_that_celery_and_kombu_make(
    app: Celery, by_script: bool, type: str, notice: Notice | None
) -> None:
    """To the byte, for the first event of its kind, and for those that are filled in."""
    announcements, envelopes = made(app), Envelopes(app)

    for _ in range(3):
        item = announcement("q.a", "q.b", type=type)
        packed = announcements.commands(item, notice, by_script=by_script)
        expected = []
        for queue, message in zip(item.queues, messages(packed), strict=True):
            ids = Ids(message["headers"]["id"], message["properties"]["delivery_tag"], None, None)
            wake_up = WakeUp(queue=queue, event_id=item.event_id, type=type, everywhere=False)
            expected.append(joined(*envelopes.encoded(wake_up, ids)))

        heard = [NOTICE.channel, NOTICE.text.decode()] if notice else []
        if by_script:
            head = ["EVALSHA", PUSH_SHA, "2", "p:q.a", "p:q.b", str(QUEUE_CAP)]
            assert parts(packed) == [[*head, "1", expected[0], "1", expected[1], *heard]]
        else:
            pushes = [["LPUSH", "p:q.a", expected[0]], ["LPUSH", "p:q.b", expected[1]]]
            assert parts(packed) == [*pushes, *([["PUBLISH", *heard]] if notice else [])]


def count_messages(app: Celery) -> list[str]:
    """The queue of each message that Celery makes from now on."""
    make, made_for = app.amqp.create_task_message, []

    def counted(task_id: str, name: str, *args: Any, **options: Any) -> Any:
        made_for.append(name)
        return make(task_id, name, *args, **options)

    app.amqp.__dict__["create_task_message"] = counted
    return made_for


@pytest.mark.parametrize("notice", [NOTICE, None])
def test_celery_makes_messages_for_the_first_of_a_kind_only(
    app: Celery, by_script: bool, notice: Notice | None
) -> None:
    """Making them takes ten times as long as filling in, while a publisher waits."""
    made_for = count_messages(app)
    announcements = made(app)

    counts = []
    for type in ("order.created", "order.paid", "order.created", "order.paid"):
        announcements.commands(announcement("q.a", "q.b", type=type), notice, by_script=by_script)
        counts.append(len(made_for))

    # Each is made twice: to be kept with gaps, and to be compared with what filling these gives.
    assert counts == [4, 8, 8, 8]


def test_no_two_messages_share_an_id(app: Celery, by_script: bool) -> None:
    """Neither within an announcement nor between two."""
    announcements = made(app)

    found = [
        message
        for _ in range(3)
        for message in messages(announcements.commands(announcement("a", "b"), NOTICE, by_script=by_script))
    ]

    ids = [message["headers"]["id"] for message in found] + [message["properties"]["delivery_tag"] for message in found]
    assert len(set(ids)) == 12


def test_a_message_is_found_by_its_event(app: Celery, by_script: bool) -> None:
    """The ids of its tasks begin as the event's, so that one finds one by the other in Flower."""
    announcements, item = made(app), announcement("a", "b")

    found = [messages(announcements.commands(item, NOTICE, by_script=by_script)) for _ in range(2)]

    ids = [message["headers"]["id"] for message in found[0]]
    assert [id[:34] for id in ids] == [item.event_id[:34]] * 2
    assert [message["headers"]["id"] for message in found[1]] == ids


@pytest.mark.parametrize(
    "task_id",
    ["0198f000-0000-4000-8000-000000000001", "outer-id", "é" * 36, '"' * 36],
    ids=["uuid", "short", "wide", "odd"],
)
def test_what_is_sent_within_a_task_names_it(app: Celery, by_script: bool, task_id: str) -> None:
    """Whatever its id is, also one that is longer than ours, in characters or in bytes, or that JSON has to escape."""
    announcements = made(app)
    found: list[dict[str, Any]] = []

    def run() -> None:
        for _ in range(2):
            found.extend(messages(announcements.commands(announcement("a", "b"), NOTICE, by_script=by_script)))

    app.task(run, name="usual", shared=False).apply(task_id=str(uuid4()), throw=True)
    found.clear()
    app.task(run, name="outer", shared=False).apply(task_id=task_id, throw=True)
    outside = messages(announcements.commands(announcement("a", "b"), None, by_script=by_script))

    assert [(message["headers"]["root_id"], message["headers"]["parent_id"]) for message in found] == [
        (task_id,) * 2
    ] * 4
    assert {message["headers"]["parent_id"] for message in outside} == {None}


def test_an_event_of_many_groups_has_a_message_for_each(app: Celery, by_script: bool) -> None:
    """With ids like any other's, though there are more than are told apart in the kept way."""
    queues = [f"q{number}" for number in range(150)]

    found = messages(made(app).commands(announcement(*queues), None, by_script=by_script))

    headers = [message["headers"] for message in found]
    assert [each["task"] for each in headers] == queues
    assert len({UUID(each["id"]) for each in headers}) == 150


ODD = "a-name-longer-than-an-id-of-ours-is-here"


OWN, OTHER = "0198f000-0000-4000-8000-000000000001", "0198f000-0000-4000-8000-000000000002"


@pytest.mark.parametrize(("root_id", "task_id"), [(OTHER, OWN), (ODD, OWN), (OTHER, ODD)])
def test_a_story_may_have_begun_under_another_name(app: Celery, by_script: bool, root_id: str, task_id: str) -> None:
    """Both are named, though what is kept was made within a first task, and whatever text its sender chose for an id."""
    announcements = made(app)
    found: list[dict[str, Any]] = []

    def run() -> None:
        found.extend(messages(announcements.commands(announcement("a", "b"), NOTICE, by_script=by_script)))

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
def test_while_celerys_signals_are_heard_each_message_is_made(app: Celery, by_script: bool, signal: Any) -> None:
    """A listener hears of each, and may change it; and no publish waits because somebody listens."""
    announcements = made(app)
    announcements.commands(announcement("a", "b"), None, by_script=by_script)
    heard: list[str] = []

    def mark(headers: dict[str, Any], **_facts: Any) -> None:
        heard.append(headers["id"])
        headers["marked"] = True

    signal.connect(mark)
    try:
        found = [
            message
            for _ in range(3)
            for message in messages(announcements.commands(announcement("a", "b"), NOTICE, by_script=by_script))
        ]
    finally:
        signal.disconnect(mark)

    assert [message["headers"].get("marked") for message in found] == [True] * 6
    assert heard == [message["headers"]["id"] for message in found]


def test_messages_of_an_unusual_app_are_made_each_time(app: Celery, by_script: bool) -> None:
    """What is kept is compared with what the app makes, before it is used."""
    make, count = app.amqp.create_task_message, iter(range(100))

    def numbered(*args: Any, **options: Any) -> Any:
        message = make(*args, **options)
        message.headers["number"] = next(count)
        return message

    app.amqp.__dict__["create_task_message"] = numbered
    announcements = made(app)

    found = [
        message
        for _ in range(3)
        for message in messages(announcements.commands(announcement("a", "b"), None, by_script=by_script))
    ]

    numbers = [message["headers"]["number"] for message in found]
    assert numbers == sorted(set(numbers))


def test_a_forked_child_names_itself(app: Celery, by_script: bool) -> None:
    """The process is in every message."""
    announcements = made(app)
    announcements.commands(announcement("a", "b"), None, by_script=by_script)
    reader, writer = os.pipe()

    if (child := os.fork()) == 0:
        os.write(writer, announcements.commands(announcement("a", "b"), None, by_script=by_script))
        os._exit(0)
    os.waitpid(child, 0)
    found = messages(os.read(reader, 1 << 16))

    assert {message["headers"]["origin"].partition("@")[0] for message in found} == {f"gen{child}"}


def test_an_event_of_no_group_is_only_noticed(broker_url: str, app: Celery, redis_client: "redis.Redis[bytes]") -> None:
    """Listeners hear of it; no message is made, and without a notice nothing is sent."""
    found = parts(made(app).commands(announcement(), NOTICE, by_script=False))
    assert found == [["PUBLISH", NOTICE.channel, '{"id": 1}']]

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


def test_many_kinds_do_not_pile_up(app: Celery, by_script: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types may be as many as somebody makes up; what is kept of them is not."""
    monkeypatch.setattr("eventbus.broker.announcements._KEPT", 10)
    announcements = made(app)

    for number in range(35):
        assert announcements.commands(announcement("a", type=f"t{number}"), None, by_script=by_script)

    assert len(announcements._kept) <= 10
