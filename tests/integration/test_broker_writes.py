"""Writes to a broker: one scripted round trip, no more messages than anybody needs, and what is done where scripts are refused."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery, signals

from eventbus.broker import QUEUE_CAP, Announcement, KombuBroker, Notice, RedisBroker, WakeUp
from eventbus.broker.redis_connections import Owed
from eventbus.embedded import EmbeddedValkey
from eventbus.embedded.binaries import find_valkey
from eventbus.errors import BrokerUnreachable
from tests.support import wait_until
from tests.support.commands import commands
from tests.support.forks import Fork
from tests.support.tls_proxy import TlsProxy


@pytest.fixture
def app() -> Iterator[Celery]:
    """An app of Celery alone, with a broker in memory."""
    with Celery("test", broker="memory://", set_as_current=False) as app:
        yield app


@pytest.fixture
def broker(app: Celery, broker_url: str) -> RedisBroker:
    """The shared broker."""
    return RedisBroker(app, broker_url, keyprefix="", realtime_url=None)


def wake_ups(queue: str, count: int) -> list[WakeUp]:
    """That many for one queue."""
    return [WakeUp(queue=queue, event_id=uuid4(), type="order.created") for _ in range(count)]


def announcement(*queues: str) -> Announcement:
    """Of one event."""
    return Announcement(event_id=str(uuid4()), type="order.created", queues=queues)


def test_a_write_is_one_command(broker: RedisBroker, prefix: str, redis_client: "redis.Redis[bytes]") -> None:
    """Messages for several queues and a notice travel together, however many there are."""
    broker.send(wake_ups(f"{prefix}.a", 1), [])
    items = [item for group in "abc" for item in wake_ups(f"{prefix}.{group}", 3)]

    with commands(redis_client) as seen:
        broker.send(items, [Notice(channel=prefix, text=b"x")] * 3)

    assert seen == ["EVALSHA"]
    assert [broker.depth(f"{prefix}.{group}") for group in "abc"] == [4, 3, 3]


def test_a_queue_that_is_long_gets_no_more(broker: RedisBroker, prefix: str) -> None:
    """Whoever takes one of its messages finds all that is due; other queues get theirs."""
    long, short = f"{prefix}.long", f"{prefix}.short"
    broker.send(wake_ups(long, QUEUE_CAP - 1), [])

    broker.send([*wake_ups(long, 3), *wake_ups(short, 3)], [])
    broker.send(wake_ups(long, 1), [])

    assert (broker.depth(long), broker.depth(short)) == (QUEUE_CAP, 3)


def test_topping_up_fills_a_queue_to_the_cap_and_tells_how_many(broker: RedisBroker, prefix: str) -> None:
    """In the order that is given, whichever queue they were meant for."""
    queue = f"{prefix}.a"
    broker.send(wake_ups(queue, 2), [])

    counts = [broker.top_up(queue, wake_ups(f"{prefix}.b", count), cap=5) for count in (1, 4, 4, 0)]

    assert counts == [1, 2, 0, 0]
    assert (broker.depth(queue), broker.depth(f"{prefix}.b")) == (5, 0)


def test_several_who_top_up_at_once_do_not_exceed_the_cap(broker: RedisBroker, prefix: str) -> None:
    """Looking and pushing is one step."""
    queue = f"{prefix}.a"
    start = threading.Barrier(4)
    counts: list[int] = []

    def fill() -> None:
        start.wait()
        counts.extend(broker.top_up(queue, wake_ups(queue, 3), cap=20) for _ in range(10))

    threads = [threading.Thread(target=fill) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (sum(counts), broker.depth(queue)) == (20, 20)


def test_a_broker_behind_kombu_is_topped_up_too(app: Celery, prefix: str) -> None:
    """By its depth, and whichever queue a message was meant for."""
    broker = KombuBroker(app, "memory://", listeners=None)
    queue = f"{prefix}.a"

    counts = [broker.top_up(queue, wake_ups(f"{prefix}.b", 3), cap=5) for _ in range(3)]

    assert counts == [3, 2, 0]
    assert (broker.depth(queue), broker.depth(f"{prefix}.b")) == (5, 0)


def test_a_server_that_has_forgotten_the_script_is_told_it_again(
    broker: RedisBroker, prefix: str, redis_client: "redis.Redis[bytes]"
) -> None:
    """After a restart, or SCRIPT FLUSH."""
    queue = f"{prefix}.a"
    broker.send(wake_ups(queue, 1), [])
    redis_client.script_flush()

    with commands(redis_client) as seen:
        for _ in range(2):
            broker.send(wake_ups(queue, 1), [])

    assert seen == ["EVALSHA", "EVAL", "EVALSHA"]
    assert broker.depth(queue) == 3


@contextmanager
def without_evalsha(folder: Path) -> Iterator[str]:
    """A server that knows no EVALSHA: its URL."""
    path = folder / "valkey.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--rename-command", "EVALSHA", ""]
    with subprocess.Popen([str(find_valkey().path), *options], stdout=subprocess.DEVNULL, cwd=folder) as process:
        try:
            wait_until(path.exists)
            yield f"unix://{path}"
        finally:
            process.terminate()


@contextmanager
def with_access_list(folder: Path) -> Iterator[str]:
    """A server on which nobody may run scripts: its URL."""
    with EmbeddedValkey() as server, redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "default", "+@all", "-@scripting")
        yield server.url


FORBIDDING = pytest.mark.parametrize("forbidding", [without_evalsha, with_access_list])
Forbidding = Callable[[Path], AbstractContextManager[str]]


@FORBIDDING
def test_a_server_that_forbids_scripts_gets_pipelines(app: Celery, tmp_path: Path, forbidding: Forbidding) -> None:
    """As hosted ones may; the cap holds all the same, and the script is not tried again."""
    with forbidding(tmp_path) as url, redis.Redis.from_url(url) as client, client.pubsub() as subscriber:
        broker = RedisBroker(app, url, keyprefix="", realtime_url=None)
        subscriber.subscribe("channel")
        notice = Notice(channel="channel", text=b"x")

        broker.send([*wake_ups("a", QUEUE_CAP - 1), *wake_ups("b", 1)], [notice])
        with commands(client) as seen:
            broker.send(wake_ups("a", 3), [])
            broker.send([], [notice])

        assert seen == ["LLEN", "LPUSH", "PUBLISH"]
        assert (broker.depth("a"), broker.depth("b")) == (QUEUE_CAP, 1)
        assert [subscriber.get_message(timeout=5)["type"] for _ in range(3)] == ["subscribe", "message", "message"]
        assert [broker.top_up("b", wake_ups("b", 3), cap=3) for _ in range(2)] == [2, 0]


@FORBIDDING
def test_each_announcement_arrives_where_scripts_are_forbidden(
    app: Celery, tmp_path: Path, forbidding: Forbidding
) -> None:
    """That of the first event, which finds out, and those of later ones, which would not wait for the refusal."""
    with forbidding(tmp_path) as url, redis.Redis.from_url(url) as client:
        broker = RedisBroker(app, url, keyprefix="", realtime_url=None)

        broker.announce(announcement("a", "b"), None)
        with commands(client) as seen:
            for _ in range(2):
                broker.announce(announcement("a", "b"), None)

        # The first one has told that both queues are short.
        assert seen == ["LPUSH"] * 4
        assert (broker.depth("a"), broker.depth("b")) == (3, 3)


def test_an_error_of_the_script_is_an_error_of_the_broker(broker: RedisBroker, prefix: str, redis_client: Any) -> None:
    """It is not taken for a server that forbids scripts: nothing else is tried."""
    redis_client.set(f"{prefix}.a", "not a list")
    broker.send([], [Notice(channel=prefix, text=b"x")])

    with commands(redis_client) as seen, pytest.raises(BrokerUnreachable, match="WRONGTYPE"):
        broker.send(wake_ups(f"{prefix}.a", 1), [])

    assert seen == ["EVALSHA"]
    assert broker._redis._scripts_are_allowed


def test_a_post_waits_for_no_answer_but_the_first(
    broker: RedisBroker, prefix: str, redis_client: "redis.Redis[bytes]"
) -> None:
    """A new connection's first one does: the server may not know the script. All arrive, in their order."""
    queue = f"{prefix}.a"

    broker.announce(announcement(queue), None)
    [line] = broker._redis._connections._idle
    owed = [bool(line.owed)]
    for _ in range(3):
        broker.announce(announcement(queue), None)
        owed.append(bool(line.owed))

    assert owed == [False, True, True, True]
    assert broker.depth(queue) == 4


