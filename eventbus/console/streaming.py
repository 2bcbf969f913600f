"""Streaming: server-sent events for pages that are being looked at; the script closes them when the tab is hidden.

    live   ask the page's function again and again, send what has changed
    tail   a thread waits for what comes ─▶ queue ─▶ browser; a browser that is slow misses some, and is told how many

A stream ends with its session, when its browser goes, and when the server is about to stop.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from eventbus.console.access import Refused
from eventbus.console.answering import PATIENCE, view_of
from eventbus.console.gate import LoginNeeded, enter
from eventbus.console.message import Message, Tail
from eventbus.console.page import Live, Tailing
from eventbus.console.site import Site
from eventbus.console.threads import run_in_thread
from eventbus.console.troubles import answer_trouble, trouble_of
from eventbus.console.view import View
from eventbus.storage.deadlines import waiting_at_most

#: So many streams at once; more are asked to come back.
MOST_STREAMS = 200
#: So many of one user: the others are not to be locked out.
MOST_OF_ONE_USER = 10
_QUEUED = 500
_STILL_HERE = b": still here\n\n"
_QUIET_SECONDS = 15.0
_GOODBYE = Message(event="goodbye", body={}).encoded()

Answer = TypeVar("Answer")
Endpoint = Callable[[Request], Awaitable[Response]]


class Streams:
    """The open streams of a console."""

    def __init__(self) -> None:
        self.have_ended = False
        self._open: Counter[str] = Counter()
        self._running: set[asyncio.Task[Any]] = set()

    def end(self) -> None:
        """End them all, and begin no more; called in the server's loop."""
        if self.have_ended:
            return
        self.have_ended = True
        for task in self._running:
            task.cancel()

    def endpoint_of(self, route: Live | Tailing, site: Site) -> Endpoint:
        """What answers requests to *route*."""

        async def answer(request: Request) -> Response:
            with ExitStack() as stack:
                try:
                    visit = await enter(request, site, is_active=False)
                    # Before anything is waited for, so that streams that are opened at the same moment see each other.
                    stack.enter_context(self._counted(visit.user.name))
                    chunks = await _chunks_of(route, view_of(visit, request, site))
                except LoginNeeded:
                    # A way to the login would end in a cookie, in the place of the one that a form was just made for.
                    return Response(status_code=401)
                except Exception as error:  # the edge of a request
                    return answer_trouble(error, request, site)
                return _Stream(chunks, place=stack.pop_all(), streams=self)

        return answer

    @contextmanager
    def running(self) -> Iterator[asyncio.Task[Any]]:
        """The task of the block, which `end` cancels."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        if self.have_ended:  # while it was about to begin
            task.cancel()
        try:
            yield task
        finally:
            self._running.discard(task)

    @contextmanager
    def _counted(self, user: str) -> Iterator[None]:
        if self.have_ended:
            raise HTTPException(503, "The console is about to stop.")
        if self._open.total() >= MOST_STREAMS or self._open[user] >= MOST_OF_ONE_USER:
            raise HTTPException(503, "Too many pages are open: close some.")
        self._open[user] += 1
        try:
            yield
        finally:
            self._open -= Counter([user])


class _Stream(StreamingResponse):
    """Keeps *place* until it has ended, however it ends."""

    def __init__(self, chunks: AsyncIterator[bytes], *, place: ExitStack, streams: Streams) -> None:
        super().__init__(chunks, media_type="text/event-stream", headers={"x-accel-buffering": "no"})
        self._place = place
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_open = False

        async def noting(message: MutableMapping[str, Any]) -> None:
            nonlocal is_open
            is_open = message["type"] == "http.response.start" or bool(message.get("more_body"))
            await send(message)

        with self._place, self._streams.running() as task:
            try:
                await super().__call__(scope, receive, noting)
            except asyncio.CancelledError:
                if not self._streams.have_ended:
                    raise
                task.uncancel()
                # Complete, as any other answer: a browser asks again, and finds the next server.
                if is_open:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _chunks_of(route: Live | Tailing, view: View) -> AsyncIterator[bytes]:
    if isinstance(route, Live):
        return _pulses(route, view)
    return _tailed(await _in_thread(route.function, view), view)


async def _pulses(route: Live, view: View) -> AsyncIterator[bytes]:
    before: dict[int, bytes] = {}
    while True:
        try:
            messages = await _in_thread(route.function, view)
        except Exception as error:  # the edge of a request: the page goes on as soon as it can
            messages = [_of_trouble(error)]
        # It may have waited for long.
        if not await _may_go_on(view):
            yield _GOODBYE
            return
        chunks = {number: message.encoded() for number, message in enumerate(messages)}
        changed = [chunk for number, chunk in chunks.items() if before.get(number) != chunk]
        before = chunks
        yield b"".join(changed) or _STILL_HERE
        await asyncio.sleep(route.every.total_seconds())


async def _tailed(tail: Tail, view: View) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Message | None] = asyncio.Queue()
    missed = 0

    def put(message: Message | None) -> None:
        nonlocal missed
        # The end is not missed, however slow the browser is.
        if queue.qsize() < _QUEUED or message is None:
            queue.put_nowait(message)
        else:
            missed += 1

    def wait_for_items() -> None:
        with suppress(RuntimeError), waiting_at_most(PATIENCE):  # suppressed: the loop has ended
            for message in _shown(tail):
                loop.call_soon_threadsafe(put, message)
            loop.call_soon_threadsafe(put, None)

    threading.Thread(target=wait_for_items, name="eventbus-console-tail", daemon=True).start()
    try:
        yield _STILL_HERE
        while await _may_go_on(view):
            try:
                message = await asyncio.wait_for(queue.get(), _QUIET_SECONDS)
            except TimeoutError:
                yield _STILL_HERE
                continue
            if message is None:
                return
            # It may have waited for long.
            if not await _may_go_on(view):
                break
            if missed:
                yield Message(event="data", body={"name": "missed", "value": missed}).encoded()
                missed = 0
            yield message.encoded()
        yield _GOODBYE
    finally:
        # Closing waits for whoever reads, which would hold up all other requests.
        threading.Thread(target=tail.source.close, daemon=True).start()


async def _in_thread(function: Callable[[View], Answer], view: View) -> Answer:
    def call() -> Answer:
        with waiting_at_most(PATIENCE):
            return function(view)

    return await run_in_thread(call, among=view.site.threads.streams)


def _shown(tail: Tail) -> Iterator[Message]:
    try:
        for item in tail.source:
            message = tail.show(item)
            if message is not None:
                yield message
    except Exception as error:  # a thread's edge
        yield _of_trouble(error)


def _of_trouble(error: Exception) -> Message:
    trouble = trouble_of(error)
    return Message(event="trouble", body={"title": trouble.title, "sentence": trouble.sentence})


async def _may_go_on(view: View) -> bool:
    try:
        visit = await enter(view.request, view.site, is_active=False)
    except (LoginNeeded, Refused):
        return False
    return visit.user.name == view.user.name
