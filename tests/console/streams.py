"""What streams of the console say, without a browser."""

import asyncio
import inspect
import json
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@contextmanager
def first_pulse(url: str) -> Iterator[list[dict[str, str]]]:
    """What a live stream says first, while it is open."""
    with urllib.request.urlopen(url, timeout=20) as stream:
        # A pulse is one chunk of the answer, whose length comes before it.
        chunk = stream.fp.read(int(stream.fp.readline(), 16)).decode()
        yield [json.loads(line.removeprefix("data: ")) for line in chunk.splitlines() if line.startswith("data: ")]


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a browser has heard of a stream."""

    status: int
    headers: Mapping[str, str]
    said: bytes
    #: Whether the answer has ended, or would be cut off.
    is_complete: bool


async def listen(
    app: Any,
    path: str,
    *,
    until: Callable[[bytes], Awaitable[bool] | bool] = bool,
    headers: Mapping[str, str] | None = None,
) -> Heard:
    """What the stream at *path* of *app*, in this process, says before it ends; the browser goes when *until* it said is true."""
    told: dict[str, Any] = {}
    said = bytearray()
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        told.update({name: message[name] for name in ("status", "headers", "more_body") if name in message})
        said.extend(message.get("body", b""))
        has_enough = until(bytes(said)) if said else False
        if await has_enough if inspect.isawaitable(has_enough) else has_enough:
            gone.set()

    own, _, query = path.partition("?")
    given = {"host": "127.0.0.1", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": own,
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 80),
    }
    await asyncio.wait_for(app(scope, receive, send), 20)
    shown = {name.decode(): value.decode() for name, value in told["headers"]}
    return Heard(status=told["status"], headers=shown, said=bytes(said), is_complete=not told.get("more_body"))