def test_what_became_of_a_post_shows_at_the_next_call(broker: RedisBroker, prefix: str, redis_client: Any) -> None:
    """An error is told late, once; a server that has forgotten the script is told it again."""
    broken, well, other = f"{prefix}.broken", f"{prefix}.well", f"{prefix}.other"
    redis_client.set(broken, "not a list")
    broker.announce(announcement(well), None)

    broker.announce(announcement(broken), None)
    with pytest.raises(BrokerUnreachable, match="WRONGTYPE"):
        broker.announce(announcement(well), None)
    redis_client.script_flush()
    for _ in range(3):
        broker.announce(announcement(other), None)
        broker.announce(announcement(well), None)

    # The one that was not sent, and the one that found the script gone, are the relay's to repeat.
    assert (broker.depth(well), broker.depth(other)) == (4, 2)


def test_a_queue_that_is_known_to_be_short_is_pushed_to_without_asking(
    broker: RedisBroker, prefix: str, redis_client: Any
) -> None:
    """The script, which looks before it pushes, takes Redis four times as long."""
    queues, notice = [f"{prefix}.{name}" for name in "abc"], Notice(channel=prefix, text=b"x")

    with commands(redis_client) as seen:
        for _ in range(3):
            broker.announce(announcement(*queues), notice)

    assert seen == ["EVALSHA", *["LPUSH", "LPUSH", "LPUSH", "PUBLISH"] * 2]
    assert [broker.depth(queue) for queue in queues] == [3, 3, 3]


