"""Streams: how many there are, what they say, and when they end; of pages that are made here, so that no server is needed."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from starlette.applications import Starlette

from eventbus import EventBus
from eventbus.console import User, create_app, streaming
from eventbus.console import app as console
from eventbus.console.answering import PATIENCE
from eventbus.console.message import Message, Tail
from eventbus.console.page import Page
from eventbus.console.view import View
from eventbus.errors import InvalidInput
from eventbus.storage import deadlines
from tests.console.streams import listen
from tests.support import wait_until

GOODBYE = b"event: goodbye\ndata: {}\n\n"
HERE = b": still here\n\n"


def message(value: object) -> Message:
    return Message(event="data", body=value)


def said(*values: object) -> bytes:
    """What a browser hears of these."""
    return b"".join(message(value).encoded() for value in values)


class Source:
    """What a test lets come; then nothing, until it is closed."""

    def __init__(self, *items: Callable[[], Any]) -> None:
        self._items = items
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            yield item()
        self.closed.wait(20)

    def close(self) -> None:
        """As those of the console: within a moment."""
        self.closed.set()


class Stage:
    """A console with a page that a test gives, and the one who looks at it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.user: User | None = User(name="ann")
        self.who: Callable[[], User | None] = lambda: self.user
        self._patch = monkeypatch

    def pulsing(self, function: Callable[[View], Sequence[Message]]) -> Starlette:
        """The app whose stream at /live/x says what *function* returns, again and again."""
        page = Page("X", "/x")
        page.live("/live/x", budget=0, every=timedelta(0))(function)
        return self._app(page)

    def tailing(self, function: Callable[[View], Tail]) -> Starlette:
        """The app whose stream at /live/x says what comes out of what *function* returns."""
        page = Page("X", "/x")
        page.tail("/live/x")(function)
        return self._app(page)

    def leave(self) -> str:
        """Be nobody from now on, as after a logout."""
        self.user = None
        return "left"

    def _app(self, page: Page) -> Starlette:
        self._patch.setattr(console, "PAGES", (page,))
        bus = EventBus.from_env(database_url="postgresql://x/y", broker_url="redis://x")
        return create_app(bus, check=lambda request: self.who())


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


# --- how many ---------------------------------------------------------------------------------------------------------


def test_streams_that_are_opened_at_the_same_moment_are_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens thousands at once gets no more of them than one after the other; each gives its place back."""
    monkeypatch.setattr(streaming, "MOST_OF_ONE_USER", 2)
    app = stage.tailing(lambda view: Tail(source=Source(), show=message))

    async def open_all() -> list[int]:
        return sorted(heard.status for heard in await asyncio.gather(*(listen(app, "/live/x") for _ in range(4))))

    assert [asyncio.run(open_all()) for _ in range(2)] == [[200, 200, 503, 503]] * 2


def test_a_stream_keeps_its_place_while_it_is_open(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not a moment longer."""
    monkeypatch.setattr(streaming, "MOST_OF_ONE_USER", 1)
    app = stage.pulsing(lambda view: [message(1)])
    statuses: list[int] = []

    async def until_another_was_refused(told: bytes) -> bool:
        statuses.append((await listen(app, "/live/x")).status)
        return True

    asyncio.run(listen(app, "/live/x", until=until_another_was_refused))

    assert {*statuses} == {503}
    assert asyncio.run(listen(app, "/live/x")).status == 200