@pytest.mark.parametrize("processes", [1, 3])
def test_announcements_do_not_pile_up(app: Celery, broker_url: str, prefix: str, processes: int) -> None:
    """A publisher hears how long a queue was when it sends the next announcement, and heeds it in the one after that."""
    brokers = [RedisBroker(app, broker_url, keyprefix="", realtime_url=None) for _ in range(processes)]
    full, short = f"{prefix}.full", f"{prefix}.short"

    for number in range(QUEUE_CAP + 50):
        for broker in brokers:
            broker.announce(announcement(full, short) if number % 10 == 0 else announcement(full), None)

    assert QUEUE_CAP <= brokers[0].depth(full) <= QUEUE_CAP + 2 * processes
    # What is left out is left out for the queue that is long alone.
    assert brokers[0].depth(short) == 15 * processes


def test_a_process_that_publishes_once_asks_before_it_pushes(app: Celery, broker_url: str, prefix: str) -> None:
    """However many of them there are, as with a command in a script, the cap holds."""
    for _ in range(QUEUE_CAP + 5):
        broker = RedisBroker(app, broker_url, keyprefix="", realtime_url=None)
        broker.announce(announcement(f"{prefix}.a"), None)

    assert broker.depth(f"{prefix}.a") == QUEUE_CAP


def test_a_forked_child_asks_before_it_pushes(broker: RedisBroker, prefix: str) -> None:
    """What its parent knew is old news to it, and each child of a server that forks would exceed the cap."""
    queue = f"{prefix}.a"
    broker.announce(announcement(queue), None)
    broker.send(wake_ups(queue, QUEUE_CAP), [])

    def child(fork: Fork) -> None:
        broker.announce(announcement(queue), None)
        fork.report("told")

    for _ in range(3):
        with Fork(child) as fork:
            fork.hear()

    assert broker.depth(queue) == QUEUE_CAP


def test_a_queue_that_has_become_short_again_is_pushed_to_without_asking(
    broker: RedisBroker, prefix: str, redis_client: Any
) -> None:
    """Once the script was heard to have pushed to it."""
    queue = f"{prefix}.a"
    broker.announce(announcement(queue), None)
    broker.send(wake_ups(queue, QUEUE_CAP), [])
    for _ in range(3):
        broker.announce(announcement(queue), None)
    redis_client.delete(queue)

    with commands(redis_client) as seen:
        for _ in range(4):
            broker.announce(announcement(queue), None)

    assert seen == ["EVALSHA", "EVALSHA", "LPUSH", "LPUSH"]
    assert broker.depth(queue) == 4


def test_of_several_queues_one_that_is_refused_keeps_no_other_from_its_message(
    broker: RedisBroker, prefix: str, redis_client: Any
) -> None:
    """The refusal is told late and once, and every answer is taken for what it answers."""
    queues = [f"{prefix}.{name}" for name in "abc"]
    for _ in range(2):
        broker.announce(announcement(*queues), None)
    redis_client.set(queues[1], "not a list")

    broker.announce(announcement(*queues), Notice(channel=prefix, text=b"x"))
    with pytest.raises(BrokerUnreachable, match="WRONGTYPE"):
        broker.announce(announcement(queues[0]), None)
    for _ in range(2):
        broker.announce(announcement(queues[0]), None)

    assert [broker.depth(queue) for queue in (queues[0], queues[2])] == [5, 3]
    assert broker.top_up(queues[2], wake_ups(queues[2], 7), cap=5) == 2
    with commands(redis_client) as seen:
        broker.announce(announcement(queues[1]), None)
    # It is not known to be short any more.
    assert seen == ["EVALSHA"]


def test_one_queue_that_is_refused_lifts_no_others_cap(
    broker: RedisBroker, prefix: str, redis_client: "redis.Redis[bytes]"
) -> None:
    """How long they are is heard beside the refusal."""
    full, broken = f"{prefix}.full", f"{prefix}.broken"
    for _ in range(2):
        broker.announce(announcement(full, broken), None)
    redis_client.set(broken, "not a list")

    for _ in range(4 * QUEUE_CAP):
        with suppress(BrokerUnreachable):
            broker.announce(announcement(full, broken), None)

    assert broker.depth(full) <= QUEUE_CAP


def test_a_command_that_is_forbidden_is_no_script_that_is(app: Celery, tmp_path: Path) -> None:
    """Publishing alone is: the error is told, though the next announcement could be sent by other ways."""
    with with_access_list(tmp_path) as url, redis.Redis.from_url(url) as client:
        broker = RedisBroker(app, url, keyprefix="", realtime_url=None)
        notice = Notice(channel="channel", text=b"x")
        for _ in range(2):
            broker.announce(announcement("a"), None)
        client.execute_command("ACL", "SETUSER", "default", "-publish")

        broker.announce(announcement("a"), notice)
        with pytest.raises(BrokerUnreachable, match="publish"):
            broker.announce(announcement("a"), None)

        assert broker.depth("a") == 3


def test_an_answer_that_has_come_is_passed_over(broker: RedisBroker, prefix: str) -> None:
    """The connection goes on, and nobody takes the answer for the next one's."""
    for _ in range(2):
        broker.announce(announcement(f"{prefix}.a"), None)
    [line] = broker._redis._connections._idle
    channel = line._connection._sock
    wait_until(line.is_readable)

    broker.announce(announcement(f"{prefix}.a"), None)
    pushed = broker.top_up(f"{prefix}.b", wake_ups(f"{prefix}.b", 7), cap=5)

    assert line._connection._sock is channel
    assert pushed == 5