def test_a_stream_that_cannot_be_opened_takes_no_place(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a filter that is none."""
    monkeypatch.setattr(streaming, "MOST_OF_ONE_USER", 1)

    def tail(view: View) -> Tail:
        if view.filters.text("bad"):
            raise InvalidInput("that is none.")
        return Tail(source=Source(), show=message)

    app = stage.tailing(tail)

    statuses = [asyncio.run(listen(app, path)).status for path in ("/live/x?bad=1", "/live/x?bad=1", "/live/x")]

    assert statuses == [400, 400, 200]


def test_all_together_have_so_many(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever they are."""
    monkeypatch.setattr(streaming, "MOST_STREAMS", 1)
    app = stage.tailing(lambda view: Tail(source=Source(), show=message))
    names = iter(("ann", "bob"))
    stage.who = lambda: User(name=next(names, "ann"))

    async def open_two() -> list[int]:
        return sorted(heard.status for heard in await asyncio.gather(*(listen(app, "/live/x") for _ in range(2))))

    assert asyncio.run(open_two()) == [200, 503]


# --- what they say ----------------------------------------------------------------------------------------------------


def test_a_page_is_told_what_has_changed(stage: Stage) -> None:
    """And no more; where nothing has, that the stream is still there."""
    pulses = iter([(1, 1), (1, 2), (1, 2), (2, 2)])

    def pulse(view: View) -> Sequence[Message]:
        return [message(value) for value in next(pulses)]

    whole = said(1, 1) + said(2) + HERE + said(2)

    heard = asyncio.run(listen(stage.pulsing(pulse), "/live/x", until=lambda told: len(told) >= len(whole)))

    assert heard.said == whole


def test_a_pulse_that_fails_is_told_and_followed_by_others(stage: Stage) -> None:
    """With no word of what nobody foresaw."""
    pulses = iter([lambda: 1 / 0, lambda: 2])

    def pulse(view: View) -> Sequence[Message]:
        return [message(next(pulses)())]

    heard = asyncio.run(listen(stage.pulsing(pulse), "/live/x", until=lambda told: told.endswith(said(2))))

    assert heard.said.startswith(b"event: trouble\n")
    assert b"An unexpected error occurred" in heard.said
    assert b"division" not in heard.said


def test_a_tail_says_what_is_to_be_shown(stage: Stage) -> None:
    """In its order, and nothing of what is not."""
    source = Source(lambda: 1, lambda: 2, lambda: 3)
    app = stage.tailing(lambda view: Tail(source=source, show=lambda item: None if item == 2 else message(item)))

    heard = asyncio.run(listen(app, "/live/x", until=lambda told: told.endswith(said(3))))

    assert heard.said == HERE + said(1, 3)
    wait_until(source.closed.is_set)


def test_a_tail_that_fails_says_so_and_ends(stage: Stage) -> None:
    """The browser opens another one."""
    app = stage.tailing(lambda view: Tail(source=Source(lambda: 1 / 0), show=message))

    heard = asyncio.run(listen(app, "/live/x", until=lambda told: False))

    assert heard.said.startswith(HERE + b"event: trouble\n")
    assert heard.said.count(b"event:") == 1
    assert b"division" not in heard.said


def test_a_slow_browser_is_told_how_many_it_has_missed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it is bounded; how the stream ends is not missed."""
    monkeypatch.setattr(streaming, "_QUEUED", 3)
    numbers = iter(range(8))
    source = Source(*[lambda: next(numbers)] * 8, lambda: 1 / 0)
    app = stage.tailing(lambda view: Tail(source=source, show=message))

    async def reads_late(told: bytes) -> bool:
        for thread in threading.enumerate():
            if thread.name == "eventbus-console-tail":
                await asyncio.to_thread(thread.join, 20)
        return False

    heard = asyncio.run(listen(app, "/live/x", until=reads_late))

    missed = Message(event="data", body={"name": "missed", "value": 6}).encoded()
    assert heard.said == HERE + missed + said(0, 1, 2)


def test_a_quiet_tail_is_still_there(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies close connections on which nothing is said."""
    monkeypatch.setattr(streaming, "_QUIET_SECONDS", 0.01)
    app = stage.tailing(lambda view: Tail(source=Source(), show=message))

    heard = asyncio.run(listen(app, "/live/x", until=lambda told: told == HERE * 3))

    assert heard.said == HERE * 3


def test_no_proxy_holds_back_or_keeps_a_stream(stage: Stage) -> None:
    """It is told not to wait until there is more of it; all else is as with every answer."""
    heard = asyncio.run(listen(stage.pulsing(lambda view: [message(1)]), "/live/x"))

    assert heard.headers["content-type"].startswith("text/event-stream")
    assert (heard.headers["x-accel-buffering"], heard.headers["cache-control"]) == ("no", "no-store")
    assert heard.headers["x-content-type-options"] == "nosniff"


def test_what_a_stream_asks_of_postgresql_has_an_end(stage: Stage) -> None:
    """As what a page asks: a server that is frozen must not keep a thread for ever."""
    limits: list[timedelta | None] = []

    def note() -> int:
        limits.append(deadlines._usual.get())
        return 1

    tailing = stage.tailing(lambda view: Tail(source=Source(note), show=message))
    asyncio.run(listen(tailing, "/live/x", until=lambda told: told.endswith(said(1))))
    asyncio.run(listen(stage.pulsing(lambda view: [message(note())]), "/live/x"))

    assert {*limits} == {PATIENCE}


# --- when they end ----------------------------------------------------------------------------------------------------


def test_what_was_read_during_the_logout_is_told_to_nobody(stage: Stage) -> None:
    """A pulse may have waited for PostgreSQL, or for a thread, while the session ended."""
    heard = asyncio.run(listen(stage.pulsing(lambda view: [message(stage.leave())]), "/live/x"))

    assert heard.said == GOODBYE


def test_what_comes_after_the_logout_is_told_to_nobody(stage: Stage) -> None:
    """A tail waits for the next event for as long as it takes."""
    asked: list[User | None] = []

    def who() -> User | None:
        asked.append(stage.user)
        return stage.user

    stage.who = who

    def come_after_the_logout() -> str:
        # When it was opened, and before it began to wait.
        wait_until(lambda: len(asked) == 2)
        return stage.leave()

    source = Source(come_after_the_logout)
    app = stage.tailing(lambda view: Tail(source=source, show=message))

    heard = asyncio.run(listen(app, "/live/x", until=lambda told: False))

    assert heard.said == HERE + GOODBYE
    wait_until(source.closed.is_set)


def test_a_quiet_tail_ends_with_its_session(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing comes."""
    monkeypatch.setattr(streaming, "_QUIET_SECONDS", 0.01)
    app = stage.tailing(lambda view: Tail(source=Source(), show=message))

    heard = asyncio.run(listen(app, "/live/x", until=lambda told: told == HERE * 2 and not stage.leave()))

    assert heard.said == HERE * 2 + GOODBYE


@pytest.mark.parametrize("kind", ["pulsing", "tailing"])
def test_a_stream_is_that_of_one_user(stage: Stage, kind: str) -> None:
    """Whoever else has come to be known by the same request hears nothing of it."""

    def change() -> str:
        stage.user = User(name="bob")
        return "changed"

    if kind == "pulsing":
        app = stage.pulsing(lambda view: [message(change())])
    else:
        app = stage.tailing(lambda view: Tail(source=Source(change), show=message))

    heard = asyncio.run(listen(app, "/live/x", until=lambda told: False))

    assert heard.said.removeprefix(HERE) == GOODBYE


def test_nobody_waits_for_a_tail_to_close(stage: Stage) -> None:
    """Closing may take until whoever reads has read; meanwhile all other requests go on."""
    may_close = threading.Event()

    class Slow(Source):
        def close(self) -> None:
            may_close.wait(20)
            super().close()

    source = Slow()
    app = stage.tailing(lambda view: Tail(source=source, show=message))

    heard = asyncio.run(listen(app, "/live/x"))

    assert (heard.said, source.closed.is_set()) == (HERE, False)
    may_close.set()
    wait_until(source.closed.is_set)


def test_streams_end_in_order_when_the_server_is_about_to_stop(stage: Stage) -> None:
    """As any answer that is complete, at once; and none begins any more."""
    source = Source(lambda: 1)
    pulsing, tailing = stage.pulsing(lambda _: [message(1)]), stage.tailing(lambda _: Tail(source=source, show=message))

    def end(app: Starlette, said_last: bytes) -> Callable[[bytes], bool]:
        def hear(told: bytes) -> bool:
            if told.endswith(said_last):
                asyncio.get_running_loop().call_soon(app.state.end_streams)
            return False

        return hear

    early = stage.tailing(lambda _: (early.state.end_streams(), Tail(source=Source(), show=message))[1])

    pulsed = asyncio.run(listen(pulsing, "/live/x", until=end(pulsing, said(1))))
    tailed = asyncio.run(listen(tailing, "/live/x", until=end(tailing, said(1))))
    late = asyncio.run(listen(pulsing, "/live/x"))
    opened_meanwhile = asyncio.run(listen(early, "/live/x"))

    assert (pulsed.status, pulsed.is_complete, pulsed.said[: len(said(1))]) == (200, True, said(1))
    assert (tailed.status, tailed.is_complete, tailed.said) == (200, True, HERE + said(1))
    wait_until(source.closed.is_set)
    assert (late.status, b"about to stop" in late.said) == (503, True)
    assert (opened_meanwhile.is_complete, opened_meanwhile.said) == (True, HERE)