def test_what_is_encrypted_is_not_peeked_at(app: Celery, prefix: str, valkey: EmbeddedValkey) -> None:
    """Over TLS an answer that has come is read as a whole; all arrive, and errors are told."""
    with TlsProxy(valkey.url) as proxy:
        broker = RedisBroker(app, proxy.url, keyprefix="", realtime_url=None)
        for _ in range(2):
            broker.announce(announcement("a"), None)
        [line] = broker._redis._connections._idle
        wait_until(line.is_readable)

        broker.announce(announcement("a"), None)

        assert broker.depth("a") == 3
        assert broker._redis._connections._idle == [line]


def test_an_idle_connection_that_the_server_has_closed_is_replaced(
    broker: RedisBroker, prefix: str, redis_client: Any
) -> None:
    """As one does with those that were idle for long: nothing is sent into the void."""
    queue = f"{prefix}.a"
    broker.send(wake_ups(queue, 1), [])
    id = broker._redis._connections.execute("CLIENT", "ID")
    redis_client.client_kill_filter(_id=id)

    broker.announce(announcement(queue), None)

    assert broker.depth(queue) == 2
    assert broker._redis._connections.execute("CLIENT", "ID") != id


def test_a_server_that_was_gone_for_long_is_written_to_when_it_is_back(app: Celery, valkey: EmbeddedValkey) -> None:
    """A relay tries twice a second, for as long as it takes: the client's own pool would count each try as a connection."""
    broker = RedisBroker(app, valkey.url, keyprefix="", realtime_url=None)
    valkey.kill()
    for _ in range(150):
        with pytest.raises(BrokerUnreachable, match="refused"):
            broker.send(wake_ups("a", 1), [])
    valkey.start()

    broker.send(wake_ups("a", 1), [])

    assert broker.depth("a") == 1


def test_as_many_threads_as_there_are_ask_at_once(app: Celery, prefix: str, valkey: EmbeddedValkey) -> None:
    """More than the hundred connections that the client's own pool would make."""
    broker = RedisBroker(app, valkey.url, keyprefix="", realtime_url=None)
    with redis.Redis.from_url(valkey.url) as client:
        client.client_pause(250)
    threads = [threading.Thread(target=broker.send, args=(wake_ups(f"{prefix}.{n}", 1), [])) for n in range(140)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with redis.Redis.from_url(valkey.url) as client:
        client.client_pause(250)
    with ThreadPoolExecutor(140) as pool:
        depths = list(pool.map(broker.depth, [f"{prefix}.{n}" for n in range(140)]))

    assert depths == [1] * 140


def test_a_forked_child_sends_on_a_connection_of_its_own(broker: RedisBroker, prefix: str) -> None:
    """On a shared one each would read the other's answers."""
    broker.announce(announcement(f"{prefix}.a"), None)
    connections = broker._redis._connections

    def child(fork: Fork) -> None:
        fork.report(str(connections.execute("CLIENT", "ID")))

    with Fork(child) as fork:
        other = int(fork.hear())

    assert connections.execute("CLIENT", "ID") != other


def test_a_connection_that_ended_before_it_answered_is_replaced(
    broker: RedisBroker, prefix: str, redis_client: Any
) -> None:
    """The next call is made on another one."""
    queue = f"{prefix}.a"
    broker.announce(announcement(queue), None)
    id = broker._redis._connections.execute("CLIENT", "ID")
    redis_client.client_kill_filter(_id=id)
    [line] = broker._redis._connections._idle
    line.owed = Owed(1, lambda _answers: None)

    broker.announce(announcement(queue), None)

    assert broker.depth(queue) == 2


def test_no_announcement_waits_where_messages_are_made_one_by_one(
    broker: RedisBroker, prefix: str, redis_client: Any
) -> None:
    """As while somebody listens for Celery's signals: what instrumentation does is no reason to wait for Redis."""
    queue = f"{prefix}.a"
    broker.announce(announcement(queue), None)
    [line] = broker._redis._connections._idle

    def hear(**_facts: Any) -> None:
        pass

    signals.after_task_publish.connect(hear)
    try:
        broker.announce(announcement(queue), None)
    finally:
        signals.after_task_publish.disconnect(hear)

    assert line.owed
    assert broker.depth(queue) == 2
